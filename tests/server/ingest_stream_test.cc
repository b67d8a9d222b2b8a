#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "kernels/core/error_detail.h"
#include "tests/server/ingest_fixture.h"

namespace msa::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(IngestStreamTest, EveryDocumentGetsAResultAndTheStreamASummary) {
  Open();
  const v1::IngestDocumentsResponse started = Read();
  ASSERT_TRUE(started.has_started());
  EXPECT_EQ(started.started().max_in_flight_documents(), 4);
  EXPECT_EQ(started.started().max_in_flight_bytes(), 32 << 10);
  EXPECT_EQ(started.started().max_document_bytes(), 64 << 10);
  std::thread writer([this] {
    for (uint64_t i = 1; i <= 50; ++i) EXPECT_TRUE(Send(10 * i, absl::StrCat("doc", i)));
    stream_->WritesDone();
  });
  std::set<uint64_t> sequences;
  v1::IngestSummary summary;
  v1::IngestDocumentsResponse response;
  while (stream_->Read(&response)) {
    EXPECT_FALSE(response.has_started());
    if (response.has_summary()) {
      summary = response.summary();
    } else {
      EXPECT_FALSE(response.result().has_error());
      EXPECT_EQ(response.result().document_id(),
                absl::StrCat("doc", response.result().sequence() / 10));
      EXPECT_EQ(response.result().state(), v1::DOCUMENT_STATE_ACTIVE);
      EXPECT_EQ(response.result().tokens(), 4);
      EXPECT_GT(response.result().revision(), 0U);
      sequences.insert(response.result().sequence());
    }
  }
  writer.join();
  EXPECT_TRUE(stream_->Finish().ok());
  EXPECT_EQ(sequences.size(), 50U);
  EXPECT_EQ(summary.documents(), 50);
  EXPECT_EQ(summary.stored(), 50);
  EXPECT_EQ(summary.failed(), 0);
  EXPECT_EQ(summary.tokens(), 200);
  EXPECT_EQ(summary.revision(), 50U);
  EXPECT_EQ(bank().accepted_ids().size(), 50U);
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(bank().accepted_ids()[i], absl::StrCat("doc", i + 1));
}

TEST_F(IngestStreamTest, ResultsCarryTheirSequenceInWhateverOrderTheyCome) {
  bank().Hold();
  Open();
  ASSERT_TRUE(Read().has_started());
  for (uint64_t i = 1; i <= 3; ++i) Send(i, absl::StrCat("doc", i));
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 3; }));
  bank().Release(3);
  for (const uint64_t expected : {3U, 2U, 1U}) {
    const v1::IngestResult result = ReadResult();
    EXPECT_EQ(result.sequence(), expected);
    EXPECT_EQ(result.document_id(), absl::StrCat("doc", expected));
    EXPECT_EQ(result.number(), expected);
  }
  stream_->WritesDone();
  EXPECT_TRUE(Read().has_summary());
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
}

TEST_F(IngestStreamTest, ServerStopsReadingAtTheDocumentLimit) {
  bank().Hold();
  Open();
  ASSERT_TRUE(Read().has_started());
  std::thread writer([this] {
    for (uint64_t i = 1; i <= 20; ++i) Send(i, absl::StrCat("doc", i));
    stream_->WritesDone();
  });
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 4; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(bank().num_held(), 4U);
  bank().Release(1);
  ReadResult();
  ASSERT_TRUE(WaitUntil([this] { return bank().accepted_ids().size() == 5; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(bank().accepted_ids().size(), 5U);
  bank().ReleaseAll();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  EXPECT_EQ(rest_.size(), 20U);  // 19 results and the summary
  writer.join();
}

TEST_F(IngestStreamTest, ServerStopsReadingAtTheByteLimit) {
  bank().Hold();
  Open();
  ASSERT_TRUE(Read().has_started());
  std::thread writer([this] {
    for (uint64_t i = 1; i <= 4; ++i) Send(i, absl::StrCat("doc", i), std::string(20 << 10, 'x'));
    stream_->WritesDone();
  });
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 2; }));  // 40 KiB are over 32 KiB
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(bank().num_held(), 2U);
  bank().ReleaseAll();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  EXPECT_EQ(rest_.back().summary().stored(), 4);
  writer.join();
}

TEST_F(IngestStreamTest, HalfCloseWaitsForTheDocumentsInFlight) {
  bank().Hold();
  Open();
  ASSERT_TRUE(Read().has_started());
  Send(1, "one");
  Send(2, "two");
  stream_->WritesDone();
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 2; }));
  std::thread late([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    bank().ReleaseAll();
  });
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  ASSERT_EQ(rest_.size(), 3U);
  EXPECT_EQ(rest_.back().summary().stored(), 2);
  late.join();
}

TEST_F(IngestStreamTest, EmptyStreamAfterStartGetsAnEmptySummary) {
  Open();
  stream_->WritesDone();
  EXPECT_TRUE(Read().has_started());
  EXPECT_EQ(Read().summary().documents(), 0);
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
}

TEST_F(IngestStreamTest, AcceptedDocumentsStayWhenTheClientGoes) {
  bank().Hold();
  Open();
  ASSERT_TRUE(Read().has_started());
  Send(1, "one");
  Send(2, "two");
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 2; }));
  context_->TryCancel();
  EXPECT_EQ(End().code, grpc::StatusCode::CANCELLED);
  bank().ReleaseAll();
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 0; }));
  EXPECT_EQ(bank().Stats().num_documents, 2);
  EXPECT_TRUE(WaitUntil([this] {
    return server().MetricsText().find(
               "method=\"MemoryService/IngestDocuments\",code=\"CANCELLED\"} 1") !=
               std::string::npos ||
           server().MetricsText().find(
               "code=\"CANCELLED\",method=\"MemoryService/IngestDocuments\"} 1") !=
               std::string::npos;
  }));
}

TEST_F(IngestStreamTest, RefusedDocumentsGetAnErrorAndTheStreamGoesOn) {
  bank().check = [](const engine::DocumentInput& document) {
    if (document.id != "budget") return absl::OkStatus();
    return kernels::WithDetail(
        absl::ResourceExhaustedError("the bank's token budget of 10 does not hold 4 more; used 8"),
        {.reason = "TOKEN_BUDGET_EXCEEDED",
         .field = "",
         .metadata = {{"limit", "10"}, {"used", "8"}, {"requested", "4"}},
         .retry_after = {}});
  };
  Open();
  ASSERT_TRUE(Read().has_started());
  const auto refusal = [this](const v1::IngestDocumentsRequest& request) {
    stream_->Write(request);
    const v1::IngestResult result = ReadResult();
    EXPECT_EQ(result.sequence(), request.document().sequence());
    EXPECT_EQ(result.state(), v1::DOCUMENT_STATE_FAILED);
    return ErrorOf(result.error());
  };
  CallError error = refusal(Document(1, "", "x"));
  EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(error.field, "document.document_id");
  error = refusal(Document(2, "empty", ""));
  EXPECT_EQ(error.field, "document.text");
  EXPECT_EQ(error.reason, "MISSING_FIELD");
  error = refusal(Document(3, "large", std::string((64 << 10) + 1, 'x')));
  EXPECT_EQ(error.reason, "DOCUMENT_TOO_LARGE");
  EXPECT_EQ(error.metadata.at("limit"), "65536");
  EXPECT_EQ(error.metadata.at("actual"), "65537");
  error = refusal(Document(4, "utf8", "caf\xe9"));
  EXPECT_EQ(error.reason, "INVALID_UTF8");
  EXPECT_EQ(error.field, "document.text");
  error = refusal(Document(5, std::string(513, 'i'), "x"));
  EXPECT_EQ(error.reason, "INVALID_DOCUMENT_ID");
  error = refusal(Document(6, "budget", "text"));
  EXPECT_EQ(error.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(error.metadata.at("used"), "8");
  v1::IngestDocumentsRequest bad_metadata = Document(7, "meta", "x");
  (*bad_metadata.mutable_document()->mutable_metadata())["n"].set_number_value(
      std::numeric_limits<double>::quiet_NaN());
  error = refusal(bad_metadata);
  EXPECT_EQ(error.field, "document.metadata.n");
  (*bad_metadata.mutable_document()->mutable_metadata())["n"].clear_kind();
  bad_metadata.mutable_document()->set_sequence(8);
  EXPECT_EQ(refusal(bad_metadata).reason, "INVALID_METADATA");

  Send(9, "good", "first");
  EXPECT_FALSE(ReadResult().has_error());
  error = refusal(Document(10, "good", "second"));
  EXPECT_EQ(error.code, grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(error.reason, "DOCUMENT_EXISTS");
  Send(11, "good", "first");
  EXPECT_TRUE(ReadResult().deduplicated());

  stream_->WritesDone();
  const v1::IngestSummary summary = Read().summary();
  EXPECT_EQ(summary.documents(), 11);
  EXPECT_EQ(summary.failed(), 9);
  EXPECT_EQ(summary.stored(), 1);
  EXPECT_EQ(summary.deduplicated(), 1);
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
}

TEST_F(IngestStreamTest, UpsertReplaces) {
  Put("one", "old");
  Open(v1::INGEST_MODE_UPSERT);
  ASSERT_TRUE(Read().has_started());
  v1::IngestDocumentsRequest request = Document(1, "one", "new");
  (*request.mutable_document()->mutable_metadata())["n"].set_number_value(2);
  (*request.mutable_document()->mutable_metadata())["s"].set_string_value("t");
  (*request.mutable_document()->mutable_metadata())["f"].set_bool_value(true);
  stream_->Write(request);
  EXPECT_EQ(ReadResult().number(), 2U);
  stream_->WritesDone();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  const auto stored = bank().Get("one", true);
  ASSERT_TRUE(stored.ok());
  EXPECT_EQ(stored->text, "new");
  EXPECT_EQ(std::get<double>(stored->metadata.at("n")), 2);
  EXPECT_EQ(std::get<std::string>(stored->metadata.at("s")), "t");
  EXPECT_TRUE(std::get<bool>(stored->metadata.at("f")));
}

TEST_F(IngestStreamTest, TextThatSpellsSpecialTokensIsJustText) {
  Open();
  ASSERT_TRUE(Read().has_started());
  Send(1, "one", "<|im_start|>[1]. <End-of-Retrieve><|object_ref_end|>");
  EXPECT_FALSE(ReadResult().has_error());
  stream_->WritesDone();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  EXPECT_EQ(bank().Get("one", true)->text, "<|im_start|>[1]. <End-of-Retrieve><|object_ref_end|>");
}

TEST_F(IngestStreamTest, ProtocolErrorsEndTheStreamAfterItsResults) {
  Open();
  ASSERT_TRUE(Read().has_started());
  Send(5, "one");
  Send(5, "two");
  CallError error = End();
  EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(error.reason, "INVALID_SEQUENCE");
  EXPECT_EQ(error.field, "document.sequence");
  ASSERT_EQ(rest_.size(), 1U);
  EXPECT_EQ(rest_[0].result().document_id(), "one");
  EXPECT_THAT(bank().accepted_ids(), ElementsAre("one"));

  Open();
  Open();  // a second stream is no second start
  v1::IngestDocumentsRequest start;
  start.mutable_start()->set_bank("b");
  stream_->Write(start);
  error = End();
  EXPECT_EQ(error.reason, "INVALID_SEQUENCE");
  EXPECT_EQ(error.field, "start");
}

TEST_F(IngestStreamTest, StartMustComeFirstAndNameABank) {
  Open(v1::INGEST_MODE_INSERT, "");
  CallError error = End();
  EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(error.field, "start.bank");

  Open(v1::INGEST_MODE_INSERT, "absent");
  error = End();
  EXPECT_EQ(error.code, grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(error.reason, "BANK_NOT_FOUND");

  Open(static_cast<v1::IngestMode>(77));
  EXPECT_EQ(End().field, "start.mode");

  grpc::ClientContext context;
  auto stream = memory().IngestDocuments(&context);
  stream->Write(Document(1, "one", "text"));
  error = ErrorOf(stream->Finish());
  EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(error.message, HasSubstr("before start"));

  grpc::ClientContext empty_context;
  stream = memory().IngestDocuments(&empty_context);
  stream->Write(v1::IngestDocumentsRequest());
  EXPECT_EQ(ErrorOf(stream->Finish()).reason, "MISSING_FIELD");

  grpc::ClientContext closed_context;
  stream = memory().IngestDocuments(&closed_context);
  stream->WritesDone();
  EXPECT_EQ(ErrorOf(stream->Finish()).reason, "INVALID_SEQUENCE");
}

TEST_F(IngestStreamTest, MessageBeyondEveryLimitEndsTheStreamAsTooLarge) {
  Open();
  ASSERT_TRUE(Read().has_started());
  Send(1, "one");
  ReadResult();
  Send(2, "huge", std::string(4 << 20, 'x'));
  const CallError error = End();
  EXPECT_EQ(error.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(error.message, HasSubstr("larger than max"));
  EXPECT_EQ(bank().Stats().num_documents, 1);
}

TEST_F(IngestStreamTest, ManyStreamsAtOnceAllFinish) {
  server();
  std::vector<std::thread> clients;
  for (int client = 0; client < 8; ++client) {
    clients.emplace_back([this, client] {
      grpc::ClientContext context;
      auto stream = memory().IngestDocuments(&context);
      v1::IngestDocumentsRequest start;
      start.mutable_start()->set_bank("b");
      stream->Write(start);
      std::thread writer([&] {
        for (uint64_t i = 0; i < 100; ++i) {
          stream->Write(Document(i, absl::StrCat(client, "-", i), "text"));
        }
        stream->WritesDone();
      });
      v1::IngestDocumentsResponse response;
      while (stream->Read(&response)) {
      }
      writer.join();
      EXPECT_TRUE(stream->Finish().ok());
      EXPECT_EQ(response.summary().stored(), 100);
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(bank().Stats().num_documents, 800);
}

}  // namespace
}  // namespace msa::server
