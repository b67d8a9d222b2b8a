#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "engine/memory/document_encoder.h"

namespace msa::engine {

// An encoder whose arrays are a function of number and text, with one thread that takes work in
// order and runs step boundaries between two documents. Tests hold it, stop it, and make documents
// fail.
class ScriptedEncoder : public DocumentEncoder {
 public:
  static constexpr char kFails = '!';  // a text with this byte cannot be encoded

  explicit ScriptedEncoder(const MemoryGeometry& geometry, int64_t max_document_tokens = 200);
  ~ScriptedEncoder() override;

  // One token per byte of "[number]text".
  std::vector<int32_t> Tokenize(uint32_t number, std::string_view text) const override;
  int64_t max_document_tokens() const override { return max_document_tokens_; }
  void Encode(std::vector<int32_t> token_ids, EncodeDone done) override;
  void AtStepBoundary(absl::AnyInvocable<void()> change) override;

  EncodedDocument EncodedOf(uint32_t number, std::string_view text) const;

  void HoldEncoding(bool hold);
  void HoldBoundaries(bool hold);
  void TakeNewestFirst();  // from now on
  void Stop();             // CANCELLED for the rest, boundaries in the caller
  int64_t num_encoded() const;

  // Runs `read` between two steps, as a rank would inside one.
  void InStep(std::function<void()> read);

 private:
  struct Job {
    std::vector<int32_t> token_ids;
    EncodeDone done;
  };
  EncodedDocument Encoded(const std::vector<int32_t>& token_ids) const;
  void Run();

  const MemoryGeometry geometry_;
  const int64_t max_document_tokens_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::deque<absl::AnyInvocable<void()>> boundaries_;
  bool holds_encoding_ = false;
  bool holds_boundaries_ = false;
  bool newest_first_ = false;
  bool stopped_ = false;
  int64_t num_encoded_ = 0;
  std::thread thread_;
};

}  // namespace msa::engine
