#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/core/dtype.h"
#include "kernels/core/large_array.h"
#include "kernels/core/thread_pool.h"
#include "nlohmann/json.hpp"
#include "tests/bench/bench_output.h"
#include "tests/bench/machine_limits.h"

// What the lines of msa_kernel_bench share. One thread; the kernels use the pool.
namespace msa::bench {

struct KernelBenchOptions {
  int threads = 1;
  int buffer_mib = 512;  // weights and keys rotate through this much, so that caches do not help
  double seconds = 0.3;  // per line
  bool processor_time = false;
  std::string only;  // lines whose names contain it
  std::string keys_file, query_file;
  std::string json;
  std::string instruction_set;  // empty: the fastest
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
  void Fill(absl::Span<kernels::BF16> values) {
    for (kernels::BF16& value : values) value = kernels::ToBF16(Next());
  }

 private:
  uint64_t state_ = 1;
};

// Ends the program where there is no memory.
kernels::LargeArray AllocateOrStop(size_t num_bytes);

// Ends the program: a wrong kernel is not timed.
void CheckValue(const char* kernel, double actual, double expected, double tolerance);

// Who did the same in the same run; 0 seconds: nobody.
struct KernelPeer {
  const char* name = "";
  double seconds = 0;
};

class KernelBench {
 public:
  // Measures the machine's limits and prints them.
  explicit KernelBench(const KernelBenchOptions& options);

  kernels::ThreadPool& pool() { return pool_; }
  Values& values() { return values_; }
  // Random bf16 values, options.buffer_mib of them, in memory as weights and routing keys have it:
  // aligned to 64 bytes, on huge pages. The read rate was measured over it.
  absl::Span<const kernels::BF16> memory() const { return memory_; }

  bool Wanted(const std::string& name) const {
    return name.find(options_.only) != std::string::npos;
  }
  // The best of several runs, for `share` of the time of a line.
  double BestSeconds(absl::FunctionRef<void()> run, double share = 1) const;

  // The multiply-adds that bound a kernel; kReading: only what it reads does.
  enum class Bound { kF32, kBF16, kReading };
  void Report(const std::string& name, double seconds, double bytes, double operations, Bound bound,
              const KernelPeer& peer = {});
  // Another figure of the line that was reported last.
  void Note(const char* key, int64_t value) { results_.back()[key] = value; }
  nlohmann::ordered_json Results() const;

 private:
  KernelBenchOptions options_;
  Clock clock_;
  kernels::ThreadPool pool_;
  Values values_;
  kernels::LargeArray owned_memory_;
  absl::Span<kernels::BF16> memory_;
  MachineLimits limits_;
  nlohmann::ordered_json results_ = nlohmann::ordered_json::array();
};

void BenchMatMul(KernelBench* bench);
void BenchScoreChunks(KernelBench* bench);
// Keys [C, 1024] as bf16 and query rows [T, 1024] as f32, of two files; prints what was found as
// well. faiss_peer.py compares both with its own.
void BenchScoreFiles(const std::string& keys_file, const std::string& query_file,
                     KernelBench* bench);
void BenchAttend(KernelBench* bench);

}  // namespace msa::bench
