// Any bytes as a catalog's write-ahead log.
#include "engine/memory/catalog/log_check.h"
#include "kernels/core/check.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/one_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  msa::engine::OneFile file(msa::engine::AsBytes(data, size));
  const absl::Status status = msa::engine::CheckLog(&file, "/catalog.sqlite-wal");
  MSA_CHECK(status.ok() || absl::IsDataLoss(status), "damage at worst");
  return 0;
}
