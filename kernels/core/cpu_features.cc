#include "kernels/core/cpu_features.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::kernels {
namespace {

constexpr std::array<std::string_view, 4> kLevelNames = {"avx2", "avx512", "avx512-bf16", "amx"};

// Tiles and their bf16 products, which a process must ask the kernel for once; threads inherit it.
bool MayUseTiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kBf16Products = 1u << 22, kTiles = 1u << 24;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  if ((d & kBf16Products) == 0 || (d & kTiles) == 0) return false;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, Linux 5.16
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// __builtin_cpu_supports also asks whether the operating system saves the registers.
CpuLevel DetectHighestLevel() {
  MSA_CHECK(HasLowestCpuLevel(), "this program needs a CPU with AVX2 and FMA");
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512bw")) {
    return CpuLevel::kAvx2;
  }
  if (!__builtin_cpu_supports("avx512bf16")) return CpuLevel::kAvx512;
  return MayUseTiles() ? CpuLevel::kAmx : CpuLevel::kAvx512Bf16;
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
