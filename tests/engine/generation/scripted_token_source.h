#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/generation/token_source.h"

namespace msa::engine {

// Puts tokens into the model's mouth: gives a script's tokens one by one, whatever the logits say.
// OutOfRange after the last one, FailedPrecondition for a token that is not allowed at its place.
class ScriptedTokenSource final : public TokenSource {
 public:
  explicit ScriptedTokenSource(std::vector<int32_t> script) : script_(std::move(script)) {}

  bool is_at_end() const { return next_ == script_.size(); }

  absl::StatusOr<int32_t> Choose(const kernels::OpContext& /*context*/,
                                 absl::Span<const float> /*logits*/,
                                 absl::Span<const int32_t> allowed) override {
    if (is_at_end()) return absl::OutOfRangeError("the script has no more tokens");
    const int32_t token_id = script_[next_];
    if (!allowed.empty() && !std::binary_search(allowed.begin(), allowed.end(), token_id)) {
      return absl::FailedPreconditionError(
          absl::StrCat("token ", token_id, " at place ", next_, " is not allowed"));
    }
    ++next_;
    return token_id;
  }

 private:
  const std::vector<int32_t> script_;
  size_t next_ = 0;
};

}  // namespace msa::engine
