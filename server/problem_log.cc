#include "server/problem_log.h"

#include <vector>

#include "kernels/core/error_detail.h"
#include "server/log.h"

namespace msa::server {

void ProblemLog::ProblemFound(const std::string& bank, const absl::Status& problem) {
  const kernels::ErrorDetail detail = kernels::DetailOf(problem);
  std::vector<LogField> fields = {{"bank", bank},
                                  {"code", absl::StatusCodeToString(problem.code())},
                                  {"reason", detail.reason},
                                  {"problem", std::string(problem.message())}};
  for (const auto& [key, value] : detail.metadata) fields.push_back({key, value});
  Log(absl::IsResourceExhausted(problem) ? LogLevel::kWarning : LogLevel::kError,
      "problem of a bank", fields);
}

}  // namespace msa::server
