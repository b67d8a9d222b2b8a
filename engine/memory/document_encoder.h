#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "engine/memory/documents/encoded_document.h"

namespace msa::engine {

// What a bank needs of the model; implemented by the engine, replaced in storage tests.
class DocumentEncoder {
 public:
  virtual ~DocumentEncoder() = default;

  // The exact tokens that Encode takes for document `number` with `text`. Thread-safe.
  virtual std::vector<int32_t> Tokenize(uint32_t number, std::string_view text) const = 0;

  // Longest document in tokens.
  virtual int64_t max_document_tokens() const = 0;

  // Encodes once there is time. `done` is called exactly once on an engine thread and must not
  // block; CANCELLED when the engine stops first. Thread-safe. Callers bound what they have in
  // flight.
  using EncodeDone = absl::AnyInvocable<void(absl::StatusOr<EncodedDocument>)>;
  virtual void Encode(std::vector<int32_t> token_ids, EncodeDone done) = 0;

  // Runs `change` between two steps, when no rank reads any shard; in the order of the calls.
  // Thread-safe. After the engine has stopped it runs at once, in the caller.
  virtual void AtStepBoundary(absl::AnyInvocable<void()> change) = 0;
};

}  // namespace msa::engine
