#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/memory/bank_parts.h"

namespace msa::engine {

// ACCEPTED documents on their way through the encoder, in the order of their numbers where the
// encoder keeps it. Bounded: so many documents and bytes of results are with the encoder or wait
// for a segment, the others keep at most their tokens, and beyond max_pending_bytes of those
// nothing (they are tokenised again from the catalog). Belongs to the bank's thread.
class EncodingQueue {
 public:
  struct Encoded {
    uint32_t number = 0;
    absl::Duration accepted_at;  // Clock::Monotonic
    EncodedDocument document;
  };
  // A document that cannot be encoded, and for good or not.
  struct Failure {
    uint32_t number = 0;
    absl::Status status;
    bool is_final = false;
  };

  explicit EncodingQueue(BankParts* parts) : parts_(parts) {}

  // Its admission is reserved; an empty `token_ids` means that they are made later.
  void Add(uint32_t number, int64_t num_tokens, std::vector<int32_t> token_ids);
  // Releases the document's admission; its result is dropped when it comes. Nothing where it is not
  // here.
  void Cancel(uint32_t number);
  bool Contains(uint32_t number) const { return documents_.contains(number); }

  // Hands documents to the encoder while there is room. Returns those whose text cannot be encoded.
  std::vector<Failure> Submit();
  std::optional<Failure> Receive(EncodeResult result);

  // Encoded documents that wait for a segment.
  const std::vector<Encoded>& encoded() const { return encoded_; }
  std::vector<Encoded> TakeEncoded();
  void PutBack(std::vector<Encoded> documents);  // after a failed write
  void Finish(uint32_t number);                  // written: it is no longer ACCEPTED

  int64_t size() const { return static_cast<int64_t>(documents_.size()); }
  // No document is on its way to `encoded`.
  bool nothing_in_flight() const { return waiting_.empty() && num_with_encoder_ == 0; }
  absl::Duration oldest_encoded_at() const { return oldest_encoded_at_; }
  int64_t encoded_bytes() const { return encoded_bytes_; }

 private:
  struct Waiting {
    uint32_t number = 0;
    std::vector<int32_t> token_ids;
  };
  struct Document {
    int64_t num_tokens = 0;
    absl::Duration accepted_at;
  };
  int64_t ResultBytes(int64_t num_tokens) const;
  absl::StatusOr<std::vector<int32_t>> TokensOf(Waiting& waiting);

  BankParts* const parts_;
  absl::flat_hash_map<uint32_t, Document> documents_;  // all that are ACCEPTED and not cancelled
  std::deque<Waiting> waiting_;
  int64_t waiting_token_bytes_ = 0;
  absl::flat_hash_map<uint32_t, int64_t> with_encoder_;  // result bytes, cancelled ones too
  int64_t num_with_encoder_ = 0;
  int64_t bytes_with_encoder_ = 0;
  std::vector<Encoded> encoded_;
  int64_t encoded_bytes_ = 0;
  absl::Duration oldest_encoded_at_;
};

}  // namespace msa::engine
