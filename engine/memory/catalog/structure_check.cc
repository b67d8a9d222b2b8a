#include "engine/memory/catalog/structure_check.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

// What is left when every page is where it belongs. To build an index anew frees its pages, which
// must be nobody else's.
bool ConcernsIndexesAlone(const std::string& problem) {
  return (absl::StartsWith(problem, "row ") && absl::StrContains(problem, "index")) ||
         absl::StartsWith(problem, "wrong # of entries in index");
}

absl::Status Damaged(const std::string& problem) {
  return kernels::Refusal(absl::StatusCode::kDataLoss,
                          absl::StrCat("the database is damaged: ", problem), "CATALOG_DAMAGED");
}

}  // namespace

absl::StatusOr<std::vector<std::string>> FindStructureProblems(SqliteConnection* connection) {
  MSA_ASSIGN_OR_RETURN(SqliteStatement statement, connection->Prepare("PRAGMA integrity_check"));
  std::vector<std::string> problems;
  while (true) {
    MSA_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row) return problems;
    std::string problem = statement.Text(0);
    if (problem != "ok") problems.push_back(std::move(problem));
  }
}

absl::Status RepairStructure(const std::vector<std::string>& problems,
                             SqliteConnection* connection) {
  if (problems.empty()) return absl::OkStatus();
  if (!std::all_of(problems.begin(), problems.end(), ConcernsIndexesAlone)) {
    return Damaged(problems.front());
  }
  MSA_RETURN_IF_ERROR(connection->Execute("REINDEX"));
  MSA_ASSIGN_OR_RETURN(const auto left, FindStructureProblems(connection));
  return left.empty() ? absl::OkStatus() : Damaged(left.front());
}

}  // namespace msa::engine
