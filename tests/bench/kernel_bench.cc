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

#include "tests/bench/kernel_bench.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <thread>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "kernels/core/cpu_features.h"

namespace msa::bench {

kernels::LargeArray AllocateOrStop(size_t num_bytes) {
  kernels::LargeArray memory = kernels::AllocateLargeArray(num_bytes);
  if (memory == nullptr) Stop(absl::StrCat("no memory for ", num_bytes, " bytes"));
  return memory;
}

void CheckValue(const char* kernel, double actual, double expected, double tolerance) {
  if (std::abs(actual - expected) <= tolerance) return;
  std::fprintf(stderr, "%s: %.9g differs from the naive twin's %.9g; not timed\n", kernel, actual,
               expected);
  std::exit(1);
}

KernelBench::KernelBench(const KernelBenchOptions& options)
    : options_(options),
      clock_{options.processor_time, options.threads},
      pool_(options.threads),
      owned_memory_(AllocateOrStop(static_cast<size_t>(options.buffer_mib) << 20)),
      memory_(reinterpret_cast<kernels::BF16*>(owned_memory_.get()),
              static_cast<size_t>(options.buffer_mib) << 19) {
  values_.Fill(memory_);
  limits_ = MeasureLimits(pool_, clock_, memory_.data(), memory_.size() * sizeof(kernels::BF16));
  std::printf("instruction set %s, %d threads: read %.1f GB/s, f32 %.0f GFLOPS, bf16 %.0f GFLOPS\n",
              std::string(kernels::InstructionSet()).c_str(), options.threads,
              limits_.read_bytes_per_second * 1e-9, limits_.f32_operations_per_second * 1e-9,
              limits_.bf16_operations_per_second * 1e-9);
  std::printf("%-52s %10s %9s %9s %7s\n", "kernel", "time", "GB/s", "GFLOPS", "share");
}

double KernelBench::BestSeconds(absl::FunctionRef<void()> run, double share) const {
  double best = std::numeric_limits<double>::infinity();
  const double end = clock_.Now() + share * options_.seconds;
  for (int runs = 0; runs < 3 || clock_.Now() < end; ++runs) {
    const double start = clock_.Now();
    run();
    best = std::min(best, clock_.Now() - start);
  }
  return best;
}

void KernelBench::Report(const std::string& name, double seconds, double bytes, double operations,
                         Bound bound, const KernelPeer& peer) {
  double least = bytes / limits_.read_bytes_per_second;
  if (bound != Bound::kReading) {
    least =
        std::max(least, operations / (bound == Bound::kBF16 ? limits_.bf16_operations_per_second
                                                            : limits_.f32_operations_per_second));
  }
  std::printf("%-52s %7.3f ms %9.1f %9.0f %6.0f%%", name.c_str(), seconds * 1e3,
              bytes / seconds * 1e-9, operations / seconds * 1e-9, 100 * least / seconds);
  if (peer.seconds > 0) std::printf("  %.2f x %s", peer.seconds / seconds, peer.name);
  std::printf("\n");
  results_.push_back({{"name", name},
                      {"seconds", seconds},
                      {"bytes_per_second", bytes / seconds},
                      {"operations_per_second", operations / seconds},
                      {"share", least / seconds}});
  if (peer.seconds > 0) {
    results_.back()["peer"] = {{"name", peer.name}, {"seconds", peer.seconds}};
  }
  std::fflush(stdout);
}

nlohmann::ordered_json KernelBench::Results() const {
  return {{"instruction_set", kernels::InstructionSet()},
          {"threads", options_.threads},
          {"read_bytes_per_second", limits_.read_bytes_per_second},
          {"f32_operations_per_second", limits_.f32_operations_per_second},
          {"bf16_operations_per_second", limits_.bf16_operations_per_second},
          {"kernels", results_}};
}

namespace {

// oneDNN and its OpenMP read these when a program starts: our threads and instruction set, and no
// threads that spin for work and take the cores from ours.
void StartAgainWithPeerSettings(const KernelBenchOptions& options, char** argv) {
  constexpr char kStartedAgain[] = "MSA_KERNEL_BENCH_STARTED_AGAIN";
  if (::getenv(kStartedAgain) != nullptr) return;
  ::setenv(kStartedAgain, "1", 1);
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  ::setenv("OMP_NUM_THREADS", absl::StrCat(options.threads).c_str(), 1);
  if (options.instruction_set == "avx2") ::setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1);
  if (options.instruction_set == "avx512") ::setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE", 1);
  if (options.instruction_set == "avx512-bf16")
    ::setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", 1);
  ::execv("/proc/self/exe", argv);
}

void Run(const KernelBenchOptions& options) {
  if (!options.instruction_set.empty()) {
    CheckOk(kernels::LimitInstructionSet(options.instruction_set));
  }
  KernelBench bench(options);
  if (!options.keys_file.empty()) {
    BenchScoreFiles(options.keys_file, options.query_file, &bench);
  } else {
    BenchMatMul(&bench);
    BenchScoreChunks(&bench);
    BenchAttend(&bench);
  }
  WriteJson(options.json, bench.Results());
}

}  // namespace
}  // namespace msa::bench

int main(int argc, char** argv) {
  msa::bench::KernelBenchOptions options;
  options.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::string clock = "wall";
  CLI::App app("Kernels against this machine's own limits.");
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 1 << 20));
  app.add_option("--instruction-set", options.instruction_set);
  app.add_option("--buffer-mib", options.buffer_mib)->check(CLI::Range(64, 1 << 20));
  app.add_option("--seconds", options.seconds, "per line")->check(CLI::PositiveNumber);
  app.add_option("--clock", clock)->check(CLI::IsMember({"wall", "processor"}));
  app.add_option("--only", options.only, "the lines whose names contain it");
  app.add_option("--json", options.json, "results go there as well");
  CLI::Option* const query = app.add_option("--query", options.query_file);
  app.add_option("--keys", options.keys_file)->needs(query);
  CLI11_PARSE(app, argc, argv);
  options.processor_time = clock == "processor";
  msa::bench::StartAgainWithPeerSettings(options, argv);
  msa::bench::Run(options);
  return 0;
}
