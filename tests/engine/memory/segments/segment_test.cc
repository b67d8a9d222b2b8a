#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/memory/files/checksum.h"
#include "engine/memory/segments/segment_reader.h"
#include "engine/memory/segments/segment_writer.h"
#include "kernels/core/error_detail.h"
#include "tests/engine/memory/bank_fixture.h"

namespace msa::engine {
namespace {

using ::testing::HasSubstr;

// A written segment of some documents.
class SegmentTest : public ::testing::Test {
 protected:
  SegmentTest() : encoder_(SmallGeometry()), files_(MakeFiles()) {}

  std::shared_ptr<SegmentFiles> MakeFiles(size_t max_open = 64) {
    return std::make_shared<SegmentFiles>(PosixFileSystem(), directory_.path(), max_open);
  }

  void Write(uint64_t id, const std::map<uint32_t, std::string>& texts) {
    texts_ = texts;
    std::vector<EncodedDocument> encoded;
    encoded.reserve(texts.size());
    std::vector<SegmentInput> inputs;
    for (const auto& [number, text] : texts) {
      encoded.push_back(encoder_.EncodedOf(number, text));
      inputs.push_back({number, Checksum(text), &encoded.back()});
    }
    const auto status = WriteSegment(*files_, id, SmallGeometry(), inputs);
    ASSERT_TRUE(status.ok()) << status;
  }

  // The documents whose arrays are all right; everything else must be an error.
  std::vector<uint32_t> ReadableDocuments(uint64_t id) {
    const auto files = MakeFiles();
    auto reader = SegmentReader::Open(files, id, SmallGeometry());
    if (!reader.ok()) {
      EXPECT_TRUE(absl::IsDataLoss(reader.status())) << reader.status();
      EXPECT_THAT(std::string(reader.status().message()), HasSubstr(files->PathOf(id)));
      return {};
    }
    const auto documents = (*reader)->documents();
    auto keys = (*reader)->TakeRouterKeys(std::vector<bool>(documents.size(), true));
    EXPECT_TRUE(keys.ok()) << keys.status();
    std::vector<uint32_t> readable;
    for (size_t i = 0; i < documents.size(); ++i) {
      const EncodedDocument expected =
          encoder_.EncodedOf(documents[i].number, texts_.at(documents[i].number));
      bool is_readable = !(*keys)[i].empty();
      if (is_readable) {
        EXPECT_EQ((*keys)[i], expected.router_keys);
      }
      std::vector<std::byte> content;
      for (size_t layer = 0; layer < 3; ++layer) {
        std::vector<std::byte> block(expected.content.size() / 3);
        const auto status = (*reader)->ReadContent(i, layer, absl::MakeSpan(block));
        is_readable &= status.ok();
        if (!status.ok()) {
          EXPECT_TRUE(absl::IsDataLoss(status)) << status;
          EXPECT_EQ(kernels::DetailOf(status).metadata.at("document_number"),
                    absl::StrCat(documents[i].number));
        }
        content.insert(content.end(), block.begin(), block.end());
      }
      if (is_readable) {
        EXPECT_EQ(content, expected.content);
        readable.push_back(documents[i].number);
      }
    }
    return readable;
  }

  TemporaryDirectory directory_;
  ScriptedEncoder encoder_;
  std::shared_ptr<SegmentFiles> files_;
  std::map<uint32_t, std::string> texts_;
};

TEST_F(SegmentTest, DocumentsReadBackAsTheyWereWritten) {
  Write(7, {{1, "x"}, {5, std::string(40, 'y')}, {6, "some longer text"}, {4000000000u, "z"}});
  EXPECT_THAT(ReadableDocuments(7), ::testing::ElementsAre(1, 5, 6, 4000000000u));
  EXPECT_THAT(FilesIn(directory_.path()), ::testing::ElementsAre("0000000000000007.segment"));
  const auto reader = SegmentReader::Open(files_, 7, SmallGeometry()).value();
  EXPECT_EQ(reader->instruction_set(), "avx2");
  EXPECT_EQ(reader->documents()[1].num_tokens, 43u);
  EXPECT_EQ(reader->documents()[1].num_chunks, 6u);
  EXPECT_EQ(reader->documents()[1].first_chunk, 1u);
}

TEST_F(SegmentTest, OnlyWantedRouterKeysAreRead) {
  Write(1, {{1, "a"}, {2, "b"}, {3, "c"}});
  auto reader = SegmentReader::Open(files_, 1, SmallGeometry()).value();
  const auto keys = reader->TakeRouterKeys({true, false, true}).value();
  EXPECT_EQ(keys[0], encoder_.EncodedOf(1, "a").router_keys);
  EXPECT_TRUE(keys[1].empty());
  EXPECT_EQ(keys[2], encoder_.EncodedOf(3, "c").router_keys);
}

TEST_F(SegmentTest, EveryBitFlipIsFoundOrHarmless) {
  Write(1, {{1, "first text"}, {2, "x"}, {3, std::string(30, 'z')}});
  const std::string path = files_->PathOf(1);
  const size_t bits = ReadFile(path).size() * 8;
  std::mt19937 random(1);
  int num_found = 0;
  // All of header and tables would take long under sanitizers: every 7th bit, from a random start.
  for (size_t bit = random() % 7; bit < bits; bit += 7) {
    FlipBit(path, bit);
    // What is readable is compared with the truth in there.
    if (ReadableDocuments(1).size() < 3) ++num_found;
    FlipBit(path, bit);
    if (HasFailure()) FAIL() << "bit " << bit;
  }
  EXPECT_GT(num_found, static_cast<int>(bits / 7 * 9 / 10));
}

TEST_F(SegmentTest, ADamagedBlockLeavesTheOtherDocumentsReadable) {
  Write(1, {{1, "a"}, {2, "b"}, {3, "c"}});
  const auto layout = LayOutSegment(SmallGeometry(), 3, 3).value();
  const uint64_t chunk = 3 * 4 * 2;
  FlipBit(files_->PathOf(1), (layout.content + 2 * chunk + 5) * 8);  // document 2
  EXPECT_THAT(ReadableDocuments(1), ::testing::ElementsAre(1, 3));
  FlipBit(files_->PathOf(1), (layout.router_keys + 3 * 8 + 1) * 8);  // layer 1 of document 1
  EXPECT_THAT(ReadableDocuments(1), ::testing::ElementsAre(3));
}

TEST_F(SegmentTest, EveryTruncationIsFound) {
  Write(1, {{1, "first text"}, {2, "x"}});
  const std::string path = files_->PathOf(1);
  const std::string bytes = ReadFile(path);
  for (size_t size = 0; size < bytes.size(); ++size) {
    WriteFile(path, bytes.substr(0, size));
    ASSERT_THAT(ReadableDocuments(1), ::testing::IsEmpty()) << size;
  }
  WriteFile(path, bytes + "x");
  EXPECT_THAT(ReadableDocuments(1), ::testing::IsEmpty());
}

TEST_F(SegmentTest, AFileTruncatedWhileItIsOpenIsDamage) {
  Write(1, {{1, "first text"}});
  uint32_t damaged = 0;
  const auto reader = SegmentReader::Open(files_, 1, SmallGeometry(), [&](uint32_t number) {
                        damaged = number;
                      }).value();
  WriteFile(files_->PathOf(1), "short");
  std::vector<std::byte> block(2 * 2 * 4 * 2);
  const auto status = reader->ReadContent(0, 0, absl::MakeSpan(block));
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("0000000000000001.segment, document 1"));
  EXPECT_EQ(damaged, 1u);
}

TEST_F(SegmentTest, UnknownVersionAndOtherModelsAreRefusedByName) {
  Write(1, {{1, "a"}});
  std::string bytes = ReadFile(files_->PathOf(1));
  MemoryGeometry other = SmallGeometry();
  other.model_fingerprint = "other-model";
  auto status = SegmentReader::Open(files_, 1, other).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("test-model"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("other-model"));
  other = SmallGeometry();
  other.instruction_set = "avx512";
  EXPECT_TRUE(SegmentReader::Open(files_, 1, other).ok());

  bytes[8] = 9;  // the version, then the header's checksum
  const uint64_t checksum = Checksum(std::string_view(bytes).substr(0, 376));
  std::memcpy(&bytes[376], &checksum, 8);
  WriteFile(files_->PathOf(1), bytes);
  status = SegmentReader::Open(MakeFiles(), 1, SmallGeometry()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("version 9"));
  EXPECT_EQ(kernels::DetailOf(status).reason, "UNKNOWN_FORMAT_VERSION");
}

TEST_F(SegmentTest, SizesThatOverflowAreRefused) {
  MemoryGeometry geometry = SmallGeometry();
  EXPECT_FALSE(LayOutSegment(geometry, uint64_t{1} << 59, 1).ok());
  EXPECT_FALSE(LayOutSegment(geometry, 1, uint64_t{1} << 60).ok());
  EXPECT_FALSE(LayOutSegment(geometry, 0, 1).ok());
  geometry.kv_width = int64_t{1} << 62;
  EXPECT_FALSE(LayOutSegment(geometry, 1, 1).ok());
}

TEST_F(SegmentTest, FewFilesStayOpen) {
  for (uint64_t id = 1; id <= 20; ++id) Write(id, {{static_cast<uint32_t>(id), "text"}});
  const auto files = MakeFiles(/*max_open=*/3);
  std::vector<std::unique_ptr<SegmentReader>> readers;
  const auto num_descriptors = [] { return FilesIn("/proc/self/fd").size(); };
  const size_t before = num_descriptors();
  for (uint64_t id = 1; id <= 20; ++id) {
    readers.push_back(SegmentReader::Open(files, id, SmallGeometry()).value());
  }
  EXPECT_LE(num_descriptors(), before + 3);
  for (const auto& reader : readers) {
    std::vector<std::byte> block(2 * 4 * 2);
    EXPECT_TRUE(reader->ReadContent(0, 0, absl::MakeSpan(block)).ok());
  }
}

// Reads a segment by the offsets of docs/memory_bank_format.md and nothing else.
TEST_F(SegmentTest, ThePageDescribesEveryByte) {
  const std::map<uint32_t, std::string> texts = {{3, "abc"}, {9, std::string(20, 'q')}};
  Write(11, texts);
  const std::string file = ReadFile(files_->PathOf(11));
  const auto u32 = [&](size_t at) {
    return static_cast<uint32_t>(static_cast<unsigned char>(file[at])) |
           static_cast<uint32_t>(static_cast<unsigned char>(file[at + 1])) << 8 |
           static_cast<uint32_t>(static_cast<unsigned char>(file[at + 2])) << 16 |
           static_cast<uint32_t>(static_cast<unsigned char>(file[at + 3])) << 24;
  };
  const auto u64 = [&](size_t at) { return u32(at) | uint64_t{u32(at + 4)} << 32; };
  const auto hash = [&](size_t at, size_t size) {
    return Checksum(std::string_view(file).substr(at, size));
  };
  // Header.
  EXPECT_EQ(file.substr(0, 8), "MSASEG\r\n");
  EXPECT_EQ(u32(8), 1u);
  EXPECT_EQ(u32(12), 384u);
  EXPECT_EQ(u64(16), 11u);
  EXPECT_EQ(u32(24), 3u);
  EXPECT_EQ(u32(28), 4u);
  EXPECT_EQ(u32(32), 8u);
  EXPECT_EQ(u32(36), 1u);
  EXPECT_EQ(u64(40), 2u);
  EXPECT_EQ(u64(48), 4u);  // 1 + 3 chunks
  EXPECT_EQ(file.substr(128, 128), "test-model" + std::string(118, '\0'));
  EXPECT_EQ(file.substr(256, 32), "avx2" + std::string(28, '\0'));
  EXPECT_EQ(u64(376), hash(0, 376));
  const size_t table = u64(56), keys = u64(64), content = u64(72), checksums = u64(80);
  const size_t footer = u64(88), end = u64(96);
  EXPECT_EQ(table, 384u);
  EXPECT_EQ(keys, 448u);       // 384 + 2 * 32
  EXPECT_EQ(content, 576u);    // 448 + 4 * 3 * 4 * 2 = 544, up to a multiple of 64
  EXPECT_EQ(checksums, 768u);  // 576 + 192
  EXPECT_EQ(footer, 896u);     // 768 + 8 * (2 * 2 * 3 + 3) = 888
  EXPECT_EQ(end, 960u);
  EXPECT_EQ(file.size(), end);
  // Document table.
  EXPECT_EQ(u32(table), 3u);
  EXPECT_EQ(u32(table + 4), 6u);
  EXPECT_EQ(u32(table + 8), 1u);
  EXPECT_EQ(u64(table + 16), 0u);
  EXPECT_EQ(u64(table + 24), Checksum("abc"));
  EXPECT_EQ(u32(table + 32), 9u);
  EXPECT_EQ(u32(table + 36), 23u);
  EXPECT_EQ(u32(table + 40), 3u);
  EXPECT_EQ(u64(table + 48), 1u);
  // Arrays and their checksums.
  const size_t row = 4 * 2;
  size_t document = 0;
  size_t first_chunk = 0;
  for (const auto& [number, text] : texts) {
    const EncodedDocument encoded = encoder_.EncodedOf(number, text);
    const auto chunks = static_cast<size_t>(encoded.num_chunks);
    for (size_t layer = 0; layer < 3; ++layer) {
      const size_t keys_at = keys + (layer * 4 + first_chunk) * row;
      EXPECT_EQ(
          std::memcmp(&file[keys_at], &encoded.router_keys[layer * chunks * row], chunks * row), 0);
      EXPECT_EQ(u64(checksums + 8 * (6 + document * 3 + layer)), hash(keys_at, chunks * row));
      const size_t content_at = content + (3 * first_chunk + layer * chunks) * 2 * row;
      EXPECT_EQ(std::memcmp(&file[content_at], &encoded.content[layer * chunks * 2 * row],
                            chunks * 2 * row),
                0);
      EXPECT_EQ(u64(checksums + 8 * (document * 3 + layer)), hash(content_at, chunks * 2 * row));
    }
    first_chunk += chunks;
    ++document;
  }
  for (size_t layer = 0; layer < 3; ++layer) {
    EXPECT_EQ(u64(checksums + 8 * (12 + layer)), hash(keys + layer * 4 * row, 4 * row));
  }
  // Footer.
  EXPECT_EQ(file.substr(footer, 8), "MSASEGF\n");
  EXPECT_EQ(u64(footer + 8), hash(0, 384));
  EXPECT_EQ(u64(footer + 16), hash(table, 64));
  EXPECT_EQ(u64(footer + 24), hash(checksums, 120));
  EXPECT_EQ(u64(footer + 32), end);
  EXPECT_EQ(file.substr(footer + 40, 16), std::string(16, '\0'));
  EXPECT_EQ(u64(footer + 56), hash(footer, 56));
}

}  // namespace
}  // namespace msa::engine
