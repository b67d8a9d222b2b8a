// Routing over shards against a brute-force model. Keys and queries are small integers, so that
// every score is exact and equality means equality; few distinct values make many ties. The long
// form (MSA_LONG_TESTS=1) compares 100,000 queries.
#include "engine/routing/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/memory/documents/metadata_index.h"
#include "engine/parallel/local_communicator.h"
#include "tests/engine/bank_stub.h"
#include "tests/engine/memory/long_form.h"

namespace msa::engine {
namespace {

constexpr int64_t kWidth = 32;  // 2 KV heads of 16
constexpr int kLayers = 2;
constexpr int kYears = 5;
constexpr uint64_t kLastRevision = 8;  // queries see this one or an older one

// One version of a document: a new one has a new number and is seen from the revision on at which
// the old one ends.
struct ModelDocument {
  uint32_t number = 0;
  std::string id;
  int year = 0;
  bool is_draft = false;
  uint64_t from = 0, to = UINT64_MAX;
  std::vector<std::vector<float>> keys[kLayers];  // [layer][chunk] -> [W]
};

// A bank that is only shards.
class ShardsOnly : public BankStub {
 public:
  ShardsOnly(const MemoryGeometry& geometry, int num_shards,
             RouterKeyScan scan = RouterKeyScan::kExact) {
    for (int s = 0; s < num_shards; ++s) shards_.push_back(std::make_unique<Shard>(geometry, scan));
  }
  Shard& mutable_shard(size_t i) { return *shards_[i]; }

  int num_shards() const override { return static_cast<int>(shards_.size()); }
  const Shard& shard(int rank) const override { return *shards_[static_cast<size_t>(rank)]; }

 private:
  std::vector<std::unique_ptr<Shard>> shards_;
};

ModelConfig Config(int64_t k) {
  ModelConfig config;
  config.num_query_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.msa_layers = {0, 1};
  config.num_layers = 2;
  config.doc_top_k = k;
  return config;
}

MemoryGeometry Geometry(kernels::DType dtype) {
  return {.num_msa_layers = kLayers,
          .kv_width = kWidth,
          .tokens_per_chunk = 64,
          .dtype = dtype,
          .model_fingerprint = "f",
          .instruction_set = "i"};
}

std::vector<float> SmallIntegers(std::mt19937* random, int64_t count, int most) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) {
    values.push_back(static_cast<float>(
        static_cast<int>((*random)() % static_cast<unsigned>(2 * most + 1)) - most));
  }
  return values;
}

// About a quarter is deleted or superseded.
std::vector<ModelDocument> RandomDocuments(std::mt19937* random, size_t count) {
  std::set<uint32_t> numbers;
  while (numbers.size() < count) numbers.insert(static_cast<uint32_t>((*random)() % 5000));
  std::vector<ModelDocument> documents;
  for (const uint32_t number : numbers) {
    ModelDocument document;
    document.number = number;
    document.year = static_cast<int>((*random)() % kYears);
    document.is_draft = (*random)() % 2 == 0;
    if (!documents.empty() && documents.back().to != UINT64_MAX && (*random)() % 2 == 0) {
      document.id = documents.back().id;
      document.from = documents.back().to;
    } else {
      document.id = absl::StrCat("d", number);
      document.from = (*random)() % 4;
    }
    if ((*random)() % 4 == 0) document.to = document.from + 1 + (*random)() % 4;
    const size_t chunks = 1 + (*random)() % 4;
    for (auto& layer : document.keys) {
      for (size_t c = 0; c < chunks; ++c) layer.push_back(SmallIntegers(random, kWidth, 1));
    }
    documents.push_back(std::move(document));
  }
  std::shuffle(documents.begin(), documents.end(), *random);
  return documents;
}

void Fill(ShardsOnly* bank, const std::vector<ModelDocument>& documents, kernels::DType dtype) {
  for (size_t i = 0; i < documents.size(); ++i) {
    const ModelDocument& document = documents[i];
    Shard& shard = bank->mutable_shard(i * 7 % static_cast<size_t>(bank->num_shards()));
    Shard::Addition addition;
    addition.number = document.number;
    addition.from_revision = document.from;
    addition.num_chunks = static_cast<int64_t>(document.keys[0].size());
    for (const auto& layer : document.keys) {
      for (const std::vector<float>& key : layer) {
        for (const float value : key) {
          std::byte bytes[4];
          const kernels::BF16 narrow = kernels::ToBF16(value);
          std::memcpy(bytes,
                      dtype == kernels::DType::kF32 ? static_cast<const void*>(&value) : &narrow,
                      kernels::SizeOf(dtype));
          addition.router_keys.insert(addition.router_keys.end(), bytes,
                                      bytes + kernels::SizeOf(dtype));
        }
      }
    }
    std::vector<Shard::Addition> one;
    one.push_back(std::move(addition));
    shard.Add(std::move(one));
    if (document.to != UINT64_MAX) shard.Retire(document.number, document.to);
  }
}

struct ModelQuery {
  int rank = 0, layer = 0;
  uint64_t revision = 0;
  std::vector<float> rows;
  std::optional<std::set<uint32_t>> filter;  // what it may find
  DocumentSet selected;                      // the same for the router
};

std::vector<kernels::ScoredDocument> BruteForce(const std::vector<ModelDocument>& documents,
                                                const ModelQuery& query, int64_t k) {
  std::vector<kernels::ScoredDocument> scored;
  for (const ModelDocument& document : documents) {
    if (query.revision < document.from || query.revision >= document.to || query.rows.empty())
      continue;
    if (query.filter && !query.filter->contains(document.number)) continue;
    float best = -1e9f;
    for (const std::vector<float>& key : document.keys[query.layer]) {
      for (size_t row = 0; row < query.rows.size(); row += kWidth) {
        float score = 0;
        for (size_t i = 0; i < kWidth; ++i) score += query.rows[row + i] * key[i];
        best = std::max(best, score);
      }
    }
    scored.push_back({best, document.number});
  }
  std::sort(scored.begin(), scored.end());
  scored.resize(std::min(scored.size(), static_cast<size_t>(k)));
  return scored;
}

// Some of the documents and a number that nobody has.
void FilterByNumber(std::mt19937* random, const std::vector<ModelDocument>& documents,
                    ModelQuery* query) {
  query->filter = {static_cast<uint32_t>((*random)() % 100'000)};
  const auto one_in = 1 + (*random)() % 8;
  for (const ModelDocument& document : documents) {
    if ((*random)() % one_in == 0) query->filter->insert(document.number);
  }
  for (const uint32_t number : *query->filter) query->selected.Insert(number);
}

// A condition on the metadata, a list of ids or both, through the index as a bank does it.
void FilterByContent(std::mt19937* random, const std::vector<ModelDocument>& documents,
                     ModelQuery* query) {
  MetadataIndex index;
  for (const ModelDocument& document : documents) {
    index.Add(document.number, document.id,
              {{"year", static_cast<double>(document.year)}, {"draft", document.is_draft}});
  }
  const auto kind = 1 + (*random)() % 3;
  const bool has_condition = (kind & 1) != 0;
  const bool has_ids = (kind & 2) != 0;
  const int least_year = static_cast<int>((*random)() % (kYears + 1));
  const bool drafts_too = (*random)() % 2 == 0;
  std::vector<std::string> ids = {"nobody"};
  const auto one_in = 1 + (*random)() % 8;
  for (const ModelDocument& document : documents) {
    if ((*random)() % one_in == 0) ids.push_back(document.id);
  }
  if (has_condition) {
    const auto filter = Filter::Parse(absl::StrCat(
        "metadata.year >= ", least_year, drafts_too ? "" : " AND NOT metadata.draft = true"));
    ASSERT_TRUE(filter.ok()) << filter.status();
    query->selected = index.Select(*filter);
    if (has_ids) query->selected.IntersectWith(index.SelectIds(ids));
  } else {
    query->selected = index.SelectIds(ids);
  }
  query->filter.emplace();
  for (const ModelDocument& document : documents) {
    if (has_condition && (document.year < least_year || (document.is_draft && !drafts_too)))
      continue;
    if (has_ids && std::find(ids.begin(), ids.end(), document.id) == ids.end()) continue;
    query->filter->insert(document.number);
  }
}

// Runs one stage on all ranks; [query] selections.
std::vector<Selection> RouteAll(const ModelConfig& config, const std::vector<const Bank*>& banks,
                                int num_ranks, const std::vector<ModelQuery>& queries,
                                const std::vector<size_t>& bank_of, kernels::DType dtype,
                                std::atomic<int64_t>* num_first_passes) {
  const auto compute =
      dtype == kernels::DType::kF32 ? kernels::ComputeDType::kF32 : kernels::ComputeDType::kBF16;
  auto communicators = MakeLocalCommunicators(num_ranks);
  kernels::ThreadPool threads(2);
  KvPagePool pages({.num_kv_heads = 2, .rows_per_page = 64, .head_dim = 16, .dtype = dtype}, 0);
  std::vector<Selection> selections(queries.size());
  std::vector<absl::Status> statuses(queries.size());
  std::vector<absl::Duration> times(queries.size());
  std::vector<kernels::NumberSet> views(queries.size());
  std::vector<RoutePoint> points;
  for (size_t i = 0; i < queries.size(); ++i) {
    views[i] = queries[i].selected.view();
    points.push_back({.rank = queries[i].rank % num_ranks,
                      .bank = banks[bank_of[i]],
                      .revision = queries[i].revision,
                      .filter = queries[i].filter ? &views[i] : nullptr,
                      .msa_index = queries[i].layer,
                      .num_rows = static_cast<int64_t>(queries[i].rows.size()) / kWidth,
                      .router_query = queries[i].rows.data(),
                      .selection = &selections[i],
                      .memory = nullptr,
                      .status = &statuses[i],
                      .score_time = &times[i],
                      .fetch_time = &times[i]});
  }
  std::vector<std::thread> ranks;
  for (auto& communicator : communicators) {
    ranks.emplace_back([&] {
      Router router(&config, kWidth, {kernels::DeviceKind::kCpu, &threads}, compute, dtype, &pages,
                    communicator.get());
      RouteStats stats;
      const absl::Status routed = router.Route(points, &stats);
      EXPECT_TRUE(routed.ok()) << routed;
      *num_first_passes += stats.rescored_documents + stats.first_pass_fallbacks;
    });
  }
  for (std::thread& rank : ranks) rank.join();
  return selections;
}

TEST(Router, AnyNumberOfShardsSelectsWhatBruteForceSelects) {
  std::mt19937 random(7);
  const int64_t num_wanted = IsLongForm() ? 100'000 : 250;
  int64_t num_queries = 0, num_filtered = 0, num_of_old_revisions = 0, num_ties = 0, num_found = 0;
  std::atomic<int64_t> num_first_passes = 0;
  for (int trial = 0; num_queries < num_wanted && !HasFailure(); ++trial) {
    const kernels::DType dtype = trial % 2 == 0 ? kernels::DType::kF32 : kernels::DType::kBF16;
    const ModelConfig config = Config(1 + static_cast<int64_t>(random() % 20));
    const std::vector<ModelDocument> documents = RandomDocuments(&random, random() % 200);
    const std::vector<ModelDocument> others = RandomDocuments(&random, random() % 30);
    std::vector<ModelQuery> queries;
    std::vector<size_t> bank_of;
    for (size_t i = 0; i < 1 + random() % 6; ++i) {
      const auto rows = static_cast<int64_t>(random() % 5);
      ModelQuery& query = queries.emplace_back();
      query.rank = static_cast<int>(random() % 5);
      query.layer = static_cast<int>(random() % kLayers);
      query.revision = random() % (kLastRevision + 1);
      query.rows = SmallIntegers(&random, rows * kWidth, 1);
      bank_of.push_back(random() % 2);
      const std::vector<ModelDocument>& asked = bank_of.back() == 0 ? documents : others;
      const auto kind = random() % 4;
      if (kind == 1) FilterByNumber(&random, random() % 2 == 0 ? documents : others, &query);
      if (kind >= 2) FilterByContent(&random, asked, &query);
      num_filtered += query.filter ? 1 : 0;
      num_of_old_revisions += query.revision < kLastRevision ? 1 : 0;
    }
    std::vector<std::vector<kernels::ScoredDocument>> expected;
    for (size_t i = 0; i < queries.size(); ++i) {
      expected.push_back(
          BruteForce(bank_of[i] == 0 ? documents : others, queries[i], config.doc_top_k));
      num_found += static_cast<int64_t>(expected.back().size());
      for (size_t d = 1; d < expected.back().size(); ++d) {
        num_ties += expected.back()[d].score == expected.back()[d - 1].score ? 1 : 0;
      }
    }
    num_queries += static_cast<int64_t>(queries.size());
    for (const int shards : {1, 2, 3, 5}) {
      // Few documents and results: with int8 keys a first pass in some of the queries only.
      const RouterKeyScan scan = random() % 2 == 0 ? RouterKeyScan::kInt8 : RouterKeyScan::kExact;
      ShardsOnly bank(Geometry(dtype), shards, scan), other(Geometry(dtype), shards);
      Fill(&bank, documents, dtype);
      Fill(&other, others, dtype);
      const std::vector<Selection> selections =
          RouteAll(config, {&bank, &other}, shards, queries, bank_of, dtype, &num_first_passes);
      for (size_t i = 0; i < queries.size(); ++i) {
        EXPECT_EQ(selections[i].documents, expected[i])
            << "trial " << trial << ", " << shards << " shards, query " << i;
        ASSERT_EQ(selections[i].owners.size(), expected[i].size());
        const ShardsOnly& asked = bank_of[i] == 0 ? bank : other;
        for (size_t d = 0; d < expected[i].size(); ++d) {
          EXPECT_EQ(asked.shard(selections[i].owners[d]).NumChunks(expected[i][d].number),
                    selections[i].num_chunks[d]);
        }
      }
    }
  }
  EXPECT_GT(num_first_passes, 0);
  std::cout << "queries " << num_queries << ", each over 1, 2, 3 and 5 shards; with a filter "
            << num_filtered << ", of an older revision " << num_of_old_revisions << ", found "
            << num_found << ", tied with the one before " << num_ties << "\n";
}

TEST(Router, AnAbortedGroupReturnsAnErrorInsteadOfWaiting) {
  const ModelConfig config = Config(4);
  ShardsOnly bank(Geometry(kernels::DType::kF32), 2);
  auto communicators = MakeLocalCommunicators(2);
  communicators[1]->Abort(absl::InternalError("lost"));
  kernels::ThreadPool threads(1);
  KvPagePool pages(
      {.num_kv_heads = 2, .rows_per_page = 64, .head_dim = 16, .dtype = kernels::DType::kF32}, 0);
  Router router(&config, kWidth, {kernels::DeviceKind::kCpu, &threads}, kernels::ComputeDType::kF32,
                kernels::DType::kF32, &pages, communicators[0].get());
  RouteStats stats;
  EXPECT_EQ(router.Route({}, &stats).code(), absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace msa::engine
