#include "tests/engine/engine_fixture.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace msa::engine {
namespace {

void Require(const absl::Status& status, const std::string& what) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s: %s\n", what.c_str(), status.ToString().c_str());
  std::abort();
}

// Runs `start(done)` and waits for done(result).
template <class Result, class Start>
Result Await(Start start) {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Result> result;
  start([&](Result value) {
    std::lock_guard lock(mutex);
    result = std::move(value);
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return result.has_value(); });
  return *std::move(result);
}

std::string FingerprintOf(const std::vector<LayerSelection>& layers) {
  std::string text;
  for (const LayerSelection& layer : layers) {
    absl::StrAppend(&text, "\nlayer ", layer.layer, ":");
    for (size_t i = 0; i < layer.numbers.size(); ++i) {
      char score[32];
      std::snprintf(score, sizeof(score), " %u:%a", layer.numbers[i],
                    static_cast<double>(layer.scores[i]));
      text += score;
    }
  }
  return text;
}

}  // namespace

std::string NeedleCheckpoint() { return std::string(MSA_SOURCE_DIR) + "/models/needle/checkpoint"; }

std::vector<DocumentInput> SampleDocuments(size_t most) {
  std::ifstream in(std::string(MSA_SOURCE_DIR) + "/models/needle/samples/documents.jsonl");
  std::vector<DocumentInput> documents;
  for (std::string line; documents.size() < most && std::getline(in, line);) {
    const auto parsed = nlohmann::json::parse(line);
    DocumentInput& document = documents.emplace_back();
    document.id = parsed["id"].get<std::string>();
    document.text = parsed["text"].get<std::string>();
  }
  return documents;
}

std::vector<SampleQuestion> SampleQuestions() {
  std::ifstream in(std::string(MSA_SOURCE_DIR) + "/models/needle/samples/questions.jsonl");
  std::vector<SampleQuestion> questions;
  for (std::string line; std::getline(in, line);) {
    const auto parsed = nlohmann::json::parse(line);
    SampleQuestion& question = questions.emplace_back();
    question.question = parsed["question"].get<std::string>();
    question.hops = parsed["hops"].get<int>();
    for (const auto& source : parsed["sources"])
      question.sources.push_back(source.get<std::string>());
    question.answer = parsed["answer"].get<std::string>();
  }
  return questions;
}

std::vector<DocumentInput> SampleDocumentsFor(const std::vector<SampleQuestion>& questions,
                                              size_t most) {
  std::set<std::string> sources;
  for (const SampleQuestion& question : questions)
    sources.insert(question.sources.begin(), question.sources.end());
  std::vector<DocumentInput> documents;
  size_t others = most - sources.size();
  for (DocumentInput& document : SampleDocuments(SIZE_MAX)) {
    const bool is_source = sources.contains(document.id);
    if (!is_source && others == 0) continue;
    if (!is_source) --others;
    documents.push_back(std::move(document));
  }
  return documents;
}

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "msa_engine_test_XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() { std::filesystem::remove_all(path_); }

std::string Outcome::Fingerprint() const {
  std::string text = status.ToString();
  for (const RoundEvent& round : rounds) text += FingerprintOf(round.layers);
  absl::StrAppend(&text, "\n", retrieval_text, "\n", answer_text, "\n", finished.answer, "\n",
                  static_cast<int>(finished.reason), " ", finished.num_rounds, " ",
                  finished.generated_tokens);
  for (const FinishedEvent::Source& source : finished.sources)
    absl::StrAppend(&text, " ", source.number, source.id);
  return text;
}

AsyncQuestion::AsyncQuestion(Engine* engine, GenerateRequest request) {
  std::unique_lock lock(mutex_);
  absl::StatusOr<std::unique_ptr<GenerateStream>> stream =
      engine->Generate(std::move(request), [this] { OnReady(); });
  if (stream.ok()) {
    stream_ = *std::move(stream);
  } else {
    outcome_.status = stream.status();
    ended_ = true;
  }
}

AsyncQuestion::~AsyncQuestion() { stream_.reset(); }

void AsyncQuestion::Cancel() {
  if (stream_ != nullptr) stream_->Cancel();
}

void AsyncQuestion::OnReady() {
  std::lock_guard lock(mutex_);
  ready_ = true;
  changed_.notify_all();
}

const Outcome& AsyncQuestion::Wait() {
  WaitForEvents(SIZE_MAX);
  return outcome_;
}

void AsyncQuestion::WaitForEvents(size_t count) {
  std::unique_lock lock(mutex_);
  while (!ended_ && outcome_.events.size() < count) {
    ready_ = false;
    lock.unlock();
    QueryEvent event;
    const GenerateStream::ReadState state = stream_->TryRead(&event);
    lock.lock();
    if (state == GenerateStream::ReadState::kPending) {
      changed_.wait(lock, [this] { return ready_; });
    } else if (state == GenerateStream::ReadState::kEnd) {
      ended_ = true;
      outcome_.status = stream_->status();
    } else {
      if (const auto* round = std::get_if<RoundEvent>(&event)) outcome_.rounds.push_back(*round);
      if (const auto* finished = std::get_if<FinishedEvent>(&event)) outcome_.finished = *finished;
      if (const auto* token = std::get_if<TokenEvent>(&event)) {
        const bool retrieval = token->phase == Interleave::Phase::kRetrieval;
        (retrieval ? outcome_.retrieval_text : outcome_.answer_text) += token->text;
      }
      outcome_.events.push_back(std::move(event));
    }
  }
}

AsyncRetrieval::AsyncRetrieval(Engine* engine, RetrieveRequest request) {
  const auto done = [this](absl::StatusOr<RetrieveResult> result) {
    std::lock_guard lock(mutex_);
    result_ = std::move(result);
    changed_.notify_all();
  };
  absl::StatusOr<std::unique_ptr<RequestHandle>> handle =
      engine->Retrieve(std::move(request), done);
  if (handle.ok()) {
    handle_ = *std::move(handle);
  } else {
    done(handle.status());
  }
}

AsyncRetrieval::~AsyncRetrieval() {
  if (handle_ != nullptr) handle_->Cancel();
  Wait();
}

const absl::StatusOr<RetrieveResult>& AsyncRetrieval::Wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return result_.has_value(); });
  return *result_;
}

std::string FingerprintOf(const absl::StatusOr<RetrieveResult>& result) {
  if (!result.ok()) return result.status().ToString();
  std::string text = absl::StrCat(result->prompt_tokens);
  for (const RoutedDocument& hit : result->hits)
    absl::StrAppend(&text, " ", hit.number, hit.id, hit.text);
  return text + FingerprintOf(result->layers);
}

EngineOptions NeedleOptions(const std::string& data_dir, int num_shards) {
  EngineOptions options;
  options.model_dir = NeedleCheckpoint();
  options.data_dir = data_dir;
  options.num_shards = num_shards;
  return options;
}

std::unique_ptr<Engine> OpenOrDie(const EngineOptions& options) {
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Open(options, nullptr);
  Require(engine.status(), "open");
  return *std::move(engine);
}

void IngestAll(Bank* bank, std::vector<DocumentInput> documents) {
  std::mutex mutex;
  std::condition_variable changed;
  size_t done = 0;
  const size_t total = documents.size();
  for (DocumentInput& document : documents) {
    bank->Ingest(std::move(document), IngestMode::kInsert, AcknowledgeAt::kActive,
                 [&](IngestResult result) {
                   Require(result.status, "ingest " + result.id);
                   std::lock_guard lock(mutex);
                   ++done;
                   changed.notify_all();
                 });
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return done == total; });
}

IngestResult IngestOne(Bank* bank, DocumentInput document, IngestMode mode, AcknowledgeAt level) {
  return Await<IngestResult>(
      [&](auto done) { bank->Ingest(std::move(document), mode, level, std::move(done)); });
}

Bank::DeleteResult DeleteAndWait(Bank* bank, std::vector<std::string> ids) {
  return Await<Bank::DeleteResult>(
      [&](auto done) { bank->Delete(std::move(ids), std::move(done)); });
}

GenerateRequest Request(const std::string& bank, const std::string& question) {
  GenerateRequest request;
  request.bank = bank;
  request.question = question;
  request.explain_layers = true;
  request.params.max_answer_tokens = 64;
  request.params.max_retrieval_tokens = 64;
  return request;
}

RetrieveRequest Retrieval(const std::string& bank, const std::string& question) {
  RetrieveRequest request;
  request.bank = bank;
  request.question = question;
  request.explain_layers = true;
  return request;
}

Outcome Ask(Engine* engine, GenerateRequest request) {
  return AsyncQuestion(engine, std::move(request)).Wait();
}

absl::StatusOr<RetrieveResult> RetrieveAndWait(Engine* engine, RetrieveRequest request) {
  return AsyncRetrieval(engine, std::move(request)).Wait();
}

}  // namespace msa::engine
