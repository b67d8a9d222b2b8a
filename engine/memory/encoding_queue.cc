#include "engine/memory/encoding_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/memory/segments/segment_writer.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

constexpr int64_t kMaxWithEncoder = 256;

int64_t TokenBytes(const std::vector<int32_t>& token_ids) {
  return static_cast<int64_t>(token_ids.size() * sizeof(int32_t));
}

}  // namespace

int64_t EncodingQueue::ResultBytes(int64_t num_tokens) const {
  return parts_->StoredBytes(parts_->geometry().ChunksOf(num_tokens));
}

void EncodingQueue::Add(uint32_t number, int64_t num_tokens, std::vector<int32_t> token_ids) {
  documents_[number] = {num_tokens, parts_->clock->Monotonic()};
  if (waiting_token_bytes_ + TokenBytes(token_ids) > parts_->options.max_pending_bytes) {
    token_ids = {};
  }
  waiting_token_bytes_ += TokenBytes(token_ids);
  waiting_.push_back({number, std::move(token_ids)});
}

void EncodingQueue::Finish(uint32_t number) { documents_.erase(number); }

void EncodingQueue::Cancel(uint32_t number) {
  const auto found = documents_.find(number);
  if (found == documents_.end()) return;
  const int64_t num_tokens = found->second.num_tokens;
  parts_->admission->Release(num_tokens, parts_->KeyBytes(parts_->geometry().ChunksOf(num_tokens)));
  documents_.erase(found);
  std::erase_if(encoded_, [&](const Encoded& encoded) {
    if (encoded.number != number) return false;
    encoded_bytes_ -= ResultBytes(num_tokens);
    return true;
  });
}

absl::StatusOr<std::vector<int32_t>> EncodingQueue::TokensOf(Waiting& waiting) {
  if (!waiting.token_ids.empty()) return std::move(waiting.token_ids);
  MSA_ASSIGN_OR_RETURN(const auto row, parts_->catalog->Find(waiting.number));
  if (!row) return absl::InternalError("an ACCEPTED document has no row");
  MSA_ASSIGN_OR_RETURN(const std::string text, parts_->catalog->TextOf(*row));
  std::vector<int32_t> token_ids = parts_->encoder->Tokenize(waiting.number, text);
  if (static_cast<int64_t>(token_ids.size()) == row->num_tokens) return token_ids;
  return absl::InternalError(absl::StrCat("the text has ", token_ids.size(), " tokens now, it had ",
                                          row->num_tokens, " when it was accepted"));
}

std::vector<EncodingQueue::Failure> EncodingQueue::Submit() {
  std::vector<Failure> failures;
  while (!waiting_.empty()) {
    Waiting& next = waiting_.front();
    const auto found = documents_.find(next.number);
    const bool is_cancelled = found == documents_.end();
    const int64_t bytes = is_cancelled ? 0 : ResultBytes(found->second.num_tokens);
    const int64_t held = bytes_with_encoder_ + encoded_bytes_;
    const bool has_room = num_with_encoder_ < kMaxWithEncoder &&
                          (held == 0 || held + bytes <= 2 * parts_->options.segment_target_bytes);
    if (!is_cancelled && !has_room) break;
    Waiting waiting = std::move(next);
    waiting_.pop_front();
    waiting_token_bytes_ -= TokenBytes(waiting.token_ids);
    if (is_cancelled) continue;
    auto token_ids = TokensOf(waiting);
    if (!token_ids.ok()) {
      failures.push_back(
          {waiting.number, token_ids.status(), !absl::IsUnavailable(token_ids.status())});
      continue;
    }
    with_encoder_[waiting.number] = bytes;
    num_with_encoder_ += 1;
    bytes_with_encoder_ += bytes;
    parts_->encoder->Encode(*std::move(token_ids), [inbox = parts_->inbox, number = waiting.number](
                                                       absl::StatusOr<EncodedDocument> encoded) {
      inbox->PushEncoded({number, std::move(encoded)});
    });
  }
  return failures;
}

std::optional<EncodingQueue::Failure> EncodingQueue::Receive(EncodeResult result) {
  auto node = with_encoder_.extract(result.number);
  if (!node.empty()) {
    num_with_encoder_ -= 1;
    bytes_with_encoder_ -= node.mapped();
  }
  const auto found = documents_.find(result.number);
  if (found == documents_.end()) return std::nullopt;
  absl::Status status = result.encoded.status();
  if (status.ok()) {
    status = CheckEncoded(*result.encoded, found->second.num_tokens, parts_->geometry());
  }
  if (!status.ok()) {
    // An engine that stops says nothing about the document.
    const bool is_final = !absl::IsCancelled(status) && !absl::IsUnavailable(status);
    return Failure{result.number, status, is_final};
  }
  if (encoded_.empty()) oldest_encoded_at_ = parts_->clock->Monotonic();
  encoded_bytes_ += ResultBytes(found->second.num_tokens);
  encoded_.push_back({result.number, found->second.accepted_at, *std::move(result.encoded)});
  return std::nullopt;
}

std::vector<EncodingQueue::Encoded> EncodingQueue::TakeEncoded() {
  encoded_bytes_ = 0;
  return std::exchange(encoded_, {});
}

void EncodingQueue::PutBack(std::vector<Encoded> documents) {
  for (Encoded& encoded : documents) {
    encoded_bytes_ += ResultBytes(encoded.document.num_tokens);
    encoded_.push_back(std::move(encoded));
  }
  oldest_encoded_at_ = parts_->clock->Monotonic();
}

}  // namespace msa::engine
