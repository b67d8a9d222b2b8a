#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/server/fake_bank.h"
#include "tests/server/fake_store.h"

// An engine in memory without a model: banks are maps, answers are scripts.
namespace msa::server {

// A stream that a test (or the engine's script) feeds. Outlived by its state, which tests hold.
class FakeAnswer {
 public:
  void Push(engine::QueryEvent event);
  void End(absl::Status status);
  bool cancelled() const { return cancelled_.load(); }
  int64_t num_read() const { return num_read_.load(); }
  bool WaitUntilCancelled(absl::Duration timeout) const;

 private:
  friend class FakeEngine;
  friend class FakeStream;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::deque<engine::QueryEvent> events_;
  bool ended_ = false;
  absl::Status status_;
  std::shared_ptr<absl::AnyInvocable<void()>> on_ready_;  // null once the stream is gone
  std::atomic<bool> cancelled_{false};
  std::atomic<int64_t> num_read_{0};
};

class FakeEngine : public engine::Engine {
 public:
  explicit FakeEngine(const engine::EngineOptions& options = {},
                      engine::EngineObserver* observer = nullptr);

  // What a question gets: by default the events of ScriptedAnswer, at once. Replace before use.
  std::function<void(const engine::GenerateRequest&, std::shared_ptr<FakeAnswer>)> answer;
  std::function<absl::StatusOr<engine::RetrieveResult>(const engine::RetrieveRequest&)> retrieve;
  std::function<absl::Status(const std::string& bank)> admit;  // refuses queries

  static std::vector<engine::QueryEvent> ScriptedAnswer(const std::string& question);

  std::shared_ptr<FakeBank> bank(const std::string& name) const { return store_.Find(name); }
  std::vector<engine::GenerateRequest> generate_requests() const;
  std::vector<engine::RetrieveRequest> retrieve_requests() const;
  void HoldRetrieve() { hold_retrieve_.store(true); }  // until cancelled
  void SetUnhealthy() { healthy_.store(false); }
  absl::Duration drain_grace() const { return drain_grace_; }
  bool drained() const { return drained_.load(); }

  const engine::EngineInfo& info() const override { return info_; }
  engine::MemoryUsage memory_usage() const override;
  FakeStore& banks() override { return store_; }
  absl::StatusOr<std::unique_ptr<engine::GenerateStream>> Generate(
      engine::GenerateRequest request, absl::AnyInvocable<void()> on_ready) override;
  absl::StatusOr<std::unique_ptr<engine::RequestHandle>> Retrieve(engine::RetrieveRequest request,
                                                                  RetrieveDone done) override;
  absl::StatusOr<engine::TokenCount> CountTokens(const std::string& text) const override;
  bool healthy() const override { return healthy_.load(); }
  int64_t num_running() const override;
  int64_t num_waiting() const override { return 0; }
  void Drain(absl::Duration grace) override;

 private:
  absl::Status CheckAdmission(const std::string& bank);

  engine::EngineInfo info_;
  engine::EngineObserver* observer_;
  FakeStore store_;
  mutable std::mutex mutex_;
  std::vector<engine::GenerateRequest> generate_requests_;
  std::vector<engine::RetrieveRequest> retrieve_requests_;
  std::vector<std::weak_ptr<FakeAnswer>> answers_;
  std::atomic<bool> healthy_{true};
  std::atomic<bool> hold_retrieve_{false};
  std::atomic<bool> drained_{false};
  absl::Duration drain_grace_;
};

}  // namespace msa::server
