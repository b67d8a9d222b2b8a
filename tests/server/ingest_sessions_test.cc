#include "server/ingest_sessions.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/server/ingest_fixture.h"

namespace msa::server {
namespace {

using ::testing::HasSubstr;

TEST(IngestProgress, IsCompleteUpToTheFirstDocumentThatWaits) {
  IngestProgress progress(std::nullopt);
  EXPECT_EQ(progress.complete_up_to(), std::nullopt);
  for (const uint64_t sequence : {10U, 20U, 30U, 40U}) progress.Received(sequence);
  EXPECT_EQ(progress.complete_up_to(), std::nullopt);
  progress.Answered(20);
  EXPECT_EQ(progress.complete_up_to(), std::nullopt);
  progress.Answered(10);
  EXPECT_EQ(progress.complete_up_to(), 20U);
  progress.Answered(40);
  EXPECT_EQ(progress.complete_up_to(), 20U);
  progress.Answered(30);
  EXPECT_EQ(progress.complete_up_to(), 40U);
}

TEST(IngestProgress, GoesOnFromWhatWasCompleteBefore) {
  IngestProgress progress(7);
  EXPECT_EQ(progress.complete_up_to(), 7U);
  progress.Received(8);
  EXPECT_EQ(progress.complete_up_to(), 7U);
  progress.Answered(8);
  EXPECT_EQ(progress.complete_up_to(), 8U);
}

TEST(IngestSessions, OnlyTheOnesUsedLastAreRemembered) {
  IngestSessions sessions(2);
  const auto bank = std::make_shared<FakeBank>("b", engine::BankSettings{});
  sessions.Advance(bank, "one", 1);
  sessions.Advance(bank, "two", 2);
  EXPECT_EQ(sessions.Find(bank, "one"), 1U);
  sessions.Advance(bank, "three", 3);
  EXPECT_EQ(sessions.Find(bank, "two"), std::nullopt);
  EXPECT_EQ(sessions.Find(bank, "one"), 1U);
  EXPECT_EQ(sessions.Find(bank, "three"), 3U);
}

TEST(IngestSessions, NeverGoBackAndBelongToOneBank) {
  IngestSessions sessions(10);
  auto bank = std::make_shared<FakeBank>("b", engine::BankSettings{});
  const auto other = std::make_shared<FakeBank>("other", engine::BankSettings{});
  sessions.Advance(bank, "s", 5);
  sessions.Advance(bank, "s", 3);
  EXPECT_EQ(sessions.Find(bank, "s"), 5U);
  EXPECT_EQ(sessions.Find(other, "s"), std::nullopt);
  bank = std::make_shared<FakeBank>("b", engine::BankSettings{});  // deleted and made again
  EXPECT_EQ(sessions.Find(bank, "s"), std::nullopt);
}

class IngestSessionTest : public IngestStreamTest {
 protected:
  void OpenSession(const std::string& session) {
    Open(v1::INGEST_MODE_UNSPECIFIED, "b", session);
    const v1::IngestDocumentsResponse started = Read();
    ASSERT_TRUE(started.has_started());
    started_ = started.started();
  }
  // As a connection that is lost, as far as the server can tell.
  void Break() {
    context_->TryCancel();
    EXPECT_EQ(End().code, grpc::StatusCode::CANCELLED);
    EXPECT_TRUE(WaitUntil([this] {
      return server().MetricsText().find(
                 "msa_grpc_streams{method=\"MemoryService/IngestDocuments\"} 0") !=
             std::string::npos;
    }));
  }

  v1::IngestStarted started_;
};

TEST_F(IngestSessionTest, AStreamThatBrokeGoesOnWhereItsResultsEnded) {
  OpenSession("s");
  EXPECT_FALSE(started_.has_resume_after());
  for (uint64_t i = 1; i <= 3; ++i) Send(10 * i, absl::StrCat("doc", i));
  for (int i = 0; i < 3; ++i) ReadResult();
  bank().Hold();
  for (uint64_t i = 4; i <= 6; ++i) Send(10 * i, absl::StrCat("doc", i));
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 3; }));
  bank().Release(1);  // document 6: the two before it wait
  EXPECT_EQ(ReadResult().sequence(), 60U);
  Break();
  bank().ReleaseAll();

  OpenSession("s");
  EXPECT_EQ(started_.resume_after(), 30U);
  for (uint64_t i = 4; i <= 7; ++i) Send(10 * i, absl::StrCat("doc", i));
  stream_->WritesDone();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  EXPECT_EQ(rest_.back().summary().deduplicated(), 3);
  EXPECT_EQ(rest_.back().summary().stored(), 1);
  EXPECT_EQ(bank().Stats().num_documents, 7);

  OpenSession("s");
  EXPECT_EQ(started_.resume_after(), 70U);
  Break();
  OpenSession("another");
  EXPECT_FALSE(started_.has_resume_after());
}

TEST_F(IngestSessionTest, RefusedDocumentsHaveHadTheirResultToo) {
  OpenSession("s");
  Send(1, "fine");
  Send(2, "");
  ReadResult();
  ReadResult();
  ASSERT_TRUE(WaitUntil([this] {
    Break();
    OpenSession("s");
    return started_.resume_after() == 2;
  }));
}

TEST_F(IngestSessionTest, StreamsWithoutASessionAreNotRemembered) {
  OpenSession("");
  Send(1, "one");
  ReadResult();
  Break();
  OpenSession("");
  EXPECT_FALSE(started_.has_resume_after());
}

TEST_F(IngestSessionTest, ABankThatWasMadeAgainKnowsNoSession) {
  OpenSession("s");
  Send(1, "one");
  ReadResult();
  stream_->WritesDone();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  v1::DeleteBankRequest remove;
  remove.set_bank("b");
  remove.set_force(true);
  v1::DeleteBankResponse removed;
  grpc::ClientContext context;
  ASSERT_TRUE(memory().DeleteBank(&context, remove, &removed).ok());
  ASSERT_TRUE(engine().banks().Create("b", {}).ok());
  OpenSession("s");
  EXPECT_FALSE(started_.has_resume_after());
}

TEST_F(IngestSessionTest, LongSessionIdsAreRefused) {
  Open(v1::INGEST_MODE_UNSPECIFIED, "b", std::string(128, 's'));
  EXPECT_TRUE(Read().has_started());
  Open(v1::INGEST_MODE_UNSPECIFIED, "b", std::string(129, 's'));
  const CallError error = End();
  EXPECT_EQ(error.field, "start.session_id");
  EXPECT_THAT(error.message, HasSubstr("allowed are 128"));
}

}  // namespace
}  // namespace msa::server
