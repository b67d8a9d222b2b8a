#include "tests/engine/memory/damage_fixture.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace msa::engine {
namespace {

bool NamesWhat(const std::string& problem) {
  return absl::StrContains(problem, "catalog") || absl::StrContains(problem, "segment") ||
         absl::StrContains(problem, "document");
}

}  // namespace

DamageTest::DamageTest() {
  encoder_ = std::make_unique<ScriptedEncoder>(options_.geometry, /*max_document_tokens=*/8000);
  options_.compaction_share = 2;
  options_.compaction_merge = std::numeric_limits<int64_t>::max();
}

void DamageTest::Put(const std::string& id, const std::string& text, Metadata metadata) {
  const auto result = Ingest(*bank_, {.id = id, .text = text, .metadata = metadata, .number = {}},
                             IngestMode::kUpsert);
  const bool fails = absl::StrContains(text, ScriptedEncoder::kFails);
  ASSERT_NE(result.status.ok(), fails) << result.status;
  truth_[id] = {text, std::move(metadata), result.number, result.state};
  history_[id].insert(text);
}

void DamageTest::Remove(const std::string& id) {
  ASSERT_EQ(Delete(*bank_, {id}).num_deleted, 1);
  truth_.erase(id);
  deleted_.insert(id);
}

DiskImage DamageTest::MakeDamageableBank(bool ends_killed) {
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
void DamageTest::CompareArrays(std::vector<std::string>* violations, std::set<uint32_t>* missing,
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

std::map<uint32_t, BankTest::Arrays> DamageTest::ReadArrays(const BankPin& pin,
                                                            std::set<uint32_t>* unreadable) {
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
            const bool sees =
                extent.from_revision[i] <= pin.revision() && pin.revision() < extent.to_revision[i];
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

void DamageTest::CompareDocument(const DocumentInfo& info, bool was_reported,
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

// The documents that queries do not see once everything that could not be read is encoded again.
std::set<uint32_t> DamageTest::WaitUntilHealed(std::vector<std::string>* violations) {
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
  return missing;
}

// In every way in which clients can.
void DamageTest::ReadDocuments(bool was_reported, std::vector<std::string>* errors,
                               std::set<std::string>* absent,
                               std::vector<std::string>* violations) {
  const auto page = bank_->List("", 1000, /*with_text=*/true, nullptr);
  std::set<std::string> listed;
  if (page.ok()) {
    for (const DocumentInfo& info : page->documents) {
      listed.insert(info.id);
      CompareDocument(info, was_reported, violations);
    }
  } else {
    errors->push_back(page.status().ToString());
  }
  for (const auto& [id, document] : truth_) {
    const auto info = bank_->Get(id, /*with_text=*/true);
    if (info.ok()) CompareDocument(*info, was_reported, violations);
    if (absl::IsNotFound(info.status()) || (page.ok() && !listed.contains(id))) absent->insert(id);
    if (!info.ok() && !absl::IsNotFound(info.status())) {
      errors->push_back(info.status().ToString());
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
      errors->push_back(read.status().ToString());
    } else if (read->empty()) {
      absent->insert(id);
    } else {
      CompareDocument(read->front(), false, violations);
    }
  }
  const auto filtered = Filter::Parse("metadata.k = 1 OR metadata.k = 7").value();
  for (const uint32_t number : bank_->Select(&filtered, {}).Numbers()) {
    const bool is_right =
        number == truth_.at("early1").number || number == truth_.at("early4").number;
    if (!is_right) violations->push_back("a filter selects others");
  }
}

DamageTest::Outcome DamageTest::Check(const DiskImage& image, bool catalog_is_intact,
                                      std::vector<std::string>* violations) {
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
  if (!bank.ok()) {
    const auto problems = observer.problems();
    if (problems.empty() || !NamesWhat(problems.back())) {
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

  std::set<uint32_t> missing = WaitUntilHealed(violations);
  std::vector<std::string> errors;  // an error is a report
  std::set<std::string> absent;
  ReadDocuments(observer.count("checksum") > 0, &errors, &absent, violations);
  for (const auto& [id, document] : truth_) {
    const std::vector<std::string> ids = {id};
    const bool is_active = document.state == DocumentState::kActive;
    if (is_active && !bank_->Select(nullptr, ids).Contains(document.number)) {
      missing.insert(document.number);
    }
  }
  const auto problems = observer.problems();
  for (const std::string& problem : problems) {
    if (!NamesWhat(problem)) violations->push_back("what does this mean: " + problem);
  }
  for (const std::string& error : errors) {
    if (!NamesWhat(error)) violations->push_back("what does this mean: " + error);
  }
  // Where indexes were built anew everything is there again.
  const bool was_reported =
      !errors.empty() || std::any_of(problems.begin(), problems.end(), [](const auto& problem) {
        return !absl::StrContains(problem, "built anew");
      });
  if (was_reported && !catalog_is_intact) return Outcome::kReported;
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
  return goes_on && errors.empty() && problems.empty() ? Outcome::kNothingDiffers
                                                       : Outcome::kReported;
}

void DamageTest::CheckEarlierState(const DiskImage& image, std::vector<std::string>* violations) {
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

// False where it is refused by name.
bool DamageTest::PutAnother(std::vector<std::string>* violations) {
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

}  // namespace msa::engine
