// Lines of msa_kernel_bench: scoring of routing keys, exact and with a first pass over int8 keys.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <numeric>

#include "absl/strings/str_format.h"
#include "kernels/ops/quantized_keys.h"
#include "kernels/ops/score_chunks.h"
#include "tests/bench/kernel_bench.h"
#include "tests/kernels/ops/naive_ops.h"

namespace msa::bench {
namespace {

using kernels::DType;

constexpr int64_t kWidth = 1024;
constexpr int64_t kTopK = 16;
constexpr uint32_t kChunksPerDocument = 3;

// One query's scoring of documents of three chunks each.
struct Scoring {
  Scoring(kernels::ThreadPool* thread_pool, const kernels::BF16* keys, int64_t num_chunks,
          std::vector<float> query_rows)
      : pool(thread_pool), query(std::move(query_rows)) {
    const auto num_documents = static_cast<size_t>(num_chunks / kChunksPerDocument);
    for (size_t i = 0; i <= num_documents; ++i)
      offsets.push_back(static_cast<uint32_t>(i) * kChunksPerDocument);
    numbers.resize(num_documents);
    std::iota(numbers.begin(), numbers.end(), 0u);
    from.assign(num_documents, 0);
    to.assign(num_documents, 2);
    extent = {keys, DType::kBF16, offsets, numbers, from, to};
    query_offsets = {0, static_cast<int64_t>(query.size()) / kWidth};
  }
  void Run() {
    CheckOk(kernels::ScoreChunks({kernels::DeviceKind::kCpu, pool},
                                 {.query = {query.data(), {query_offsets.back(), kWidth}},
                                  .query_offsets = query_offsets,
                                  .query_revisions = revisions,
                                  .query_filters = filters,
                                  .num_query_heads = 16,
                                  .num_kv_heads = 8,
                                  .head_dim = 128,
                                  .extents = {&extent, 1},
                                  .top_k = kTopK,
                                  .top = {top.data(), {1, kTopK}},
                                  .num_found = absl::MakeSpan(found),
                                  .first_pass = &first_pass}));
  }

  kernels::ThreadPool* pool;
  std::vector<float> query;  // [T, kWidth]
  std::vector<uint32_t> offsets, numbers;
  std::vector<uint64_t> from, to;
  kernels::KeyExtent extent;
  std::vector<int64_t> query_offsets;
  std::vector<uint64_t> revisions = {1};
  std::vector<const kernels::NumberSet*> filters = {nullptr};
  std::vector<kernels::ScoredDocument> top = std::vector<kernels::ScoredDocument>(kTopK);
  std::vector<int64_t> found = {0};
  kernels::FirstPassStats first_pass;
};

// All chunks of the buffer, in whole documents.
int64_t NumChunks(KernelBench* bench) {
  return static_cast<int64_t>(bench->memory().size()) / kWidth / kChunksPerDocument *
         kChunksPerDocument;
}

// A filter keeps every `every_nth` document: the rest need not be read.
void ExactLine(int64_t num_rows, size_t every_nth, KernelBench* bench) {
  const int64_t num_chunks = NumChunks(bench);
  const std::string name = absl::StrFormat("score_chunks bf16 T=%d, 1/%d of %d chunks of 1024",
                                           num_rows, every_nth, num_chunks);
  if (!bench->Wanted(name)) return;
  Scoring scoring(&bench->pool(), bench->memory().data(), num_chunks,
                  bench->values().F32(static_cast<size_t>(num_rows * kWidth)));
  using kernels::NumberSet;
  const size_t num_documents = scoring.numbers.size();
  std::vector<uint64_t> words((num_documents / NumberSet::kNumbersPerBlock + 1) *
                              NumberSet::kWordsPerBlock);
  for (size_t i = 0; i < num_documents; i += every_nth) words[i / 64] |= uint64_t{1} << (i % 64);
  std::vector<const uint64_t*> blocks;
  for (size_t i = 0; i < words.size(); i += NumberSet::kWordsPerBlock) {
    blocks.push_back(words.data() + i);
  }
  const NumberSet filter{blocks};
  if (every_nth > 1) scoring.filters = {&filter};
  scoring.Run();
  kernels::naive::Doubles rows;
  for (const float value : scoring.query) rows.push_back(kernels::ToF32(kernels::ToBF16(value)));
  for (const kernels::ScoredDocument& document : scoring.top) {
    if (document.number % every_nth != 0) CheckValue("filtered out", 1, 0, 0);
    kernels::naive::Doubles keys;
    for (size_t i = 0; i < kChunksPerDocument * kWidth; ++i) {
      keys.push_back(
          kernels::ToF32(bench->memory()[document.number * kChunksPerDocument * kWidth + i]));
    }
    const kernels::naive::ScoreRule rule{kernels::HeadReduce::kMean,
                                         kernels::QueryReduce::kMax,
                                         kernels::ChunkReduce::kMax,
                                         16,
                                         8,
                                         128,
                                         1.0};
    CheckValue("ScoreChunks", document.score, kernels::naive::DocumentScore(rule, rows, keys),
               1e-4);
  }
  const double seconds = bench->BestSeconds([&] { scoring.Run(); });
  const double keys = static_cast<double>(num_chunks) / static_cast<double>(every_nth) * kWidth;
  bench->Report(name, seconds, keys * 2, 2.0 * static_cast<double>(num_rows) * keys,
                KernelBench::Bound::kBF16);
}

// The same with int8 keys beside, against the pass over exact keys in turn.
void FirstPassLine(int64_t num_rows, absl::FunctionRef<const std::byte*()> quantized_keys,
                   KernelBench* bench) {
  const int64_t num_chunks = NumChunks(bench);
  const std::string name =
      absl::StrFormat("score_chunks int8 first T=%d, %d chunks of 1024", num_rows, num_chunks);
  if (!bench->Wanted(name)) return;
  Scoring exact(&bench->pool(), bench->memory().data(), num_chunks,
                bench->values().F32(static_cast<size_t>(num_rows * kWidth)));
  Scoring scoring(&bench->pool(), bench->memory().data(), num_chunks, exact.query);
  scoring.extent.quantized_keys = quantized_keys();
  exact.Run();
  scoring.Run();
  const kernels::FirstPassStats stats = scoring.first_pass;
  if (scoring.top != exact.top) CheckValue("ScoreChunks", 0, 1, 0);
  double seconds = std::numeric_limits<double>::infinity();
  double exact_seconds = seconds;
  for (int i = 0; i < 4; ++i) {
    seconds = std::min(seconds, bench->BestSeconds([&] { scoring.Run(); }, 0.25));
    exact_seconds = std::min(exact_seconds, bench->BestSeconds([&] { exact.Run(); }, 0.25));
  }
  const double keys = static_cast<double>(num_chunks) * kWidth;
  // No limit of its own was measured for products of int8: the share is that of reading.
  bench->Report(name, seconds, static_cast<double>(kernels::QuantizedKeyBytes(num_chunks, kWidth)),
                2.0 * static_cast<double>(num_rows) * keys, KernelBench::Bound::kReading,
                {"the pass over exact keys", exact_seconds});
  bench->Note("rescored_documents", stats.rescored_documents);
  bench->Note("fallbacks", stats.fallbacks);
  std::printf("  %d of %d documents read exactly, %d fallbacks\n",
              static_cast<int>(stats.rescored_documents), static_cast<int>(exact.numbers.size()),
              static_cast<int>(stats.fallbacks));
}

}  // namespace

void BenchScoreFiles(const std::string& keys_file, const std::string& query_file,
                     KernelBench* bench) {
  const auto read = [](const std::string& path, auto* values) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    values->resize(file ? static_cast<size_t>(file.tellg()) / sizeof(values->front()) : 0);
    file.seekg(0).read(reinterpret_cast<char*>(values->data()),
                       static_cast<std::streamsize>(values->size() * sizeof(values->front())));
    if (!file || values->empty()) {
      Stop(path + " cannot be read");
    }
  };
  std::vector<kernels::BF16> file;
  std::vector<float> query;
  read(keys_file, &file);
  read(query_file, &query);
  const kernels::LargeArray memory = AllocateOrStop(file.size() * sizeof(kernels::BF16));
  auto* const key_values = reinterpret_cast<kernels::BF16*>(memory.get());
  std::copy(file.begin(), file.end(), key_values);
  const auto num_chunks = static_cast<int64_t>(file.size()) / kWidth;
  const auto num_rows = static_cast<double>(query.size()) / kWidth;
  Scoring scoring(&bench->pool(), key_values, num_chunks, std::move(query));
  const double seconds = bench->BestSeconds([&] { scoring.Run(); });
  const auto keys = static_cast<double>(num_chunks * kWidth);
  bench->Report(
      absl::StrFormat("score_chunks bf16 T=%.0f, %d chunks of 1024", num_rows, num_chunks), seconds,
      keys * 2, 2.0 * num_rows * keys, KernelBench::Bound::kBF16);
  std::printf("found");
  for (const kernels::ScoredDocument& document : scoring.top)
    std::printf(" %u:%.9g", document.number, document.score);
  std::printf("\n");
}

void BenchScoreChunks(KernelBench* bench) {
  kernels::LargeArray groups;
  const auto quantized = [&]() -> const std::byte* {  // not before a line wants them
    if (groups == nullptr) {
      const int64_t num_chunks = NumChunks(bench);
      groups = AllocateOrStop(static_cast<size_t>(kernels::QuantizedKeyBytes(num_chunks, kWidth)));
      kernels::QuantizeKeys(bench->memory().data(), DType::kBF16, kWidth, 0, num_chunks,
                            groups.get());
    }
    return groups.get();
  };
  for (const int64_t num_rows : {1, 8, 16, 48, 256}) {
    ExactLine(num_rows, 1, bench);
    FirstPassLine(num_rows, quantized, bench);
  }
  for (const size_t every_nth : {2, 10, 100}) ExactLine(16, every_nth, bench);
}

}  // namespace msa::bench
