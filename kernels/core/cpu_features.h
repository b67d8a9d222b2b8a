#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace msa::kernels {

// The levels that the kernels are compiled for; each contains the ones before it.
//   kAvx2        AVX2 and FMA: the least that a CPU must have
//   kAvx512      AVX-512 F, VL, DQ, BW
//   kAvx512Bf16  and vdpbf16ps, the product of bf16 pairs
//   kAmx         and tiles with tdpbf16ps, where the operating system lets this process use them
enum class CpuLevel { kAvx2, kAvx512, kAvx512Bf16, kAmx };

// The level in use: the fastest of this machine unless another was forced. That is the highest one,
// except that kAvx512Bf16 is left to CPUs whose bf16 products are faster than f32 multiply-adds
// (AMD). Thread-safe. A machine without AVX2 and FMA ends in a CHECK; ask CheckDeviceAvailable
// (kernels/core/device.h) at start-up to refuse it with a status.
CpuLevel ActiveCpuLevel();

// Whether this machine has AVX2 and FMA.
bool HasLowestCpuLevel();

// The instruction set that the kernels use on this machine: "avx2", "avx512", "avx512-bf16",
// "amx". Results are bitwise reproducible per instruction set, so segments record it. Chosen once;
// thread-safe.
std::string_view InstructionSet();

// Forces one of the levels that this machine has ("avx2", "avx512", "avx512-bf16", "amx"), for
// tests and for the flag --instruction-set. Call before the first op. INVALID_ARGUMENT names the
// levels this machine has if `name` is none of them.
absl::Status LimitInstructionSet(std::string_view name);

}  // namespace msa::kernels
