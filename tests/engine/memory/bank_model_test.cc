#include <algorithm>
#include <deque>
#include <iostream>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/engine/memory/crash_fixture.h"
#include "tests/engine/memory/long_form.h"

namespace msa::engine {
namespace {

// Random operations on a bank and on a map in memory, which must always tell the same. 8,000 of
// them; MSA_LONG_TESTS=1: a million.
class BankModelTest : public CrashTest {
 protected:
  ~BankModelTest() override { CloseStore(); }

  struct Document {
    std::string text;
    Metadata metadata;
    uint32_t number = 0;
  };
  // A pinned query and what it saw.
  struct Query {
    std::unique_ptr<BankPin> pin;
    std::map<uint32_t, std::string> texts;
    DocumentSet selected;         // by a filter and ids
    std::set<uint32_t> expected;  // those of them that it sees
  };

  int Random(int end) { return static_cast<int>(random_() % static_cast<unsigned>(end)); }

  void PutRandomDocument() {
    DocumentInput input;
    input.id = absl::StrCat("d", Random(40));
    input.text =
        absl::StrCat("text ", Random(6), std::string(static_cast<size_t>(Random(60)), '.'));
    if (Random(3) == 0) input.metadata["k"] = static_cast<double>(Random(3));
    const auto mode = Random(2) == 0 ? IngestMode::kInsert : IngestMode::kUpsert;
    const auto level = Random(2) == 0 ? AcknowledgeAt::kActive : AcknowledgeAt::kAccepted;
    const IngestResult result = Ingest(*bank_, input, mode, level);
    const auto found = model_.find(input.id);
    const bool exists = found != model_.end();
    const bool same_text = exists && found->second.text == input.text;
    const bool same = same_text && found->second.metadata == input.metadata;
    EXPECT_EQ(result.deduplicated, same);
    if (exists && !same && mode == IngestMode::kInsert) {
      EXPECT_TRUE(absl::IsAlreadyExists(result.status)) << result.status;
      return;
    }
    ASSERT_TRUE(result.status.ok()) << result.status;
    if (same_text) {
      EXPECT_EQ(result.number, found->second.number);
    } else {
      EXPECT_EQ(result.number, next_number_++);
    }
    model_[input.id] = {input.text, input.metadata, result.number};
  }

  void DeleteRandomDocuments() {
    std::vector<std::string> ids;
    int64_t num_known = 0;
    for (int i = Random(3); i >= 0; --i) ids.push_back(absl::StrCat("d", Random(40)));
    for (const std::string& id : ids) num_known += static_cast<int64_t>(model_.erase(id));
    const auto result = Delete(*bank_, ids);
    ASSERT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(result.num_deleted, num_known);
  }

  Filter RandomFilter() {
    const std::vector<std::string> filters = {"metadata.k = 1",     "metadata.k != 1",
                                              "metadata.k:*",       "metadata.k >= 1",
                                              "NOT metadata.k = 2", "id = \"d7\" OR metadata.k < 1",
                                              "id != \"d7\"",       "metadata.other = \"x\""};
    return *Filter::Parse(filters[static_cast<size_t>(Random(static_cast<int>(filters.size())))]);
  }

  void DeleteWhatMatches() {
    const Filter filter = RandomFilter();
    const size_t before = model_.size();
    std::erase_if(model_, [&](const auto& entry) {
      return filter.Matches(entry.first, entry.second.metadata);
    });
    const auto result = DeleteMatching(*bank_, filter);
    ASSERT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(result.num_deleted, static_cast<int64_t>(before - model_.size()));
    EXPECT_TRUE(result.unknown_ids.empty());
  }

  // Pages of random size.
  void CompareLists() {
    std::optional<Filter> filter;
    if (Random(2) == 0) filter = RandomFilter();
    std::map<std::string, Document> listed;
    std::string after;
    do {
      const int limit = 1 + Random(20);
      const auto page = bank_->List(after, limit, /*with_text=*/true, filter ? &*filter : nullptr);
      ASSERT_TRUE(page.ok()) << page.status();
      ASSERT_LE(page->documents.size(), static_cast<size_t>(limit));
      for (const DocumentInfo& info : page->documents) {
        ASSERT_GT(info.id, after);
        listed[info.id] = {info.text, info.metadata, info.number};
      }
      after = page->next_after_id;
    } while (!after.empty());
    std::map<std::string, Document> expected = model_;
    std::erase_if(expected, [&](const auto& entry) {
      return filter && !filter->Matches(entry.first, entry.second.metadata);
    });
    ASSERT_EQ(listed.size(), expected.size());
    for (const auto& [id, document] : expected) {
      EXPECT_EQ(listed[id].text, document.text);
      EXPECT_EQ(listed[id].metadata, document.metadata);
      EXPECT_EQ(listed[id].number, document.number);
    }
  }

  void StartQuery() {
    ASSERT_TRUE(Settles(*bank_));
    Query query{bank_->Pin(), {}, {}, {}};
    std::optional<Filter> filter;
    if (Random(2) == 0) filter = RandomFilter();
    std::vector<std::string> ids;
    for (int i = filter ? Random(20) : 1 + Random(20); i > 0; --i) {
      ids.push_back(absl::StrCat("d", Random(50)));
    }
    query.selected = bank_->Select(filter ? &*filter : nullptr, ids);
    for (const auto& [id, document] : model_) {
      query.texts[document.number] = document.text;
      const bool has_id = ids.empty() || std::find(ids.begin(), ids.end(), id) != ids.end();
      if (has_id && (!filter || filter->Matches(id, document.metadata))) {
        query.expected.insert(document.number);
      }
    }
    queries_.push_back(std::move(query));
    if (queries_.size() > 4) queries_.pop_front();
  }

  // Old queries see what they saw when they began.
  void CompareQueries() {
    for (const Query& query : queries_) {
      const auto visible = VisibleArrays(*bank_, *query.pin);
      ASSERT_EQ(visible.size(), query.texts.size());
      std::vector<uint32_t> numbers;
      for (const auto& [number, text] : query.texts) {
        ASSERT_TRUE(visible.contains(number));
        EXPECT_EQ(visible.at(number), ExpectedArrays(number, text));
        EXPECT_EQ(query.selected.Contains(number), query.expected.contains(number));
        numbers.push_back(number);
      }
      const auto read = bank_->Read(numbers, *query.pin, /*with_text=*/true);
      ASSERT_TRUE(read.ok()) << read.status();
      ASSERT_EQ(read->size(), numbers.size());
      for (const DocumentInfo& info : *read) EXPECT_EQ(info.text, query.texts.at(info.number));
    }
  }

  void CompareStats() {
    ASSERT_TRUE(Settles(*bank_));
    const BankStats stats = bank_->Stats();
    int64_t tokens = 0;
    int64_t text_bytes = 0;
    for (const auto& [id, document] : model_) {
      tokens += static_cast<int64_t>(encoder_->Tokenize(document.number, document.text).size());
      text_bytes += static_cast<int64_t>(document.text.size());
    }
    EXPECT_EQ(stats.num_documents, static_cast<int64_t>(model_.size()));
    EXPECT_EQ(stats.num_tokens, tokens);
    EXPECT_EQ(stats.text_bytes, text_bytes);
    EXPECT_GE(stats.reserved_tokens, tokens);
    const auto sum = [](const std::vector<int64_t>& counts) {
      return std::accumulate(counts.begin(), counts.end(), int64_t{0});
    };
    EXPECT_EQ(sum(stats.shard_documents), stats.num_documents);
    EXPECT_EQ(sum(stats.shard_chunks), stats.num_chunks);
    ExpectServesExactlyWhatIsActive(*bank_);
  }

  // The server stops, is killed, or the power goes; it comes back with any number of shards.
  void Restart() {
    queries_.clear();
    options_.num_shards = 1 + Random(4);
    const int way = Random(9);
    num_restarts_[way] += 1;
    if (way == 8) {
      CloseStore();
    } else if (way == 7) {
      Kill(files_.get());
    } else {
      const PowerLoss loss = {static_cast<PowerLoss::Way>(way), Random(2) == 0 ? 512u : 4096u,
                              random_()};
      const DiskImage image = files_->AfterPowerLoss(loss);
      Kill(files_.get());
      files_ = std::make_unique<SimulatedFileSystem>(image);
    }
    ASSERT_TRUE(TryOpen(files_.get()));
    CompareLists();
  }

  std::unique_ptr<SimulatedFileSystem> files_ = std::make_unique<SimulatedFileSystem>();
  std::map<int, int> num_restarts_;  // by way
  std::mt19937 random_;
  std::map<std::string, Document> model_;
  std::deque<Query> queries_;
  uint32_t next_number_ = 1;
};

class CompactedBankModelTest : public BankModelTest, public ::testing::WithParamInterface<bool> {};

// With and without compaction, by itself and on demand.
TEST_P(CompactedBankModelTest, RandomOperationsGiveWhatAMapGives) {
  const bool compacts = GetParam();
  options_.segment_interval = absl::Milliseconds(1);
  options_.compaction_share = compacts ? 0.25 : 2;
  options_.compaction_merge = compacts ? 4 : std::numeric_limits<int64_t>::max();
  ASSERT_TRUE(TryOpen(files_.get()));
  const int num_steps = IsLongForm() ? 500'000 : 4000;
  for (int step = 0; step < num_steps; ++step) {
    const int what = Random(100);
    if (what < 65) {
      PutRandomDocument();
    } else if (what < 89) {
      DeleteRandomDocuments();
    } else if (what < 90) {
      DeleteWhatMatches();
    } else if (what < 91 && compacts) {
      EXPECT_TRUE(Compact(*bank_).status.ok());
    } else if (what < 94) {
      StartQuery();
    } else if (what < 96) {
      CompareQueries();
    } else if (what < 99) {
      CompareLists();
    } else {
      CompareStats();
      if (Random(2) == 0) {
        Restart();
      }
    }
    if (HasFailure()) FAIL() << "step " << step;
  }
  std::cout << "operations " << num_steps << ", differences 0; stopped " << num_restarts_[8]
            << ", killed " << num_restarts_[7] << ", without power "
            << std::accumulate(num_restarts_.begin(), num_restarts_.end(), 0,
                               [](int count, const auto& way) {
                                 return count + (way.first < 7 ? way.second : 0);
                               })
            << " times\n";
}

INSTANTIATE_TEST_SUITE_P(Compacts, CompactedBankModelTest, ::testing::Bool());

}  // namespace
}  // namespace msa::engine
