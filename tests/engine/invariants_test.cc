// The invariants of docs/architecture.md, through the whole engine on the bundled model; that of the
// banks is in bank_isolation_test.cc. A short form runs always; MSA_LONG_TESTS=1 runs 200 queries
// in five mixes for every number of shards and dtype.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/engine/engine_fixture.h"

namespace msa::engine {
namespace {

bool LongTests() { return std::getenv("MSA_LONG_TESTS") != nullptr; }

// Queries about the sample documents: the sample questions, and others about entities that they
// name, half of them sampled with a temperature.
std::vector<GenerateRequest> Queries(size_t count) {
  const std::vector<SampleQuestion> samples = SampleQuestions();
  const char* const kKeys[] = {"code",     "year",   "weight",   "colour", "city",
                               "material", "symbol", "language", "flower"};
  std::vector<GenerateRequest> queries;
  for (size_t i = 0; i < count; ++i) {
    std::string question = samples[i % samples.size()].question;
    if (i >= samples.size()) {
      const size_t of = question.find(" of the ");
      const size_t to = question.find(" to the ");
      const size_t at = of != std::string::npos   ? of + 4
                        : to != std::string::npos ? to + 4
                                                  : std::string::npos;
      if (at != std::string::npos) {
        question = absl::StrCat("What is the ", kKeys[i / samples.size() % 9], " of ",
                                question.substr(at));
      }
    }
    GenerateRequest request = Request("needles", question);
    if (i % 2 == 1) {
      request.params.sampling = {.temperature = 0.8f, .top_p = 0.95f, .seed = 1000 + i};
    }
    if (i % 5 == 4) request.params.constrain_citations = false;
    request.params.max_rounds = 4;
    queries.push_back(std::move(request));
  }
  return queries;
}

struct Precision {
  const char* name;
  kernels::ComputeDType compute;
  kernels::DType bank;
};
constexpr Precision kF32{"f32", kernels::ComputeDType::kF32, kernels::DType::kF32};
constexpr Precision kBF16{"bf16", kernels::ComputeDType::kBF16, kernels::DType::kBF16};

std::unique_ptr<Engine> OpenWith(const std::string& data_dir, int shards,
                                 const Precision& precision) {
  EngineOptions options = NeedleOptions(data_dir, shards);
  options.compute_dtype = precision.compute;
  options.bank_dtype = precision.bank;
  options.slice_time = absl::Milliseconds(5);  // more slices, more ways to mix
  return OpenOrDie(options);
}

// What came of the queries, and of a retrieval with the same question; by query.
struct Fingerprints {
  std::vector<std::string> answers;
  std::vector<std::string> retrievals;
};

Fingerprints RunAlone(Engine* engine, const std::vector<GenerateRequest>& queries) {
  Fingerprints alone;
  for (const GenerateRequest& query : queries) {
    const Outcome answer = Ask(engine, query);
    EXPECT_TRUE(answer.status.ok()) << answer.status;
    alone.answers.push_back(answer.Fingerprint());
    const absl::StatusOr<RetrieveResult> retrieval =
        RetrieveAndWait(engine, Retrieval(query.bank, query.question));
    EXPECT_TRUE(retrieval.ok()) << retrieval.status();
    alone.retrievals.push_back(FingerprintOf(retrieval));
  }
  return alone;
}

// All queries in a random order and concurrency, with others coming and going: retrievals,
// documents being ingested into another bank, cancelled queries.
class Mix {
 public:
  Mix(Engine* engine, const std::vector<GenerateRequest>& queries, uint32_t seed)
      : engine_(engine),
        queries_(queries),
        random_(seed),
        other_name_(absl::StrCat("other-", seed)),
        other_(*engine->banks().Create(other_name_, {})) {}

  // Retrievals that were left out are empty.
  Fingerprints Run() {
    fingerprints_ = {.answers = std::vector<std::string>(queries_.size()),
                     .retrievals = std::vector<std::string>(queries_.size())};
    std::vector<size_t> order(queries_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random_);
    size_t most = 1 + Random(12);
    for (const size_t i : order) {
      if (Random(8) == 0) most = 1 + Random(12);
      Reap(most - 1);
      running_[i] = std::make_unique<AsyncQuestion>(engine_, queries_[i]);
      if (Random(3) == 0) Retrieve(i);
      if (Random(4) == 0) AskAndCancel();
      if (Random(2) == 0) IngestElsewhere();
    }
    Finish();
    return std::move(fingerprints_);
  }

 private:
  size_t Random(size_t end) { return random_() % end; }

  void Reap(size_t down_to) {
    while (running_.size() > down_to) {
      auto it = running_.begin();
      std::advance(it, static_cast<long>(Random(running_.size())));
      fingerprints_.answers[it->first] = it->second->Wait().Fingerprint();
      running_.erase(it);
    }
  }

  void Retrieve(size_t i) {
    retrievals_[i] = std::make_unique<AsyncRetrieval>(
        engine_, Retrieval(queries_[i].bank, queries_[i].question));
  }

  void AskAndCancel() {
    cancelled_.push_back(
        std::make_unique<AsyncQuestion>(engine_, queries_[Random(queries_.size())]));
    if (Random(2) == 0) cancelled_.back()->WaitForEvents(1 + Random(4));
    cancelled_.back()->Cancel();
  }

  void IngestElsewhere() {
    if (num_sent_ == company_.size()) return;
    other_->Ingest(company_[num_sent_++], IngestMode::kInsert, AcknowledgeAt::kActive,
                   [this](IngestResult) { ++num_ingested_; });
  }

  void Finish() {
    Reap(0);
    for (const auto& [i, retrieval] : retrievals_)
      fingerprints_.retrievals[i] = FingerprintOf(retrieval->Wait());
    cancelled_.clear();
    while (num_ingested_.load() < num_sent_) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_TRUE(engine_->banks().Delete(other_name_, /*force=*/true).ok());
  }

  Engine* const engine_;
  const std::vector<GenerateRequest>& queries_;
  std::mt19937 random_;
  const std::string other_name_;
  const std::shared_ptr<Bank> other_;
  const std::vector<DocumentInput> company_ = SampleDocuments(200);
  size_t num_sent_ = 0;
  std::atomic<size_t> num_ingested_{0};
  Fingerprints fingerprints_;
  std::map<size_t, std::unique_ptr<AsyncQuestion>> running_;
  std::map<size_t, std::unique_ptr<AsyncRetrieval>> retrievals_;
  std::vector<std::unique_ptr<AsyncQuestion>> cancelled_;
};

void ExpectShardsAndMixesChangeNothing(const Precision& precision) {
  const size_t num_queries = LongTests() ? 200 : Sized(22, 8);
  const uint32_t num_mixes = LongTests() ? 5 : 2;
  const std::vector<int> all_shards = Sized(std::vector{1, 2, 3, 5}, std::vector{1, 3});
  const std::vector<GenerateRequest> queries = Queries(num_queries);
  Fingerprints alone;
  for (const int shards : all_shards) {
    SCOPED_TRACE(absl::StrCat(shards, " shards, ", precision.name));
    TemporaryDirectory directory;
    std::unique_ptr<Engine> engine = OpenWith(directory.path(), shards, precision);
    IngestAll(engine->banks().Create("needles", {})->get(), SampleDocuments(Sized(400, 60)));
    if (alone.answers.empty()) alone = RunAlone(engine.get(), queries);
    size_t num_retrievals = 0;
    for (uint32_t mix = 0; mix < num_mixes; ++mix) {
      const Fingerprints mixed = Mix(engine.get(), queries, mix).Run();
      for (size_t i = 0; i < queries.size(); ++i) {
        EXPECT_EQ(mixed.answers[i], alone.answers[i]) << queries[i].question << " in mix " << mix;
        if (mixed.retrievals[i].empty()) continue;
        ++num_retrievals;
        EXPECT_EQ(mixed.retrievals[i], alone.retrievals[i])
            << queries[i].question << " in mix " << mix;
      }
    }
    EXPECT_GT(num_retrievals, 0u);
    engine->Drain(absl::InfiniteDuration());  // cancelled queries end at the next step
    EXPECT_EQ(engine->memory_usage().kv_pages, 0) << "every page is given back";
  }
}

TEST(Invariants, ShardsAndCompanyDoNotChangeSelectionsAndTokensInF32) {
  ExpectShardsAndMixesChangeNothing(kF32);
}
TEST(Invariants, ShardsAndCompanyDoNotChangeSelectionsAndTokensInBf16) {
  ExpectShardsAndMixesChangeNothing(kBF16);
}

std::vector<std::byte> StoredBytes(const Bank& bank, uint32_t number, int num_layers,
                                   int64_t row_bytes) {
  std::vector<std::byte> all;
  for (int s = 0; s < bank.num_shards(); ++s) {
    const auto chunks = bank.shard(s).NumChunks(number);
    if (chunks == 0) continue;
    for (int layer = 0; layer < num_layers; ++layer) {
      std::vector<std::byte> content(static_cast<size_t>(chunks * 2 * row_bytes));
      EXPECT_TRUE(bank.shard(s).ReadContent(number, layer, absl::MakeSpan(content)).ok());
      all.insert(all.end(), content.begin(), content.end());
      for (const kernels::KeyExtent& extent : bank.shard(s).RouterKeys(layer)) {
        for (size_t i = 0; i < extent.numbers.size(); ++i) {
          if (extent.numbers[i] != number) continue;
          const auto* keys = static_cast<const std::byte*>(extent.keys);
          all.insert(all.end(), keys + extent.chunk_offsets[i] * row_bytes,
                     keys + extent.chunk_offsets[i + 1] * row_bytes);
        }
      }
    }
  }
  return all;
}

TEST(Invariants, ADocumentsEncodingDoesNotDependOnItsCompany) {
  for (const Precision& precision : {kF32, kBF16}) {
    std::vector<DocumentInput> documents = SampleDocuments(Sized(60, 20));
    std::string longest;
    for (const DocumentInput& document : documents) longest += document.text + " ";
    documents.push_back({.id = "long", .text = longest, .metadata = {}, .number = {}});
    for (size_t i = 0; i < documents.size(); ++i)
      documents[i].number = static_cast<uint32_t>(i + 1);
    std::map<uint32_t, std::vector<std::byte>> together;
    TemporaryDirectory first, second;
    for (const bool alone : {false, true}) {
      const std::unique_ptr<Engine> engine =
          OpenWith(alone ? second.path() : first.path(), alone ? 1 : 3, precision);
      const std::shared_ptr<Bank> bank = *engine->banks().Create("bank", {});
      if (alone) {
        for (const DocumentInput& document : documents) {
          const IngestResult result =
              IngestOne(bank.get(), document, IngestMode::kInsert, AcknowledgeAt::kActive);
          ASSERT_TRUE(result.status.ok()) << result.status;
        }
      } else {
        IngestAll(bank.get(), documents);
      }
      const ModelConfig& config = engine->info().model;
      const auto row_bytes =
          config.kv_width() * static_cast<int64_t>(kernels::SizeOf(precision.bank));
      for (const DocumentInput& document : documents) {
        const auto layers = static_cast<int>(config.msa_layers.size());
        std::vector<std::byte> bytes = StoredBytes(*bank, *document.number, layers, row_bytes);
        ASSERT_FALSE(bytes.empty());
        if (alone) {
          EXPECT_EQ(bytes, together[*document.number]) << document.id;
        } else {
          together[*document.number] = std::move(bytes);
        }
      }
    }
  }
}

TEST(Invariants, AQuerySeesTheRevisionItStartedWith) {
  TemporaryDirectory directory;
  EngineOptions options = NeedleOptions(directory.path(), 2);
  options.max_running = 1;
  const std::unique_ptr<Engine> engine = OpenOrDie(options);
  const std::shared_ptr<Bank> bank = *engine->banks().Create("needles", {});
  const SampleQuestion sample = SampleQuestions()[0];
  ASSERT_EQ(sample.hops, 1);
  IngestAll(bank.get(), SampleDocumentsFor({sample}, Sized(500, 60)));
  const Outcome before = Ask(engine.get(), Request("needles", sample.question));
  ASSERT_TRUE(before.status.ok()) << before.status;
  // Some queries are already admitted (and one is running) when the document goes.
  std::vector<std::unique_ptr<AsyncQuestion>> started;
  for (int i = 0; i < 4; ++i) {
    started.push_back(
        std::make_unique<AsyncQuestion>(engine.get(), Request("needles", sample.question)));
  }
  const Bank::DeleteResult deleted = DeleteAndWait(bank.get(), {sample.sources[0]});
  ASSERT_TRUE(deleted.status.ok()) << deleted.status;
  EXPECT_EQ(deleted.num_deleted, 1);
  AsyncQuestion after(engine.get(), Request("needles", sample.question));
  for (const auto& query : started) EXPECT_EQ(query->Wait().Fingerprint(), before.Fingerprint());
  const Outcome& seen_after = after.Wait();
  ASSERT_TRUE(seen_after.status.ok()) << seen_after.status;
  ASSERT_FALSE(seen_after.rounds.empty());
  for (const RoundEvent& round : seen_after.rounds) {
    for (const RoutedDocument& document : round.documents)
      EXPECT_NE(document.id, sample.sources[0]);
  }
  for (const FinishedEvent::Source& source : seen_after.finished.sources)
    EXPECT_NE(source.id, sample.sources[0]);
}

TEST(Invariants, ReopeningGivesTheSameAnswers) {
  TemporaryDirectory directory;
  std::vector<std::string> before;
  const std::vector<GenerateRequest> queries = Queries(Sized(10, 4));
  for (const int shards : {2, 2, 3}) {
    const std::unique_ptr<Engine> engine = OpenOrDie(NeedleOptions(directory.path(), shards));
    if (before.empty()) {
      IngestAll(engine->banks().Create("needles", {})->get(), SampleDocuments(Sized(300, 60)));
    }
    std::vector<std::string> now;
    for (const GenerateRequest& query : queries)
      now.push_back(Ask(engine.get(), query).Fingerprint());
    if (before.empty()) before = now;
    EXPECT_EQ(now, before) << shards << " shards";
  }
}

}  // namespace
}  // namespace msa::engine
