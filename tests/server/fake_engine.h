#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/engine.h"

// An engine in memory without a model: banks are maps, answers are scripts.
namespace msa::server {

// Documents by id; a text of n bytes has n tokens and one chunk per 64. Ingests are answered on a
// thread of the bank, or, after Hold, by Release.
class FakeBank : public engine::Bank {
 public:
  FakeBank(std::string name, engine::BankSettings settings);
  ~FakeBank() override;

  void Hold();  // results wait
  void Release(
      size_t count);  // gives the newest held results first, so that order is the reader's problem
  void ReleaseAll();  // and stops holding
  size_t num_held() const;
  std::vector<std::string> accepted_ids() const;  // in the order of Ingest
  std::function<absl::Status(const engine::DocumentInput&)>
      check;  // refuses documents; set before use

  engine::BankInfo Info() const override;
  engine::BankStats Stats() const override;
  void Ingest(engine::DocumentInput document, engine::IngestMode mode, engine::AcknowledgeAt level,
              IngestDone done) override;
  void Delete(std::vector<std::string> ids, DeleteDone done) override;
  void DeleteMatching(engine::Filter filter, DeleteDone done) override;
  void Compact(CompactDone done) override;
  absl::StatusOr<engine::DocumentInfo> Get(const std::string& id, bool with_text) const override;
  static constexpr int64_t kRowsOfPage = 8;  // looked at for one page of List
  absl::StatusOr<engine::DocumentPage> List(const std::string& after_id, int64_t limit,
                                            bool with_text,
                                            const engine::Filter* filter) const override;
  // Never called by the server.
  engine::DocumentSet Select(const engine::Filter*, absl::Span<const std::string>) const override;
  absl::StatusOr<std::vector<engine::DocumentInfo>> Read(absl::Span<const uint32_t> numbers,
                                                         const engine::BankPin& pin,
                                                         bool with_text) const override;
  std::unique_ptr<engine::BankPin> Pin() override;
  int num_shards() const override { return 2; }
  const engine::Shard& shard(int rank) const override;  // never called by the server

 private:
  engine::IngestResult Store(engine::DocumentInput document, engine::IngestMode mode);
  void Work();

  const std::string name_;
  const engine::BankSettings settings_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::string, engine::DocumentInfo> documents_;
  std::vector<std::string> accepted_ids_;
  std::deque<std::pair<IngestDone, engine::IngestResult>> answers_;
  uint32_t next_number_ = 1;
  uint64_t revision_ = 0;
  size_t release_ = 0;
  bool holding_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

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

  std::shared_ptr<FakeBank> bank(const std::string& name) const;  // null when there is none
  std::vector<engine::GenerateRequest> generate_requests() const;
  std::vector<engine::RetrieveRequest> retrieve_requests() const;
  void HoldRetrieve() { hold_retrieve_.store(true); }  // until cancelled
  void SetUnhealthy() { healthy_.store(false); }
  absl::Duration drain_grace() const { return drain_grace_; }
  bool drained() const { return drained_.load(); }

  const engine::EngineInfo& info() const override { return info_; }
  engine::MemoryUsage memory_usage() const override;
  absl::StatusOr<std::shared_ptr<engine::Bank>> CreateBank(
      const std::string& name, const engine::BankSettings& settings) override;
  absl::StatusOr<std::shared_ptr<engine::Bank>> GetBank(const std::string& name) const override;
  std::vector<engine::BankInfo> ListBanks() const override;
  absl::Status DeleteBank(const std::string& name, bool force) override;
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
  absl::Status CheckAdmission(const std::string& bank) const;

  engine::EngineInfo info_;
  engine::EngineObserver* observer_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<FakeBank>> banks_;
  std::vector<engine::GenerateRequest> generate_requests_;
  std::vector<engine::RetrieveRequest> retrieve_requests_;
  std::vector<std::weak_ptr<FakeAnswer>> answers_;
  std::atomic<bool> healthy_{true};
  std::atomic<bool> hold_retrieve_{false};
  std::atomic<bool> drained_{false};
  absl::Duration drain_grace_;
};

}  // namespace msa::server
