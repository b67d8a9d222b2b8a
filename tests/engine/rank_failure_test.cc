// What is left of an engine when a rank fails, and what does not make one fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/generation/token_source.h"
#include "tests/engine/engine_fixture.h"
#include "tests/engine/gate.h"
#include "tests/engine/memory/files/faulty_file_system.h"

namespace msa::engine {
namespace {

using ::testing::HasSubstr;

constexpr char kQuestion[] = "Which colour does the river have?";

// The smallest test model.
EngineOptions TinyOptions(const std::string& data_dir, int num_shards) {
  EngineOptions options = NeedleOptions(data_dir, num_shards);
  options.model_dir = MSA_TEST_DATA "/tiny-a/checkpoint";
  options.num_threads = 2;
  return options;
}

// The seed of a request says how its model writes.
constexpr uint64_t kForEver = 1;
constexpr uint64_t kBreaksItsRank = 2;

GenerateRequest RequestOf(uint64_t seed) {
  GenerateRequest request = Request("needles", kQuestion);
  request.params.constrain_citations = false;
  request.params.max_retrieval_tokens = 20000;
  request.params.sampling.seed = seed;
  return request;
}

// Always the same token, whether there is such a token or not. Its first choice, which is inside a
// step, opens one gate and waits for the other.
class OneToken : public TokenSource {
 public:
  OneToken(int32_t token_id, Gate* reached, Gate* until)
      : token_id_(token_id), reached_(reached), until_(until) {}
  absl::StatusOr<int32_t> Choose(const kernels::OpContext&, absl::Span<const float>,
                                 absl::Span<const int32_t>) override {
    if (reached_ != nullptr) reached_->Open();
    if (until_ != nullptr) until_->Wait();
    return token_id_;
  }

 private:
  const int32_t token_id_;
  Gate* const reached_;
  Gate* const until_;
};

class RankFailureTest : public testing::TestWithParam<int> {
 protected:
  static int num_shards() { return GetParam(); }

  // Nothing is encoded within one step.
  void OpenWithFault() {
    EngineOptions options = TinyOptions(directory_.path(), num_shards());
    options.slice_time = absl::Nanoseconds(1);
    options.make_token_source = [this](const SamplingParams& sampling) {
      const bool breaks = sampling.seed == kBreaksItsRank;
      return std::make_unique<OneToken>(breaks ? 1 << 20 : 1000, breaks ? &in_step_ : nullptr,
                                        breaks ? &go_on_ : nullptr);
    };
    engine_ = OpenOrDie(options);
  }

  // Running ones, and then the one that breaks the rank that decodes for all.
  void AskUntilADecodeIsBad() {
    for (int i = 0; i < 2; ++i) {
      queries_.push_back(std::make_unique<AsyncQuestion>(engine_.get(), RequestOf(kForEver)));
      queries_.back()->WaitForEvents(1);
    }
    queries_.push_back(std::make_unique<AsyncQuestion>(engine_.get(), RequestOf(kBreaksItsRank)));
    in_step_.Wait();
  }

  // While a step is held: one waits to be ACTIVE, the others are only ACCEPTED.
  void IngestDocuments(Bank* bank) {
    documents_ = SampleDocuments(20);
    bank->Ingest(documents_[0], IngestMode::kInsert, AcknowledgeAt::kActive,
                 [this](IngestResult result) {
                   first_ = std::move(result);
                   first_done_.Open();
                 });
    for (size_t i = 1; i < documents_.size(); ++i) {
      const IngestResult result =
          IngestOne(bank, documents_[i], IngestMode::kInsert, AcknowledgeAt::kAccepted);
      EXPECT_TRUE(result.status.ok()) << result.status;
    }
  }

  TemporaryDirectory directory_;
  Gate in_step_, go_on_, first_done_;
  IngestResult first_;
  std::vector<DocumentInput> documents_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::unique_ptr<AsyncQuestion>> queries_;
};

INSTANTIATE_TEST_SUITE_P(Shards, RankFailureTest, testing::Values(1, 3),
                         testing::PrintToStringParamName());

TEST_P(RankFailureTest, EndsTheEngineAndKeepsWhatWasAccepted) {
  OpenWithFault();
  std::shared_ptr<Bank> bank = *engine_->banks().Create("needles", {});
  AskUntilADecodeIsBad();
  queries_.push_back(std::make_unique<AsyncQuestion>(engine_.get(), RequestOf(kForEver)));  // waits
  IngestDocuments(bank.get());
  EXPECT_TRUE(engine_->healthy());
  go_on_.Open();

  for (const auto& query : queries_) {
    const absl::Status& status = query->Wait().status;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("shard 0 failed"));
  }
  EXPECT_FALSE(engine_->healthy());
  EXPECT_EQ(Ask(engine_.get(), RequestOf(kForEver)).status.code(), absl::StatusCode::kUnavailable);
  const RetrieveRequest retrieve = Retrieval("needles", kQuestion);
  EXPECT_EQ(RetrieveAndWait(engine_.get(), retrieve).status().code(),
            absl::StatusCode::kUnavailable);

  first_done_.Wait();
  EXPECT_EQ(first_.status.code(), absl::StatusCode::kCancelled) << first_.status;
  EXPECT_EQ(first_.state, DocumentState::kAccepted);
  // One that comes now is kept, too.
  DocumentInput late;
  late.id = "late";
  late.text = "The colour of the river is green.";
  documents_.push_back(late);
  EXPECT_TRUE(
      IngestOne(bank.get(), late, IngestMode::kInsert, AcknowledgeAt::kAccepted).status.ok());
  EXPECT_EQ(bank->Stats().num_accepted, static_cast<int64_t>(documents_.size()));
  EXPECT_EQ(bank->Stats().num_documents, 0);
  EXPECT_EQ(bank->Stats().num_failed, 0);
  engine_->Drain(absl::ZeroDuration());
  queries_.clear();
  bank.reset();
  engine_.reset();

  engine_ = OpenOrDie(TinyOptions(directory_.path(), num_shards()));
  bank = *engine_->banks().Get("needles");
  for (const DocumentInput& document : documents_) {
    // Sent again, it is the same document and acknowledged once it is ACTIVE.
    const IngestResult result =
        IngestOne(bank.get(), document, IngestMode::kInsert, AcknowledgeAt::kActive);
    EXPECT_TRUE(result.status.ok()) << result.status;
    EXPECT_TRUE(result.deduplicated);
    EXPECT_EQ(result.state, DocumentState::kActive);
  }
  EXPECT_EQ(bank->Stats().num_documents, static_cast<int64_t>(documents_.size()));
  EXPECT_TRUE(engine_->healthy());
  EXPECT_TRUE(Ask(engine_.get(), Request("needles", kQuestion)).status.ok());
  const auto found = RetrieveAndWait(engine_.get(), retrieve);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_FALSE(found->hits.empty());
  bank.reset();
}

// A disk whose segments cannot be read while it is told so.
class UnreadableSegments : public FaultyFileSystem {
 public:
  UnreadableSegments()
      : FaultyFileSystem(PosixFileSystem(),
                         [](const std::string&, const std::string&) { return absl::OkStatus(); }) {}
  void Fail(bool fails) { *fails_ = fails; }

  absl::StatusOr<std::unique_ptr<ReadableFile>> OpenForRead(const std::string& path) override {
    auto file = FaultyFileSystem::OpenForRead(path);
    if (!file.ok() || !absl::EndsWith(path, ".segment")) return file;
    return std::make_unique<Segment>(*std::move(file), path, fails_);
  }

 private:
  class Segment : public ReadableFile {
   public:
    Segment(std::unique_ptr<ReadableFile> file, std::string path,
            std::shared_ptr<const std::atomic<bool>> fails)
        : file_(std::move(file)), path_(std::move(path)), fails_(std::move(fails)) {}
    absl::Status ReadAt(uint64_t offset, absl::Span<std::byte> out) const override {
      if (*fails_) return absl::UnavailableError(absl::StrCat(path_, ": Input/output error"));
      return file_->ReadAt(offset, out);
    }
    uint64_t size() const override { return file_->size(); }

   private:
    const std::unique_ptr<ReadableFile> file_;
    const std::string path_;
    const std::shared_ptr<const std::atomic<bool>> fails_;
  };

  const std::shared_ptr<std::atomic<bool>> fails_ = std::make_shared<std::atomic<bool>>(false);
};

using UnreadableContentTest = RankFailureTest;
INSTANTIATE_TEST_SUITE_P(Shards, UnreadableContentTest, testing::Values(1, 3),
                         testing::PrintToStringParamName());

TEST_P(UnreadableContentTest, EndsItsQueriesAlone) {
  UnreadableSegments files;
  EngineOptions options = TinyOptions(directory_.path(), num_shards());
  options.file_system = &files;
  engine_ = OpenOrDie(options);
  std::shared_ptr<Bank> bank = *engine_->banks().Create("needles", {});
  ASSERT_TRUE(engine_->banks().Create("empty", {}).ok());
  IngestAll(bank.get(), SampleDocuments(50));
  const std::string before = Ask(engine_.get(), Request("needles", kQuestion)).Fingerprint();
  const RetrieveRequest retrieve = Retrieval("needles", kQuestion);

  files.Fail(true);
  {
    AsyncQuestion reads(engine_.get(), Request("needles", kQuestion));
    AsyncQuestion reads_nothing(engine_.get(), Request("empty", kQuestion));
    const absl::Status status = reads.Wait().status;
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(".segment: Input/output error"));
    EXPECT_TRUE(reads_nothing.Wait().status.ok()) << reads_nothing.Wait().status;
  }
  EXPECT_EQ(RetrieveAndWait(engine_.get(), retrieve).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_TRUE(engine_->healthy());

  files.Fail(false);
  EXPECT_EQ(bank->Stats().num_documents, 50) << "a disk that answers later has lost nothing";
  EXPECT_EQ(Ask(engine_.get(), Request("needles", kQuestion)).Fingerprint(), before);
  EXPECT_TRUE(RetrieveAndWait(engine_.get(), retrieve).ok());
  bank.reset();
  engine_.reset();  // before its files
}

}  // namespace
}  // namespace msa::engine
