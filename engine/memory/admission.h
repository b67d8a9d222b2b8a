#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "absl/status/status.h"

namespace msa::engine {

// A limit and what is reserved against it, in one unit. Thread-safe.
class Budget {
 public:
  // `what` and `unit` are for the refusal ("token budget of bank \"a\"", "tokens"), `reason` for
  // its detail. Limit 0: none.
  Budget(std::string what, std::string unit, std::string reason, int64_t limit);

  // All or nothing. RESOURCE_EXHAUSTED with limit, reserved and requested.
  absl::Status Reserve(int64_t amount);
  void ReserveAnyway(int64_t amount);  // for what is there already
  void Release(int64_t amount);
  void SetLimit(int64_t limit);
  int64_t reserved() const;
  // OK where `amount` could be reserved now; else as Reserve.
  absl::Status Check(int64_t amount) const;

 private:
  absl::Status CheckLocked(int64_t amount) const;

  const std::string what_;
  const std::string unit_;
  const std::string reason_;
  mutable std::mutex mutex_;
  int64_t limit_;
  int64_t reserved_ = 0;
};

// What a bank's documents take, known exactly from their tokens before they are encoded: tokens of
// the bank, and router keys in memory, which all banks share. Gives back its share of the latter
// when it goes. The budgets outlive it.
class Admission {
 public:
  Admission(Budget* tokens, Budget* router_key_bytes)
      : tokens_(tokens), router_key_bytes_(router_key_bytes) {}
  ~Admission();
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  absl::Status Reserve(int64_t num_tokens, int64_t key_bytes);
  void ReserveAnyway(int64_t num_tokens, int64_t key_bytes);
  void Release(int64_t num_tokens, int64_t key_bytes);
  void SetTokenBudget(int64_t num_tokens) { tokens_->SetLimit(num_tokens); }
  int64_t reserved_tokens() const { return tokens_->reserved(); }

 private:
  Budget* const tokens_;
  Budget* const router_key_bytes_;
  int64_t own_key_bytes_ = 0;  // by one thread at a time
};

}  // namespace msa::engine
