#include "kernels/core/cpu_features.h"

#include <array>
#include <atomic>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::kernels {
namespace {

constexpr std::array<std::string_view, 3> kLevelNames = {"avx2", "avx512", "avx512-bf16"};

// __builtin_cpu_supports also asks whether the operating system saves the registers.
CpuLevel DetectHighestLevel() {
  MSA_CHECK(HasLowestCpuLevel(), "this program needs a CPU with AVX2 and FMA");
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512bw")) {
    return CpuLevel::kAvx2;
  }
  return __builtin_cpu_supports("avx512bf16") ? CpuLevel::kAvx512Bf16 : CpuLevel::kAvx512;
}

CpuLevel HighestLevel() {
  static const CpuLevel level = DetectHighestLevel();
  return level;
}

// AMD's Zen 4 does twice as many bf16 products as f32 multiply-adds per second; Intel's Sapphire
// and Emerald Rapids do half as many (msa_kernel_bench: 105 and 217 GFLOPS per thread), so that
// widening bf16 in the registers is faster there.
CpuLevel FastestLevel() {
  if (HighestLevel() == CpuLevel::kAvx512Bf16 && !__builtin_cpu_is("amd")) return CpuLevel::kAvx512;
  return HighestLevel();
}

std::atomic<CpuLevel>& Active() {
  static std::atomic<CpuLevel> level{FastestLevel()};
  return level;
}

}  // namespace

bool HasLowestCpuLevel() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi2");
}

CpuLevel ActiveCpuLevel() { return Active().load(std::memory_order_relaxed); }

std::string_view InstructionSet() { return kLevelNames[static_cast<size_t>(ActiveCpuLevel())]; }

absl::Status LimitInstructionSet(std::string_view name) {
  std::string available;
  for (size_t i = 0; i <= static_cast<size_t>(HighestLevel()); ++i) {
    if (kLevelNames[i] == name) {
      Active().store(static_cast<CpuLevel>(i), std::memory_order_relaxed);
      return absl::OkStatus();
    }
    absl::StrAppend(&available, i == 0 ? "" : ", ", ToAbsl(kLevelNames[i]));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("instruction set \"", ToAbsl(name), "\": this machine has ", available));
}

}  // namespace msa::kernels
