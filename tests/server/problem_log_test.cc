#include "server/problem_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/core/refusal.h"

namespace msa::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Logged(const absl::Status& problem) {
  ::testing::internal::CaptureStderr();
  ProblemLog log;
  static_cast<engine::EngineObserver&>(log).ProblemFound("notes", problem);
  return ::testing::internal::GetCapturedStderr();
}

TEST(ProblemLog, NamesTheBankAndWhatIsDamaged) {
  const std::string line = Logged(kernels::Refusal(absl::StatusCode::kDataLoss, "a row is damaged",
                                                   "CATALOG_DAMAGED", "", {{"document_id", "d7"}}));
  EXPECT_THAT(line, AllOf(HasSubstr(" error "), HasSubstr("bank=notes"),
                          HasSubstr("code=DATA_LOSS"), HasSubstr("reason=CATALOG_DAMAGED"),
                          HasSubstr("\"a row is damaged\""), HasSubstr("document_id=d7")));
}

TEST(ProblemLog, AFullDiskIsAWarning) {
  EXPECT_THAT(Logged(absl::ResourceExhaustedError("disk full")), HasSubstr(" warning "));
}

}  // namespace
}  // namespace msa::server
