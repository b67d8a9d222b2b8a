#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// The only two macros that hide control flow.
#define MSA_RETURN_IF_ERROR(expression)                                              \
  do {                                                                               \
    if (absl::Status msa_status = (expression); !msa_status.ok()) return msa_status; \
  } while (false)

#define MSA_CONCAT_INNER(a, b) a##b
#define MSA_CONCAT(a, b) MSA_CONCAT_INNER(a, b)
#define MSA_ASSIGN_OR_RETURN_IMPL(result, target, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) return std::move(result).status();        \
  target = *std::move(result)
#define MSA_ASSIGN_OR_RETURN(target, expression) \
  MSA_ASSIGN_OR_RETURN_IMPL(MSA_CONCAT(msa_result_, __LINE__), target, expression)
