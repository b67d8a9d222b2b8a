// One bit of a bank's files is wrong, or a file is cut: that is found and reported, or nothing that
// is served differs. A sample runs always; MSA_LONG_TESTS=1 flips 100,000 bits.
#include <algorithm>
#include <iostream>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/memory/segments/segment_format.h"
#include "tests/engine/memory/crash_fixture.h"
#include "tests/engine/memory/long_form.h"

namespace msa::engine {
namespace {

using ::testing::IsEmpty;

constexpr char kCatalog[] = "/srv/data/banks/a/catalog.sqlite";
constexpr char kLog[] = "/srv/data/banks/a/catalog.sqlite-wal";

class BitFlipTest : public CrashTest {
 protected:
  struct Document {
    std::string text;
    Metadata metadata;
    uint32_t number = 0;
    DocumentState state = DocumentState::kActive;
  };
  enum class Outcome { kNothingDiffers, kReported, kRefused };

  BitFlipTest() {
    encoder_ = std::make_unique<ScriptedEncoder>(options_.geometry, /*max_document_tokens=*/8000);
    options_.compaction_share = 2;
    options_.compaction_merge = std::numeric_limits<int64_t>::max();
  }

  void Put(const std::string& id, const std::string& text, Metadata metadata = {}) {
    const auto result = Ingest(*bank_, {.id = id, .text = text, .metadata = metadata, .number = {}},
                               IngestMode::kUpsert);
    const bool fails = absl::StrContains(text, ScriptedEncoder::kFails);
    ASSERT_NE(result.status.ok(), fails) << result.status;
    truth_[id] = {text, std::move(metadata), result.number, result.state};
    history_[id].insert(text);
  }
  void Remove(const std::string& id) {
    ASSERT_EQ(Delete(*bank_, {id}).num_deleted, 1);
    truth_.erase(id);
    deleted_.insert(id);
  }

  // A bank with several segments, old versions, a document that failed, a text of several pages,
  // pages that are free, tables of several pages; half of it in the database, half in the log of a server that was killed,
  // or all in the database.
  DiskImage MakeBank(bool ends_killed) {
    truth_.clear();
    deleted_.clear();
    history_.clear();
    SimulatedFileSystem files;
    EXPECT_TRUE(TryOpen(&files));
    for (int i = 0; i < 6; ++i) {
      Put(absl::StrCat("early", i), absl::StrCat("text ", i), {{"k", static_cast<double>(i % 3)}});
    }
    for (int i = 0; i < 50; ++i) Put(absl::StrCat("one-of-many", i), "short");
    Put("long", std::string(6000, 'l'));
    Put("gone", std::string(7000, 'g'), {{"k", 1.0}});
    Put("failed", "cannot be encoded!");
    Remove("gone");
    Remove("early2");
    EXPECT_TRUE(TryOpen(&files));
    Put("early0", "another version", {{"name", std::string("of a document")}});
    Remove("early3");
    for (int i = 0; i < 5; ++i) Put(absl::StrCat("late", i), std::string(30 + 400 * i, 't'));
    Put("early1", "text 1", {{"k", 7.0}});
    EXPECT_TRUE(Settles(*bank_));
    bytes_before_last_ = files.Contents().files.at(kLog)->size();
    Put("last", "the last");
    EXPECT_TRUE(Settles(*bank_));
    stats_ = bank_->Stats();
    if (!ends_killed) CloseStore();
    DiskImage image = files.Contents();
    Kill(&files);
    return image;
  }

  // Of what queries see: what is wrong, and what could not be read.
  void CompareArrays(std::vector<std::string>* violations, std::set<uint32_t>* missing,
                     std::set<uint32_t>* unreadable) {
    std::map<uint32_t, Arrays> expected;
    for (const auto& [id, document] : truth_) {
      if (document.state != DocumentState::kActive) continue;
      expected[document.number] = ExpectedArrays(document.number, document.text);
    }
    const auto pin = bank_->Pin();
    std::map<uint32_t, Arrays> seen = ReadArrays(*pin, unreadable);
    for (const auto& [number, arrays] : seen) {
      const auto found = expected.find(number);
      if (found == expected.end() || found->second.router_keys != arrays.router_keys ||
          (!unreadable->contains(number) && found->second != arrays)) {
        violations->push_back(absl::StrCat("queries see other arrays of document ", number));
      }
    }
    for (const auto& [number, arrays] : expected) {
      if (!seen.contains(number)) missing->insert(number);
    }
  }

  std::map<uint32_t, Arrays> ReadArrays(const BankPin& pin, std::set<uint32_t>* unreadable) {
    std::map<uint32_t, Arrays> seen;
    const size_t row_bytes =
        static_cast<size_t>(options_.geometry.kv_width) * kernels::SizeOf(options_.geometry.dtype);
    encoder_->InStep([&] {
      for (int rank = 0; rank < bank_->num_shards(); ++rank) {
        const Shard& shard = bank_->shard(rank);
        for (int layer = 0; layer < static_cast<int>(options_.geometry.num_msa_layers); ++layer) {
          for (const kernels::KeyExtent& extent : shard.RouterKeys(layer)) {
            for (size_t i = 0; i < extent.numbers.size(); ++i) {
              const uint32_t number = extent.numbers[i];
              const bool sees = extent.from_revision[i] <= pin.revision() &&
                                pin.revision() < extent.to_revision[i];
              if (!sees) continue;
              const size_t begin = extent.chunk_offsets[i] * row_bytes;
              const size_t end = extent.chunk_offsets[i + 1] * row_bytes;
              const auto* keys = static_cast<const std::byte*>(extent.keys);
              Arrays& arrays = seen[number];
              arrays.router_keys.insert(arrays.router_keys.end(), keys + begin, keys + end);
              std::vector<std::byte> content(2 * (end - begin));
              if (!shard.ReadContent(number, layer, absl::MakeSpan(content)).ok()) {
                unreadable->insert(number);
              }
              arrays.content.insert(arrays.content.end(), content.begin(), content.end());
            }
          }
        }
      }
    });
    return seen;
  }

  void CompareDocument(const DocumentInfo& info, bool was_reported,
                       std::vector<std::string>* violations) {
    const auto found = truth_.find(info.id);
    if (found == truth_.end()) {
      violations->push_back(absl::StrCat("\"", info.id, "\" is there"));
      return;
    }
    const Document& expected = found->second;
    const bool may_fail = was_reported && info.state == DocumentState::kFailed;
    if (info.text != expected.text || info.metadata != expected.metadata ||
        info.number != expected.number || (info.state != expected.state && !may_fail)) {
      violations->push_back(absl::StrCat("\"", info.id, "\" is another"));
    }
  }

  // Opens the store and reads all there is in every way.
  Outcome Check(const DiskImage& image, std::vector<std::string>* violations) {
    SimulatedFileSystem files(image);
    const absl::Cleanup end = [&] { Kill(&files); };
    CloseStore();
    RecordingObserver observer;
    auto store = BankStore::Open(options_, encoder_.get(), &files, SystemClock(), &observer);
    if (!store.ok()) {
      violations->push_back(absl::StrCat("the store does not open: ", store.status().ToString()));
      return Outcome::kRefused;
    }
    store_ = *std::move(store);
    auto bank = store_->Get("a");
    const auto names_what = [](const std::string& problem) {
      return absl::StrContains(problem, "catalog") || absl::StrContains(problem, "segment") ||
             absl::StrContains(problem, "document");
    };
    if (!bank.ok()) {
      const auto problems = observer.problems();
      if (problems.empty() || !names_what(problems.back())) {
        violations->push_back("the bank is refused: " + bank.status().ToString());
      }
      return Outcome::kRefused;
    }
    bank_ = *bank;
    const absl::Cleanup restore = [this, truth = truth_, stats = stats_] {
      truth_ = truth;
      stats_ = stats;
    };
    if (may_lose_last_ && absl::IsNotFound(bank_->Get("last", false).status())) {
      truth_.erase("last");
      num_last_lost_ += 1;
      stats_ = bank_->Stats();
    }
    if (!Settles(*bank_)) violations->push_back("documents stay ACCEPTED");

    std::set<uint32_t> missing;
    std::set<uint32_t> unreadable;
    CompareArrays(violations, &missing, &unreadable);
    const std::set<uint32_t> first_missing = missing;
    const bool heals = Eventually([&] {
      if (unreadable.empty() && missing == first_missing) return true;
      missing.clear();
      unreadable.clear();
      if (!Settles(*bank_)) return false;
      CompareArrays(violations, &missing, &unreadable);
      return unreadable.empty() && missing == first_missing;
    });
    if (!heals) violations->push_back("what cannot be read is not encoded again");

    std::vector<std::string> errors;  // an error is a report
    const auto page = bank_->List("", 1000, /*with_text=*/true, nullptr);
    std::set<std::string> listed;
    if (page.ok()) {
      for (const DocumentInfo& info : page->documents) {
        listed.insert(info.id);
        CompareDocument(info, observer.count("checksum") > 0, violations);
      }
    } else {
      errors.push_back(page.status().ToString());
    }
    std::set<std::string> absent;
    for (const auto& [id, document] : truth_) {
      const auto info = bank_->Get(id, /*with_text=*/true);
      if (info.ok()) CompareDocument(*info, observer.count("checksum") > 0, violations);
      if (absl::IsNotFound(info.status()) || (page.ok() && !listed.contains(id))) absent.insert(id);
      if (!info.ok() && !absl::IsNotFound(info.status())) {
        errors.push_back(info.status().ToString());
      }
    }
    for (const std::string& id : deleted_) {
      if (bank_->Get(id, true).ok()) violations->push_back("deleted \"" + id + "\" is back");
    }
    const auto pin = bank_->Pin();
    for (const auto& [id, document] : truth_) {
      if (document.state != DocumentState::kActive) continue;
      const auto read = bank_->Read({document.number}, *pin, /*with_text=*/true);
      if (!read.ok()) {
        errors.push_back(read.status().ToString());
      } else if (read->empty()) {
        absent.insert(id);
      } else {
        CompareDocument(read->front(), false, violations);
      }
      const std::vector<std::string> ids = {id};
      if (bank_->Select(nullptr, ids).Contains(document.number)) continue;
      missing.insert(document.number);
    }
    const auto filtered = Filter::Parse("metadata.k = 1 OR metadata.k = 7").value();
    for (const uint32_t number : bank_->Select(&filtered, {}).Numbers()) {
      const bool is_right =
          number == truth_.at("early1").number || number == truth_.at("early4").number;
      if (!is_right) violations->push_back("a filter selects others");
    }

    const auto problems = observer.problems();
    for (const std::string& problem : problems) {
      if (!names_what(problem)) violations->push_back("what does this mean: " + problem);
    }
    for (const std::string& error : errors) {
      if (!names_what(error)) violations->push_back("what does this mean: " + error);
    }
    // Where indexes were built anew everything is there again.
    const bool was_reported =
        !errors.empty() || std::any_of(problems.begin(), problems.end(), [](const auto& problem) {
          return !absl::StrContains(problem, "built anew");
        });
    if (was_reported) return Outcome::kReported;
    if (!missing.empty()) {
      violations->push_back("queries do not see document " + absl::StrJoin(missing, ", "));
    }
    if (!absent.empty()) violations->push_back(absl::StrJoin(absent, ", ") + " not there");
    const BankStats stats = bank_->Stats();
    if (stats.num_documents != stats_.num_documents || stats.num_failed != stats_.num_failed ||
        stats.num_tokens != stats_.num_tokens || stats.text_bytes != stats_.text_bytes ||
        stats.num_chunks != stats_.num_chunks || stats.content_bytes > 2 * stats_.content_bytes) {
      violations->push_back("the counts are others");
    }
    const bool goes_on = PutAnother(violations);
    return goes_on && problems.empty() ? Outcome::kNothingDiffers : Outcome::kReported;
  }

  // A log that has lost its end is that of an earlier time, as after a power loss; nothing in it says
  // otherwise. What is served is of that time.
  void CheckEarlierState(const DiskImage& image, std::vector<std::string>* violations) {
    SimulatedFileSystem files(image);
    const absl::Cleanup end = [&] { Kill(&files); };
    if (!TryOpen(&files)) return violations->push_back("the bank does not open");
    if (!Settles(*bank_)) violations->push_back("documents stay ACCEPTED");
    ExpectServesExactlyWhatIsActive(*bank_);
    const auto page = bank_->List("", 1000, /*with_text=*/true, nullptr);
    if (!page.ok()) return violations->push_back(page.status().ToString());
    for (const DocumentInfo& info : page->documents) {
      if (history_[info.id].contains(info.text)) continue;
      violations->push_back("\"" + info.id + "\" never was so");
    }
  }

  // Into pages that were free: nobody else's may be among them. False where it is refused by name.
  bool PutAnother(std::vector<std::string>* violations) {
    const auto result = Ingest(*bank_, "another", std::string(7000, 'a'));
    if (!result.status.ok()) {
      if (absl::StrContains(result.status.ToString(), "catalog")) return false;
      violations->push_back("no document is taken: " + result.status.ToString());
    }
    for (const auto& [id, document] : truth_) {
      const auto info = bank_->Get(id, /*with_text=*/true);
      if (info.ok()) CompareDocument(*info, /*was_reported=*/false, violations);
      if (!info.ok()) violations->push_back("another document has damaged \"" + id + "\"");
    }
    return true;
  }

  void Describe(const std::string& change, const std::vector<std::string>& violations) {
    if (violations.empty()) return;
    num_violations_ += 1;
    if (num_violations_ > 400) return;
    std::cout << change << ": " << violations.front() << "\n";
  }

  std::map<std::string, Document> truth_;
  std::set<std::string> deleted_;
  std::map<std::string, std::set<std::string>> history_;  // all texts that an id has had
  BankStats stats_;
  uint64_t bytes_before_last_ = 0;  // of the log, before the last document
  bool may_lose_last_ = false;
  int64_t num_last_lost_ = 0;
  int64_t num_violations_ = 0;
};

TEST_F(BitFlipTest, AFlippedBitIsReportedOrChangesNothing) {
  const int num_flips = IsLongForm() ? 100'000 : 1'500;
  std::mt19937_64 random(7);
  std::map<Outcome, int64_t> outcomes;
  for (const bool was_killed : {false, true}) {
    const DiskImage image = MakeBank(was_killed);
    std::vector<std::string> violations;
    ASSERT_EQ(Check(image, &violations), Outcome::kNothingDiffers);
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
      outcomes[Check(damaged, &violations)] += 1;
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
    const DiskImage image = MakeBank(was_killed);
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
          Check(damaged, &violations);
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
