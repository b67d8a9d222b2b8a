#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace msa::engine {

// The bundled model's directory, and its sample documents and questions.
std::string NeedleCheckpoint();
struct SampleQuestion {
  std::string question;
  int hops = 1;
  std::vector<std::string> sources;  // document ids
  std::string answer;
};
std::vector<DocumentInput> SampleDocuments(size_t most);
std::vector<SampleQuestion> SampleQuestions();
// The sources of `questions` and other sample documents, `most` in all, in the samples' order.
std::vector<DocumentInput> SampleDocumentsFor(const std::vector<SampleQuestion>& questions,
                                              size_t most);

// How much of something a test takes. Under the thread sanitizer a step is some tens of times
// slower: there it takes as little as still shows what it is to show.
#ifdef __SANITIZE_THREAD__
template <class T>
constexpr T Sized(T /*usual*/, T under_thread_sanitizer) {
  return under_thread_sanitizer;
}
#else
template <class T>
constexpr T Sized(T usual, T /*under_thread_sanitizer*/) {
  return usual;
}
#endif

// A directory that is removed with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Everything that a query's reader saw.
struct Outcome {
  absl::Status status;
  std::vector<QueryEvent> events;
  std::vector<RoundEvent> rounds;
  std::string retrieval_text;
  std::string answer_text;  // streamed
  FinishedEvent finished;

  // Selections with scores, text, answer and reasons: equal for equal runs, bit for bit.
  std::string Fingerprint() const;
};

// A stream that is read by its own callback. Destroying it cancels.
class AsyncQuestion {
 public:
  AsyncQuestion(Engine* engine, GenerateRequest request);
  ~AsyncQuestion();
  void Cancel();
  const Outcome& Wait();
  void WaitForEvents(size_t count);  // or the end

 private:
  void OnReady();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool ready_ = false;
  bool ended_ = false;
  Outcome outcome_;
  std::unique_ptr<GenerateStream> stream_;
};

// A retrieval on its way. Destroying it cancels, and waits.
class AsyncRetrieval {
 public:
  AsyncRetrieval(Engine* engine, RetrieveRequest request);
  ~AsyncRetrieval();
  const absl::StatusOr<RetrieveResult>& Wait();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<absl::StatusOr<RetrieveResult>> result_;
  std::unique_ptr<RequestHandle> handle_;
};

// Hits and layers with scores: equal for equal runs, bit for bit.
std::string FingerprintOf(const absl::StatusOr<RetrieveResult>& result);

EngineOptions NeedleOptions(const std::string& data_dir, int num_shards);
std::unique_ptr<Engine> OpenOrDie(const EngineOptions& options);

// Ingests and waits until all are ACTIVE; dies on an error.
void IngestAll(Bank* bank, std::vector<DocumentInput> documents);
IngestResult IngestOne(Bank* bank, DocumentInput document, IngestMode mode, AcknowledgeAt level);
Bank::DeleteResult DeleteAndWait(Bank* bank, std::vector<std::string> ids);

GenerateRequest Request(const std::string& bank, const std::string& question);
RetrieveRequest Retrieval(const std::string& bank, const std::string& question);
Outcome Ask(Engine* engine, GenerateRequest request);
absl::StatusOr<RetrieveResult> RetrieveAndWait(Engine* engine, RetrieveRequest request);

}  // namespace msa::engine
