// Measures matmul, score_chunks and attend against this machine's own limits, taken in the same
// run:
//   share = max(bytes / read rate, operations / multiply-add rate) / time
// A kernel is timed only after its result has been checked against a naive twin. The best of
// several runs counts. Where oneDNN was found when this was built, products are compared with its.
//   msa_kernel_bench [--threads N] [--instruction-set NAME] [--buffer-mib N] [--seconds S]
//                    [--clock wall|processor] [--only TEXT] [--json FILE]
//                    [--keys FILE --query FILE]
// --clock processor counts the process's processor time per thread instead of the time on the wall:
// for one thread on a machine that others use as well. --only: the lines whose names contain TEXT.
// --keys, --query: score_chunks alone, over the numbers in two files (faiss_peer.py).

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/core/aligned_buffer.h"
#include "kernels/core/cpu_features.h"
#include "kernels/ops/attend.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/quantized_keys.h"
#include "kernels/ops/score_chunks.h"
#include "nlohmann/json.hpp"
#include "tests/bench/machine_limits.h"
#include "tests/bench/onednn_peer.h"
#include "tests/kernels/ops/naive_ops.h"

namespace msa::bench {
namespace {

using kernels::ComputeDType;
using kernels::DType;

struct Settings {
  int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  size_t buffer_bytes =
      size_t{512} << 20;  // weights and keys rotate through this much, so that caches do not help
  double seconds = 0.3;   // per line
  bool processor_time = false;
  std::string only;  // lines whose names contain it
  std::string keys_file, query_file;
  std::string json;  // results go there as well
  std::string instruction_set;
};

// Cheap values around 0, reproducible: the top bits of a linear congruential sequence.
class Values {
 public:
  float Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<float>(static_cast<int32_t>(state_ >> 32)) * 0x1p-31f;
  }
  std::vector<float> F32(size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = Next();
    return values;
  }
  std::vector<kernels::BF16> BF16(size_t count) {
    std::vector<kernels::BF16> values(count);
    for (kernels::BF16& value : values) value = kernels::ToBF16(Next());
    return values;
  }

 private:
  uint64_t state_ = 1;
};

void CheckOk(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}

// Ends the program: a wrong kernel is not timed.
void CheckValue(const char* kernel, double actual, double expected, double tolerance) {
  if (std::abs(actual - expected) <= tolerance) return;
  std::fprintf(stderr, "%s: %.9g differs from the naive twin's %.9g; not timed\n", kernel, actual,
               expected);
  std::exit(1);
}

double BestSeconds(const Clock& clock, double budget, absl::FunctionRef<void()> run) {
  double best = std::numeric_limits<double>::infinity();
  const double end = clock.Now() + budget;
  for (int runs = 0; runs < 3 || clock.Now() < end; ++runs) {
    const double start = clock.Now();
    run();
    best = std::min(best, clock.Now() - start);
  }
  return best;
}

class Bench {
 public:
  explicit Bench(const Settings& settings)
      : settings_(settings),
        clock_{settings.processor_time, settings.threads},
        pool_(settings.threads),
        memory_(values_.BF16(settings.buffer_bytes / 2)) {
    limits_ = MeasureLimits(pool_, clock_, settings.buffer_bytes);
    std::printf(
        "instruction set %s, %d threads: read %.1f GB/s, f32 %.0f GFLOPS, bf16 %.0f GFLOPS\n",
        std::string(kernels::InstructionSet()).c_str(), settings.threads,
        limits_.read_bytes_per_second * 1e-9, limits_.f32_operations_per_second * 1e-9,
        limits_.bf16_operations_per_second * 1e-9);
    std::printf("%-52s %10s %9s %9s %7s\n", "kernel", "time", "GB/s", "GFLOPS", "share");
  }

  void MatMul(int64_t m, int64_t n, int64_t k, ComputeDType compute);
  // A filter keeps every `every_nth` document: the rest need not be read.
  void ScoreChunks(int64_t num_rows, int64_t num_chunks, size_t every_nth);
  // The same with quantised keys beside, against the pass over exact keys in turn.
  void ScoreWithFirstPass(int64_t num_rows, int64_t num_chunks);
  void ScoreFiles(const std::string& keys_file, const std::string& query_file);
  void Attend(int64_t num_rows, int64_t num_keys, DType dtype);
  // Everything that was reported, as JSON.
  void Write(const std::string& path) const {
    const nlohmann::ordered_json all = {
        {"instruction_set", kernels::InstructionSet()},
        {"threads", settings_.threads},
        {"read_bytes_per_second", limits_.read_bytes_per_second},
        {"f32_operations_per_second", limits_.f32_operations_per_second},
        {"bf16_operations_per_second", limits_.bf16_operations_per_second},
        {"kernels", results_}};
    if (!(std::ofstream(path) << all.dump(1) << "\n").flush()) {
      std::fprintf(stderr, "%s cannot be written\n", path.c_str());
      std::exit(1);
    }
  }

 private:
  bool Wanted(const std::string& name) const {
    return name.find(settings_.only) != std::string::npos;
  }
  // `peer`: what the peer of the same run took, and its name; empty where there is none.
  void Report(const std::string& name, double seconds, double bytes, double operations, bool bf16,
              double peer_seconds = 0, const char* peer = "") {
    const double rate =
        bf16 ? limits_.bf16_operations_per_second : limits_.f32_operations_per_second;
    const double bound = std::max(bytes / limits_.read_bytes_per_second, operations / rate);
    std::printf("%-52s %7.3f ms %9.1f %9.0f %6.0f%%", name.c_str(), seconds * 1e3,
                bytes / seconds * 1e-9, operations / seconds * 1e-9, 100 * bound / seconds);
    if (peer_seconds > 0) std::printf("  %.2f x %s", peer_seconds / seconds, peer);
    std::printf("\n");
    results_.push_back({{"name", name},
                        {"seconds", seconds},
                        {"bytes_per_second", bytes / seconds},
                        {"operations_per_second", operations / seconds},
                        {"share", bound / seconds}});
    if (peer_seconds > 0) results_.back()["peer"] = {{"name", peer}, {"seconds", peer_seconds}};
    std::fflush(stdout);
  }

  Settings settings_;
  Clock clock_;
  kernels::ThreadPool pool_;
  Values values_;
  std::vector<kernels::BF16> memory_;
  kernels::AlignedBuffer quantized_;
  int64_t quantized_chunks_ = 0;
  MachineLimits limits_;
  nlohmann::ordered_json results_ = nlohmann::ordered_json::array();
};

void Bench::MatMul(int64_t m, int64_t n, int64_t k, ComputeDType compute) {
  const bool bf16 = compute == ComputeDType::kBF16;
  const std::string name =
      absl::StrFormat("matmul %s M=%d N=%d K=%d", bf16 ? "bf16" : "f32 x bf16", m, n, k);
  if (!Wanted(name)) return;
  const std::vector<float> input = values_.F32(static_cast<size_t>(m * k));
  std::vector<float> output(static_cast<size_t>(m * n));
  const auto weight_size = static_cast<size_t>(n * k);
  if (weight_size > memory_.size()) {
    std::printf("%-52s needs --buffer-mib %d\n", name.c_str(),
                static_cast<int>((weight_size * 2 >> 20) + 1));
    return;
  }
  size_t copy = 0;
  const auto run = [&] {
    // Another part of the buffer each time: a layer's weights are cold when its turn comes.
    const size_t num_copies = std::max<size_t>(1, memory_.size() / weight_size);
    const kernels::BF16* const weight = memory_.data() + copy++ % num_copies * weight_size;
    CheckOk(kernels::MatMul({kernels::DeviceKind::kCpu, &pool_},
                            {.input = {input.data(), {m, k}},
                             .weight = {weight, DType::kBF16, n, k},
                             .output = {output.data(), {m, n}},
                             .compute = compute}));
  };
  run();
  for (int64_t i = 0; i < 200; ++i) {
    const int64_t row = i * 7919 % m;
    const int64_t column = i * 104729 % n;
    double expected = 0;
    for (int64_t j = 0; j < k; ++j) {
      const float x = input[static_cast<size_t>(row * k + j)];
      const double w = kernels::ToF32(memory_[static_cast<size_t>(column * k + j)]);
      expected += w * (bf16 ? kernels::ToF32(kernels::ToBF16(x)) : x);
    }
    CheckValue("MatMul", output[static_cast<size_t>(row * n + column)], expected, 1e-4);
  }
  const std::vector<float> first_output = output;
  const double seconds = BestSeconds(clock_, settings_.seconds, run);
  // With f32 inputs the peer's weights are f32 as well: it has no product of the two.
  double peer_seconds = 0;
  constexpr size_t kPeerBytes = size_t{256} << 20;
  const auto peer = OneDnnMatMul::Create(
      m, n, k, bf16, input, memory_.data(),
      std::max<size_t>(1, std::min(memory_.size(), kPeerBytes / 4) / weight_size));
  if (peer != nullptr) {
    peer->Run();
    for (size_t i = 0; i < 100; ++i) {
      const size_t at = i * 104729 % output.size();
      CheckValue("oneDNN", peer->output()[at], first_output[at], 0.05);
    }
    peer_seconds = BestSeconds(clock_, settings_.seconds, [&] { peer->Run(); });
  }
  Report(name, seconds, static_cast<double>(weight_size) * 2,
         2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k), bf16,
         peer_seconds, bf16 ? "oneDNN bf16" : "oneDNN f32");
}

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

void Bench::ScoreChunks(int64_t num_rows, int64_t num_chunks, size_t every_nth) {
  num_chunks = std::min(num_chunks, static_cast<int64_t>(memory_.size()) / kWidth) /
               kChunksPerDocument * kChunksPerDocument;
  const std::string name = absl::StrFormat("score_chunks bf16 T=%d, 1/%d of %d chunks of 1024",
                                           num_rows, every_nth, num_chunks);
  if (!Wanted(name)) return;
  Scoring scoring(&pool_, memory_.data(), num_chunks,
                  values_.F32(static_cast<size_t>(num_rows * kWidth)));
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
      keys.push_back(kernels::ToF32(memory_[document.number * kChunksPerDocument * kWidth + i]));
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
  const double seconds = BestSeconds(clock_, settings_.seconds, [&] { scoring.Run(); });
  const double keys = static_cast<double>(num_chunks) / static_cast<double>(every_nth) * kWidth;
  Report(name, seconds, keys * 2, 2.0 * static_cast<double>(num_rows) * keys, true);
}

void Bench::ScoreWithFirstPass(int64_t num_rows, int64_t num_chunks) {
  num_chunks = std::min(num_chunks, static_cast<int64_t>(memory_.size()) / kWidth) /
               kChunksPerDocument * kChunksPerDocument;
  const std::string name =
      absl::StrFormat("score_chunks int8 first T=%d, %d chunks of 1024", num_rows, num_chunks);
  if (!Wanted(name)) return;
  const auto num_bytes = static_cast<size_t>(kernels::QuantizedKeyBytes(num_chunks, kWidth));
  if (quantized_chunks_ < num_chunks) {
    quantized_chunks_ = num_chunks;
    kernels::QuantizeKeys(memory_.data(), DType::kBF16, kWidth, 0, num_chunks,
                          quantized_.Get<std::byte>(num_bytes));
  }
  Scoring exact(&pool_, memory_.data(), num_chunks,
                values_.F32(static_cast<size_t>(num_rows * kWidth)));
  Scoring scoring(&pool_, memory_.data(), num_chunks, exact.query);
  scoring.extent.quantized_keys = quantized_.Get<std::byte>(num_bytes);
  exact.Run();
  scoring.Run();
  const kernels::FirstPassStats stats = scoring.first_pass;
  if (scoring.top != exact.top) CheckValue("ScoreChunks", 0, 1, 0);
  double seconds = std::numeric_limits<double>::infinity();
  double exact_seconds = seconds;
  for (int i = 0; i < 4; ++i) {
    seconds = std::min(seconds, BestSeconds(clock_, settings_.seconds / 4, [&] { scoring.Run(); }));
    exact_seconds =
        std::min(exact_seconds, BestSeconds(clock_, settings_.seconds / 4, [&] { exact.Run(); }));
  }
  const double keys = static_cast<double>(num_chunks) * kWidth;
  Report(name, seconds, static_cast<double>(num_bytes), 2.0 * static_cast<double>(num_rows) * keys,
         true, exact_seconds, "the pass over exact keys");
  results_.back()["rescored_documents"] = stats.rescored_documents;
  results_.back()["fallbacks"] = stats.fallbacks;
  std::printf("  %d of %d documents read exactly, %d fallbacks\n",
              static_cast<int>(stats.rescored_documents), static_cast<int>(exact.numbers.size()),
              static_cast<int>(stats.fallbacks));
}

// Keys [C, kWidth] as bf16 and query rows [T, kWidth] as f32, of two files; prints what was found
// as well. faiss_peer.py compares both with its own.
void Bench::ScoreFiles(const std::string& keys_file, const std::string& query_file) {
  const auto read = [](const std::string& path, auto* values) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    values->resize(file ? static_cast<size_t>(file.tellg()) / sizeof(values->front()) : 0);
    file.seekg(0).read(reinterpret_cast<char*>(values->data()),
                       static_cast<std::streamsize>(values->size() * sizeof(values->front())));
    if (!file || values->empty()) {
      std::fprintf(stderr, "%s cannot be read\n", path.c_str());
      std::exit(1);
    }
  };
  std::vector<float> query;
  read(keys_file, &memory_);
  read(query_file, &query);
  const auto num_chunks = static_cast<int64_t>(memory_.size()) / kWidth;
  const auto num_rows = static_cast<double>(query.size()) / kWidth;
  Scoring scoring(&pool_, memory_.data(), num_chunks, std::move(query));
  const double seconds = BestSeconds(clock_, settings_.seconds, [&] { scoring.Run(); });
  const auto keys = static_cast<double>(num_chunks * kWidth);
  Report(absl::StrFormat("score_chunks bf16 T=%.0f, %d chunks of 1024", num_rows, num_chunks),
         seconds, keys * 2, 2.0 * num_rows * keys, true);
  std::printf("found");
  for (const kernels::ScoredDocument& document : scoring.top)
    std::printf(" %u:%.9g", document.number, document.score);
  std::printf("\n");
}

void Bench::Attend(int64_t num_rows, int64_t num_keys, DType dtype) {
  constexpr int64_t kHeads = 16;
  constexpr int64_t kKvHeads = 8;
  constexpr int64_t kHeadDim = 128;
  const std::string name =
      absl::StrFormat("attend %s T=%d, %d keys, 16 x 128 heads, 8 KV",
                      dtype == DType::kF32 ? "f32" : "bf16", num_rows, num_keys);
  if (!Wanted(name)) return;
  const kernels::KvPageShape shape{kKvHeads, 64, kHeadDim, dtype};
  const auto num_pages = static_cast<size_t>(num_keys / shape.rows_per_page);
  const auto page_bytes = static_cast<size_t>(shape.bytes());
  std::vector<float> f32_pages;
  if (dtype == DType::kF32) f32_pages = values_.F32(num_pages * page_bytes / 4);
  const auto* const pages = dtype == DType::kF32
                                ? reinterpret_cast<const std::byte*>(f32_pages.data())
                                : reinterpret_cast<const std::byte*>(memory_.data());
  std::vector<kernels::KvSpan> spans;
  for (size_t i = 0; i < num_pages; ++i) spans.push_back({pages + i * page_bytes, 64});
  std::vector<int32_t> visible;
  for (int64_t t = 0; t < num_rows; ++t)
    visible.push_back(static_cast<int32_t>(num_keys - num_rows + t + 1));
  const kernels::AttendGroup group{0, num_rows, {}, spans, visible};
  const std::vector<float> query = values_.F32(static_cast<size_t>(num_rows * kHeads * kHeadDim));
  std::vector<float> output(query.size());
  const float scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
  const auto run = [&] {
    CheckOk(kernels::Attend({kernels::DeviceKind::kCpu, &pool_},
                            {.query = {query.data(), {num_rows, kHeads, kHeadDim}},
                             .shape = shape,
                             .groups = {&group, 1},
                             .scale = scale,
                             .output = {output.data(), {num_rows, kHeads, kHeadDim}}}));
  };
  run();
  const auto at = [&](size_t index) {
    return dtype == DType::kF32 ? f32_pages[index] : kernels::ToF32(memory_[index]);
  };
  for (const int64_t head : {0, 7, 15}) {  // of the last row
    std::vector<kernels::naive::Doubles> keys;
    std::vector<kernels::naive::Doubles> values;
    for (int64_t row = 0; row < num_keys; ++row) {
      const int64_t page = row / 64 * 2 * kKvHeads;
      const auto key = static_cast<size_t>(((page + head / 2) * 64 + row % 64) * kHeadDim);
      const auto value =
          static_cast<size_t>(((page + kKvHeads + head / 2) * 64 + row % 64) * kHeadDim);
      keys.emplace_back();
      values.emplace_back();
      for (size_t d = 0; d < kHeadDim; ++d) {
        keys.back().push_back(at(key + d));
        values.back().push_back(at(value + d));
      }
    }
    const auto first = static_cast<int64_t>(((num_rows - 1) * kHeads + head) * kHeadDim);
    const kernels::naive::Doubles row(query.begin() + first, query.begin() + first + kHeadDim);
    const kernels::naive::Doubles expected = kernels::naive::AttendRow(row, keys, values, scale);
    for (size_t d = 0; d < expected.size(); ++d)
      CheckValue("Attend", output[static_cast<size_t>(first) + d], expected[d], 1e-5);
  }
  const double seconds = BestSeconds(clock_, settings_.seconds, run);
  const double seen = std::accumulate(visible.begin(), visible.end(), 0.0);
  Report(name, seconds, static_cast<double>(num_pages * page_bytes), 4.0 * seen * kHeads * kHeadDim,
         false);
}

// oneDNN and its OpenMP read these when a program starts: our threads and instruction set, and no
// threads that spin for work and take the cores from ours.
void StartAgainWithPeerSettings(const Settings& settings, char** argv) {
  constexpr char kStartedAgain[] = "MSA_KERNEL_BENCH_STARTED_AGAIN";
  if (::getenv(kStartedAgain) != nullptr) return;
  ::setenv(kStartedAgain, "1", 1);
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  ::setenv("OMP_NUM_THREADS", absl::StrCat(settings.threads).c_str(), 1);
  if (settings.instruction_set == "avx2") ::setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1);
  if (settings.instruction_set == "avx512") ::setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE", 1);
  ::execv("/proc/self/exe", argv);
}

int Main(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--threads") settings.threads = std::max(1, std::atoi(argv[i + 1]));
    if (flag == "--buffer-mib")
      settings.buffer_bytes = static_cast<size_t>(std::max(64, std::atoi(argv[i + 1]))) << 20;
    if (flag == "--seconds") settings.seconds = std::atof(argv[i + 1]);
    if (flag == "--clock") settings.processor_time = std::string_view(argv[i + 1]) == "processor";
    if (flag == "--keys") settings.keys_file = argv[i + 1];
    if (flag == "--query") settings.query_file = argv[i + 1];
    if (flag == "--json") settings.json = argv[i + 1];
    if (flag == "--only") settings.only = argv[i + 1];
    if (flag == "--instruction-set") settings.instruction_set = argv[i + 1];
  }
  StartAgainWithPeerSettings(settings, argv);
  if (!settings.instruction_set.empty())
    CheckOk(kernels::LimitInstructionSet(settings.instruction_set));
  Bench bench(settings);
  if (!settings.keys_file.empty()) {
    bench.ScoreFiles(settings.keys_file, settings.query_file);
    return 0;
  }
  constexpr int64_t kShapes[][2] = {
      {1024, 1024}, {2048, 1024}, {3072, 1024}, {1024, 2048}, {1024, 3072}};  // N, K
  for (const ComputeDType compute : {ComputeDType::kBF16, ComputeDType::kF32}) {
    for (const int64_t m : {1, 16, 512}) {
      for (const auto& [n, k] : kShapes) bench.MatMul(m, n, k, compute);
    }
  }
  bench.MatMul(1, 151936, 1024, ComputeDType::kBF16);
  const auto all_chunks = static_cast<int64_t>(settings.buffer_bytes) / 2048;
  for (const int64_t num_rows : {1, 8, 16, 48, 256}) {
    bench.ScoreChunks(num_rows, all_chunks, 1);
    bench.ScoreWithFirstPass(num_rows, all_chunks);
  }
  for (const size_t every_nth : {2, 10, 100}) bench.ScoreChunks(16, all_chunks, every_nth);
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    bench.Attend(1, 4096, dtype);
    bench.Attend(256, 1024, dtype);
  }
  if (!settings.json.empty()) bench.Write(settings.json);
  return 0;
}

}  // namespace
}  // namespace msa::bench

int main(int argc, char** argv) { return msa::bench::Main(argc, argv); }
