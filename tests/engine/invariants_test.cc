// The invariants of docs/architecture.md, through the whole engine on the bundled model. A short
// form runs always; MSA_LONG_TESTS=1 runs 200 queries in five mixes for every number of shards and
// dtype.
#include <gtest/gtest.h>

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

// All queries in a random order and concurrency, with others coming and going: documents being
// ingested into another bank, cancelled queries. Returns the fingerprints by query.
std::vector<std::string> RunMix(Engine* engine, const std::vector<GenerateRequest>& queries,
                                uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<size_t> order(queries.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::shuffle(order.begin(), order.end(), random);
  const std::shared_ptr<Bank> other = *engine->CreateBank(absl::StrCat("other-", seed), {});
  std::vector<DocumentInput> company = SampleDocuments(200);
  std::atomic<int> ingested{0};
  std::vector<std::string> fingerprints(queries.size());
  std::map<size_t, std::unique_ptr<AsyncQuestion>> running;
  std::vector<std::unique_ptr<AsyncQuestion>> cancelled;
  size_t most = 1 + random() % 12, next_document = 0;
  const auto reap = [&](size_t down_to) {
    while (running.size() > down_to) {
      auto it = running.begin();
      std::advance(it, static_cast<long>(random() % running.size()));
      fingerprints[it->first] = it->second->Wait().Fingerprint();
      running.erase(it);
    }
  };
  for (const size_t i : order) {
    if (random() % 8 == 0) most = 1 + random() % 12;
    reap(most - 1);
    running[i] = std::make_unique<AsyncQuestion>(engine, queries[i]);
    if (random() % 4 == 0) {
      cancelled.push_back(
          std::make_unique<AsyncQuestion>(engine, queries[random() % queries.size()]));
      if (random() % 2 == 0) cancelled.back()->WaitForEvents(1 + random() % 4);
      cancelled.back()->Cancel();
    }
    if (next_document < company.size() && random() % 2 == 0) {
      other->Ingest(company[next_document++], IngestMode::kInsert, AcknowledgeAt::kActive,
                    [&](IngestResult) { ++ingested; });
    }
  }
  reap(0);
  cancelled.clear();
  while (static_cast<size_t>(ingested.load()) < next_document)
    absl::SleepFor(absl::Milliseconds(1));
  EXPECT_TRUE(engine->DeleteBank(absl::StrCat("other-", seed), /*force=*/true).ok());
  return fingerprints;
}

void ExpectShardsAndMixesChangeNothing(const Precision& precision) {
  const size_t num_queries = LongTests() ? 200 : 24;
  const uint32_t num_mixes = LongTests() ? 5 : 2;
  const std::vector<GenerateRequest> queries = Queries(num_queries);
  std::vector<std::string> expected;
  for (const int shards : {1, 2, 3, 5}) {
    SCOPED_TRACE(absl::StrCat(shards, " shards, ", precision.name));
    TemporaryDirectory directory;
    std::unique_ptr<Engine> engine = OpenWith(directory.path(), shards, precision);
    IngestAll(engine->CreateBank("needles", {})->get(), SampleDocuments(400));
    if (expected.empty()) {
      for (const GenerateRequest& query : queries) {
        const Outcome alone = Ask(engine.get(), query);
        ASSERT_TRUE(alone.status.ok()) << alone.status;
        expected.push_back(alone.Fingerprint());
      }
    }
    for (uint32_t mix = 0; mix < num_mixes; ++mix) {
      const std::vector<std::string> mixed = RunMix(engine.get(), queries, mix);
      for (size_t i = 0; i < queries.size(); ++i) {
        EXPECT_EQ(mixed[i], expected[i]) << queries[i].question << " in mix " << mix;
      }
    }
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
    std::vector<DocumentInput> documents = SampleDocuments(60);
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
      const std::shared_ptr<Bank> bank = *engine->CreateBank("bank", {});
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
  const std::shared_ptr<Bank> bank = *engine->CreateBank("needles", {});
  IngestAll(bank.get(), SampleDocuments(2000));
  const SampleQuestion sample = SampleQuestions()[0];
  ASSERT_EQ(sample.hops, 1);
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
  const std::vector<GenerateRequest> queries = Queries(10);
  for (const int shards : {2, 2, 3}) {
    const std::unique_ptr<Engine> engine = OpenOrDie(NeedleOptions(directory.path(), shards));
    if (before.empty()) IngestAll(engine->CreateBank("needles", {})->get(), SampleDocuments(300));
    std::vector<std::string> now;
    for (const GenerateRequest& query : queries)
      now.push_back(Ask(engine.get(), query).Fingerprint());
    if (before.empty()) before = now;
    EXPECT_EQ(now, before) << shards << " shards";
  }
}

TEST(Invariants, BanksDoNotSeeEachOther) {
  TemporaryDirectory directory;
  const std::unique_ptr<Engine> engine = OpenOrDie(NeedleOptions(directory.path(), 2));
  std::vector<DocumentInput> documents = SampleDocuments(100);
  IngestAll(engine->CreateBank("full", {})->get(), documents);
  ASSERT_TRUE(engine->CreateBank("empty", {}).ok());
  const Outcome outcome = Ask(engine.get(), Request("empty", SampleQuestions()[0].question));
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_TRUE(outcome.finished.without_memory);
  EXPECT_TRUE(outcome.finished.sources.empty());
  for (const RoundEvent& round : outcome.rounds) EXPECT_TRUE(round.documents.empty());
}

}  // namespace
}  // namespace msa::engine
