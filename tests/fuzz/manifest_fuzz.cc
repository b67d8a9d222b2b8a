// Any bytes as a backup's manifest: what it names lies below the backup's directory.
#include "engine/memory/backups/backup_manifest.h"
#include "kernels/core/check.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/one_file.h"

namespace msa::engine {
namespace {

void Check(absl::Span<const std::byte> bytes) {
  OneFile file(bytes);
  const auto manifest = ReadManifest(&file, "/backups/b");
  if (!manifest.ok()) {
    MSA_CHECK(absl::IsDataLoss(manifest.status()) || absl::IsFailedPrecondition(manifest.status()),
              "damage or another version");
    return;
  }
  MSA_CHECK(manifest->info.name == "b", "the directory's name");
  MSA_CHECK(manifest->info.num_documents >= 0, "a count");
  int64_t num_bytes = 0;
  for (const BackupFile& named : manifest->files) {
    MSA_CHECK(!named.name.empty() && named.name.front() != '/' &&
                  named.name.find("..") == std::string::npos,
              "names stay below the directory");
    num_bytes += named.num_bytes;
  }
  MSA_CHECK(manifest->info.file_bytes == num_bytes, "the sum of the files");
}

}  // namespace
}  // namespace msa::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  msa::engine::Check(msa::engine::AsBytes(data, size));
  return 0;
}
