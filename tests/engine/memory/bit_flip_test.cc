// One bit of a bank's files is wrong, or a file is cut: that is found and reported, or nothing that
// is served differs. A sample runs always; MSA_LONG_TESTS=1 flips 100,000 bits.
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/memory/segments/segment_format.h"
#include "tests/engine/memory/damage_fixture.h"
#include "tests/engine/memory/long_form.h"

namespace msa::engine {
namespace {

using ::testing::IsEmpty;

class BitFlipTest : public DamageTest {
 protected:
  void Describe(const std::string& change, const std::vector<std::string>& violations) {
    if (violations.empty()) return;
    num_violations_ += 1;
    if (num_violations_ > 400) return;
    std::cout << change << ": " << violations.front() << "\n";
  }

  int64_t num_violations_ = 0;
};

TEST_F(BitFlipTest, AFlippedBitIsReportedOrChangesNothing) {
  const int num_flips = IsLongForm() ? 100'000 : 1'500;
  std::mt19937_64 random(7);
  std::map<Outcome, int64_t> outcomes;
  for (const bool was_killed : {false, true}) {
    const DiskImage image = MakeDamageableBank(was_killed);
    std::vector<std::string> violations;
    ASSERT_EQ(Check(image, /*catalog_is_intact=*/true, &violations), Outcome::kNothingDiffers);
    ASSERT_THAT(violations, IsEmpty());
    std::vector<std::vector<std::string>> kinds(3);  // of files: database, log, segments
    for (const auto& [path, bytes] : image.files) {
      if (bytes->empty()) continue;
      const bool is_log = absl::EndsWith(path, "-wal");
      kinds[path == kCatalog ? 0 : is_log ? 1 : 2].push_back(path);
    }
    std::erase_if(kinds, [](const auto& paths) { return paths.empty(); });
    for (int i = 0; i < num_flips / 2; ++i) {
      const auto& paths = kinds[random() % kinds.size()];
      const std::string& path = paths[random() % paths.size()];
      auto bytes = std::make_shared<std::string>(*image.files.at(path));
      uint64_t bit = random() % (8 * bytes->size());
      for (int tries = random() % 2 == 0 ? 200 : 0; (*bytes)[bit / 8] == 0 && tries > 0; --tries) {
        bit = random() % (8 * bytes->size());  // zeros are mostly of no use to anybody
      }
      (*bytes)[bit / 8] = static_cast<char>((*bytes)[bit / 8] ^ (1 << (bit % 8)));
      DiskImage damaged = image;
      damaged.files[path] = std::move(bytes);
      violations.clear();
      // Two transactions: of the first one the end alone tells that it is over.
      may_lose_last_ = path == kLog && bit / 8 >= bytes_before_last_;
      const bool is_segment = absl::EndsWith(path, ".segment");
      outcomes[Check(damaged, is_segment, &violations)] += 1;
      Describe(absl::StrCat(path, " byte ", bit / 8, " (page ", bit / 8 / 4096 + 1, " at ",
                            bit / 8 % 4096, ") bit ", bit % 8),
               violations);
    }
  }
  EXPECT_EQ(num_violations_, 0);
  std::cout << "flips " << num_flips << ": reported " << outcomes[Outcome::kReported]
            << ", bank refused " << outcomes[Outcome::kRefused] << ", nothing differs "
            << outcomes[Outcome::kNothingDiffers] << " (without the log's last document "
            << num_last_lost_ << "); violations " << num_violations_ << "\n";
}

TEST_F(BitFlipTest, ACutFileIsReportedOrChangesNothing) {
  int64_t num_cuts = 0;
  for (const bool was_killed : {false, true}) {
    const DiskImage image = MakeDamageableBank(was_killed);
    for (const auto& [path, bytes] : image.files) {
      std::set<uint64_t> cuts;
      for (uint64_t size = 0; size < bytes->size(); size += 4096) cuts.insert(size);
      if (absl::EndsWith(path, ".segment")) {
        const auto header = ReadSegmentHeader(
            {reinterpret_cast<const std::byte*>(bytes->data()), kSegmentHeaderBytes});
        ASSERT_TRUE(header.ok()) << header.status();
        const auto layout =
            LayOutSegment(header->geometry, header->num_documents, header->num_chunks).value();
        cuts.insert({kSegmentHeaderBytes, layout.document_table, layout.router_keys, layout.content,
                     layout.checksums, layout.footer, layout.file_bytes - 1});
      }
      for (const uint64_t size : cuts) {
        DiskImage damaged = image;
        damaged.files[path] = std::make_shared<std::string>(bytes->substr(0, size));
        std::vector<std::string> violations;
        if (path == kLog) {
          CheckEarlierState(damaged, &violations);
        } else {
          Check(damaged, absl::EndsWith(path, ".segment"), &violations);
        }
        num_cuts += 1;
        Describe(absl::StrCat(path, " cut to ", size), violations);
      }
    }
  }
  EXPECT_EQ(num_violations_, 0);
  std::cout << "cuts " << num_cuts << "; violations " << num_violations_ << "\n";
}

}  // namespace
}  // namespace msa::engine
