#include "tests/engine/memory/scripted_encoder.h"

#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/memory/files/checksum.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {

ScriptedEncoder::ScriptedEncoder(const MemoryGeometry& geometry, int64_t max_document_tokens)
    : geometry_(geometry), max_document_tokens_(max_document_tokens), thread_([this] { Run(); }) {}

ScriptedEncoder::~ScriptedEncoder() { Stop(); }

std::vector<int32_t> ScriptedEncoder::Tokenize(uint32_t number, std::string_view text) const {
  const std::string all = absl::StrCat("[", number, "]", kernels::ToAbsl(text));
  std::vector<int32_t> token_ids;
  for (const char c : all) token_ids.push_back(static_cast<unsigned char>(c));
  return token_ids;
}

EncodedDocument ScriptedEncoder::EncodedOf(uint32_t number, std::string_view text) const {
  return Encoded(Tokenize(number, text));
}

EncodedDocument ScriptedEncoder::Encoded(const std::vector<int32_t>& token_ids) const {
  EncodedDocument document;
  document.num_tokens = static_cast<int64_t>(token_ids.size());
  document.num_chunks = geometry_.ChunksOf(document.num_tokens);
  const auto key_bytes =
      static_cast<size_t>(document.num_chunks * geometry_.router_key_bytes_per_chunk());
  uint64_t state = Checksum(
      {reinterpret_cast<const std::byte*>(token_ids.data()), token_ids.size() * sizeof(int32_t)});
  const auto fill = [&](std::vector<std::byte>* out, size_t size) {
    out->resize(size);
    for (std::byte& byte : *out) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<std::byte>(state >> 56);
    }
  };
  fill(&document.router_keys, key_bytes);
  fill(&document.content, 2 * key_bytes);
  return document;
}

void ScriptedEncoder::Encode(std::vector<int32_t> token_ids, EncodeDone done) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      jobs_.push_back({std::move(token_ids), std::move(done)});
      changed_.notify_all();
      return;
    }
  }
  done(absl::CancelledError("the engine has stopped"));
}

void ScriptedEncoder::AtStepBoundary(absl::AnyInvocable<void()> change) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      boundaries_.push_back(std::move(change));
      changed_.notify_all();
      return;
    }
  }
  change();
}

void ScriptedEncoder::HoldEncoding(bool hold) {
  const std::lock_guard lock(mutex_);
  holds_encoding_ = hold;
  changed_.notify_all();
}

void ScriptedEncoder::HoldBoundaries(bool hold) {
  const std::lock_guard lock(mutex_);
  holds_boundaries_ = hold;
  changed_.notify_all();
}

void ScriptedEncoder::TakeNewestFirst() {
  const std::lock_guard lock(mutex_);
  newest_first_ = true;
}

int64_t ScriptedEncoder::num_encoded() const {
  const std::lock_guard lock(mutex_);
  return num_encoded_;
}

void ScriptedEncoder::InStep(std::function<void()> read) {
  std::promise<void> done;
  AtStepBoundary([&] {
    read();
    done.set_value();
  });
  done.get_future().wait();
}

void ScriptedEncoder::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void ScriptedEncoder::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] {
      return stopped_ || (!boundaries_.empty() && !holds_boundaries_) ||
             (!jobs_.empty() && !holds_encoding_);
    });
    if (!boundaries_.empty() && (!holds_boundaries_ || stopped_)) {
      auto change = std::move(boundaries_.front());
      boundaries_.pop_front();
      lock.unlock();
      change();
      lock.lock();
      continue;
    }
    if (jobs_.empty()) {
      if (stopped_) return;
      continue;
    }
    if (newest_first_) std::rotate(jobs_.begin(), jobs_.end() - 1, jobs_.end());
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    const bool cancels = stopped_;
    lock.unlock();
    const bool fails =
        std::find(job.token_ids.begin(), job.token_ids.end(), kFails) != job.token_ids.end();
    if (cancels) {
      job.done(absl::CancelledError("the engine stops"));
    } else if (fails) {
      job.done(absl::InternalError("the document cannot be encoded"));
    } else {
      job.done(Encoded(job.token_ids));
    }
    lock.lock();
    num_encoded_ += 1;
  }
}

}  // namespace msa::engine
