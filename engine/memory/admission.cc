#include "engine/memory/admission.h"

#include "absl/strings/str_cat.h"
#include "kernels/core/check.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {

Budget::Budget(std::string what, std::string unit, std::string reason, int64_t limit)
    : what_(std::move(what)), unit_(std::move(unit)), reason_(std::move(reason)), limit_(limit) {}

absl::Status Budget::CheckLocked(int64_t amount) const {
  if (limit_ == 0 || amount <= limit_ - reserved_) return absl::OkStatus();
  return kernels::Refusal(absl::StatusCode::kResourceExhausted,
                          absl::StrCat("the ", what_, " is ", limit_, " ", unit_, ", ", reserved_,
                                       " are reserved, ", amount, " more are needed"),
                          reason_, "",
                          {{"limit", absl::StrCat(limit_)},
                           {"reserved", absl::StrCat(reserved_)},
                           {"requested", absl::StrCat(amount)}});
}

absl::Status Budget::Check(int64_t amount) const {
  const std::lock_guard lock(mutex_);
  return CheckLocked(amount);
}

absl::Status Budget::Reserve(int64_t amount) {
  const std::lock_guard lock(mutex_);
  const absl::Status status = CheckLocked(amount);
  if (status.ok()) reserved_ += amount;
  return status;
}

void Budget::ReserveAnyway(int64_t amount) {
  const std::lock_guard lock(mutex_);
  reserved_ += amount;
}

void Budget::Release(int64_t amount) {
  const std::lock_guard lock(mutex_);
  reserved_ -= amount;
  MSA_CHECK(reserved_ >= 0, "more is released than was reserved");
}

void Budget::SetLimit(int64_t limit) {
  const std::lock_guard lock(mutex_);
  limit_ = limit;
}

int64_t Budget::reserved() const {
  const std::lock_guard lock(mutex_);
  return reserved_;
}

Admission::~Admission() { router_key_bytes_->Release(own_key_bytes_); }

absl::Status Admission::Reserve(int64_t num_tokens, int64_t key_bytes) {
  MSA_RETURN_IF_ERROR(tokens_->Reserve(num_tokens));
  const absl::Status status = router_key_bytes_->Reserve(key_bytes);
  if (!status.ok()) {
    tokens_->Release(num_tokens);
    return status;
  }
  own_key_bytes_ += key_bytes;
  return absl::OkStatus();
}

void Admission::ReserveAnyway(int64_t num_tokens, int64_t key_bytes) {
  tokens_->ReserveAnyway(num_tokens);
  router_key_bytes_->ReserveAnyway(key_bytes);
  own_key_bytes_ += key_bytes;
}

void Admission::Release(int64_t num_tokens, int64_t key_bytes) {
  tokens_->Release(num_tokens);
  router_key_bytes_->Release(key_bytes);
  own_key_bytes_ -= key_bytes;
}

}  // namespace msa::engine
