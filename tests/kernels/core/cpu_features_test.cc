#include "kernels/core/cpu_features.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace msa::kernels {
namespace {

using testing::HasSubstr;

TEST(CpuFeaturesTest, TheLevelInUseIsOneOfThisMachine) {
  const std::string fastest(InstructionSet());
  EXPECT_THAT(fastest, testing::AnyOf("avx2", "avx512", "avx512-bf16", "amx"));
  EXPECT_TRUE(LimitInstructionSet(fastest).ok());
  EXPECT_EQ(InstructionSet(), fastest);
}

TEST(CpuFeaturesTest, EveryMachineCanBeLimitedToAvx2) {
  const std::string fastest(InstructionSet());
  EXPECT_TRUE(LimitInstructionSet("avx2").ok());
  EXPECT_EQ(InstructionSet(), "avx2");
  EXPECT_EQ(ActiveCpuLevel(), CpuLevel::kAvx2);
  EXPECT_TRUE(LimitInstructionSet(fastest).ok());
}

TEST(CpuFeaturesTest, AnUnknownNameIsRefusedWithTheLevelsOfThisMachine) {
  const absl::Status status = LimitInstructionSet("sse9");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"sse9\": this machine has avx2"));
}

}  // namespace
}  // namespace msa::kernels
