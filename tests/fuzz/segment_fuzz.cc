// Any bytes as a segment file. What opens hands out the same documents whichever way it is read.
#include <vector>

#include "engine/memory/segments/segment_reader.h"
#include "kernels/core/check.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/one_file.h"
#include "tests/fuzz/segment_repair.h"

namespace msa::engine {
namespace {

std::unique_ptr<SegmentReader> Open(OneFile* file) {
  auto reader = SegmentReader::Open(std::make_shared<SegmentFiles>(file, "/bank"), kFuzzSegmentId,
                                    FuzzGeometry());
  if (reader.ok()) return *std::move(reader);
  MSA_CHECK(absl::IsDataLoss(reader.status()) || absl::IsFailedPrecondition(reader.status()),
            "damage or another model");
  return nullptr;
}

// [document] of which every block can be read.
std::vector<bool> ReadAll(SegmentReader* reader) {
  const auto documents = reader->documents();
  const auto keys = reader->TakeRouterKeys(std::vector<bool>(documents.size(), true));
  MSA_CHECK(keys.ok() && keys->size() == documents.size(), "the sizes were checked");
  const MemoryGeometry geometry = FuzzGeometry();
  const auto num_layers = static_cast<size_t>(geometry.num_msa_layers);
  const auto key_bytes = static_cast<size_t>(geometry.router_key_bytes_per_chunk());
  std::vector<bool> readable;
  for (size_t i = 0; i < documents.size(); ++i) {
    bool is_readable = !(*keys)[i].empty();
    MSA_CHECK(!is_readable || (*keys)[i].size() == documents[i].num_chunks * key_bytes, "[C, W]");
    std::vector<std::byte> block(documents[i].num_chunks * 2 * key_bytes / num_layers);
    for (size_t layer = 0; layer < num_layers; ++layer) {
      const absl::Status status = reader->ReadContent(i, layer, absl::MakeSpan(block));
      MSA_CHECK(status.ok() || absl::IsDataLoss(status), "damage at worst");
      is_readable &= status.ok();
    }
    readable.push_back(is_readable);
  }
  return readable;
}

void Check(absl::Span<const std::byte> bytes) {
  OneFile file(bytes);
  const auto reader = Open(&file);
  if (reader == nullptr) return;
  const std::vector<bool> readable = ReadAll(reader.get());
  const auto again = Open(&file);
  std::vector<bool> verified(readable.size(), true);
  const absl::Status status = again->VerifyBlocks(
      [&](size_t document, const std::string&) {
        MSA_CHECK(verified.at(document), "damage is told once");
        verified[document] = false;
        return absl::OkStatus();
      },
      [](int64_t) { return absl::OkStatus(); });
  MSA_CHECK(status.ok() && verified == readable, "both find the same damage");
}

}  // namespace
}  // namespace msa::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  msa::engine::Check(msa::engine::AsBytes(data, size));
  return 0;
}
