// Documents that come in parts, through the server.
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/server/ingest_fixture.h"

namespace msa::server {
namespace {

using ::testing::HasSubstr;

class IngestPartsTest : public IngestStreamTest {
 protected:
  static v1::IngestDocumentsRequest Part(uint64_t sequence, int64_t offset, const std::string& text,
                                         bool last = false) {
    v1::IngestDocumentsRequest request;
    request.mutable_part()->set_sequence(sequence);
    request.mutable_part()->set_offset(offset);
    request.mutable_part()->set_text(text);
    request.mutable_part()->set_last(last);
    return request;
  }
  void SendPart(uint64_t sequence, const std::string& id, int64_t offset, const std::string& text,
                bool last = false) {
    v1::IngestDocumentsRequest request = Part(sequence, offset, text, last);
    request.mutable_part()->set_document_id(id);
    stream_->Write(request);
  }
  // How a stream with these parts ends.
  CallError Refused(const std::vector<v1::IngestDocumentsRequest>& messages) {
    Open();
    EXPECT_TRUE(Read().has_started());
    for (const auto& message : messages) stream_->Write(message);
    stream_->WritesDone();
    return End();
  }
};

TEST_F(IngestPartsTest, PartsMakeOneDocument) {
  Open();
  ASSERT_TRUE(Read().has_started());
  Send(1, "before");
  v1::IngestDocumentsRequest first = Part(2, 0, "caf\xc3");  // within a character
  first.mutable_part()->set_document_id("cut");
  (*first.mutable_part()->mutable_metadata())["page"].set_number_value(3);
  stream_->Write(first);
  SendPart(2, "cut", 4, "\xa9 ");  // the id may be repeated
  stream_->Write(Part(2, 6, ""));
  stream_->Write(Part(2, 6, "au lait", /*last=*/true));
  Send(3, "after");
  SendPart(4, "whole", 0, "in one part", /*last=*/true);
  stream_->WritesDone();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  EXPECT_EQ(rest_.back().summary().stored(), 4);
  const auto stored = bank().Get("cut", true);
  ASSERT_TRUE(stored.ok());
  EXPECT_EQ(stored->text, "caf\xc3\xa9 au lait");
  EXPECT_EQ(std::get<double>(stored->metadata.at("page")), 3);
  EXPECT_EQ(stored->number, 2U);
  EXPECT_EQ(bank().Get("whole", true)->text, "in one part");
}

TEST_F(IngestPartsTest, PartsThatMakeNoDocumentEndTheStream) {
  const auto expect = [](const CallError& error, const std::string& field) {
    EXPECT_EQ(error.code, grpc::StatusCode::INVALID_ARGUMENT) << error.message;
    EXPECT_EQ(error.reason, "INVALID_SEQUENCE");
    EXPECT_EQ(error.field, field) << error.message;
  };
  expect(Refused({Part(1, 3, "abc")}), "part.offset");
  expect(Refused({Part(1, -1, "abc")}), "part.offset");
  expect(Refused({Part(1, 0, "abc"), Part(1, 4, "d")}), "part.offset");
  expect(Refused({Part(1, 0, "abc"), Part(1, 2, "d")}), "part.offset");
  expect(Refused({Part(1, 0, "abc"), Part(2, 0, "d")}), "part.sequence");
  expect(Refused({Part(1, 0, "abc"), Document(2, "x", "y")}), "document");
  expect(Refused({Document(5, "x", "y"), Part(5, 0, "abc")}), "part.sequence");
  expect(Refused({Part(1, 0, "abc")}), "part");  // the stream ends within the document
  v1::IngestDocumentsRequest first = Part(1, 0, "abc"), other = Part(1, 3, "d");
  first.mutable_part()->set_document_id("x");
  other.mutable_part()->set_document_id("y");
  expect(Refused({first, other}), "part.document_id");
  other.mutable_part()->clear_document_id();
  (*other.mutable_part()->mutable_metadata())["n"].set_number_value(1);
  expect(Refused({first, other}), "part.metadata");
  EXPECT_THAT(Refused({Part(1, 0, "abc"), Part(1, 7, "d")}).message,
              HasSubstr("part.offset is 7 in document 1; the next part starts at 3"));

  grpc::ClientContext context;
  const auto stream = memory().IngestDocuments(&context);
  stream->Write(Part(1, 0, "abc"));
  EXPECT_THAT(ErrorOf(stream->Finish()).message, HasSubstr("before start"));
}

TEST_F(IngestPartsTest, BadDocumentsInPartsAreRefusedAndTheStreamGoesOn) {
  Open();
  ASSERT_TRUE(Read().has_started());
  SendPart(1, "broken", 0, "caf\xc3");
  stream_->Write(Part(1, 4, "!", /*last=*/true));
  CallError error = ErrorOf(ReadResult().error());
  EXPECT_EQ(error.reason, "INVALID_UTF8");
  EXPECT_EQ(error.field, "document.text");
  EXPECT_THAT(error.message, HasSubstr("at byte 3"));

  SendPart(2, "", 0, "no id", /*last=*/true);
  EXPECT_EQ(ErrorOf(ReadResult().error()).field, "document.document_id");
  SendPart(3, "empty", 0, "", /*last=*/true);
  EXPECT_EQ(ErrorOf(ReadResult().error()).reason, "MISSING_FIELD");
  SendPart(4, "id \xff", 0, "text");
  stream_->Write(Part(4, 4, " of a bad id", /*last=*/true));
  v1::IngestResult result = ReadResult();
  EXPECT_EQ(ErrorOf(result.error()).reason, "INVALID_UTF8");
  EXPECT_EQ(result.sequence(), 4U);

  SendPart(5, "good", 0, "text", /*last=*/true);
  EXPECT_FALSE(ReadResult().has_error());
  stream_->WritesDone();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  EXPECT_EQ(rest_.back().summary().failed(), 4);
}

// Twice the limit of the window and of documents in all; what is over is counted, not kept.
TEST_F(IngestPartsTest, DocumentsThatAreTooLongAreCountedAndRefused) {
  Open();
  ASSERT_TRUE(Read().has_started());
  constexpr int64_t kPart = 10'000;
  constexpr int kParts = 30;
  for (int i = 0; i < kParts; ++i) {
    SendPart(1, "long", i * kPart, std::string(kPart, 'x'), i + 1 == kParts);
  }
  const CallError error = ErrorOf(ReadResult().error());
  EXPECT_EQ(error.reason, "DOCUMENT_TOO_LARGE");
  EXPECT_EQ(error.metadata.at("limit"), "65536");
  EXPECT_EQ(error.metadata.at("actual"), "300000");
  stream_->WritesDone();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
}

TEST_F(IngestPartsTest, ADocumentLongerThanTheWindowComesThroughOnItsOwn) {
  ServerOptions options = TestOptions();
  options.limits.max_in_flight_documents = 1;
  options.limits.max_in_flight_bytes = 1 << 10;
  StartServer(options);
  bank().Hold();
  Open();
  ASSERT_TRUE(Read().has_started());
  std::thread writer([this] {
    Send(1, "short");
    for (int i = 0; i < 6; ++i) SendPart(2, "long", i * 10'000, std::string(10'000, 'x'), i == 5);
    Send(3, "short too");
    stream_->WritesDone();
  });
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(bank().num_held(), 1U);
  bank().ReleaseAll();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  EXPECT_EQ(rest_.back().summary().stored(), 3);
  EXPECT_EQ(bank().Get("long", true)->text.size(), 60'000U);
  writer.join();
}

TEST_F(IngestPartsTest, PartsCountAsInFlight) {
  bank().Hold();
  Open();
  ASSERT_TRUE(Read().has_started());
  std::thread writer([this] {
    Send(1, "one", std::string(1000, 'x'));
    SendPart(2, "two", 0, std::string(40'000, 'x'));
    stream_->Write(Part(2, 40'000, "", /*last=*/true));
    stream_->WritesDone();
  });
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(bank().num_held(), 1U);  // 41,000 bytes are over the window: the last part waits
  bank().Release(1);
  EXPECT_EQ(ReadResult().document_id(), "one");
  ASSERT_TRUE(WaitUntil([this] { return bank().num_held() == 1; }));
  bank().ReleaseAll();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  writer.join();
}

TEST_F(IngestPartsTest, DrainWithinADocumentEndsTheStreamAtOnce) {
  Open();
  ASSERT_TRUE(Read().has_started());
  Send(1, "whole");
  ReadResult();
  SendPart(2, "half", 0, "text");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  std::thread drain([this] { server().Drain(absl::Seconds(20)); });
  EXPECT_EQ(End().reason, "DRAINING");
  drain.join();
  EXPECT_EQ(bank().Stats().num_documents, 1);
}

}  // namespace
}  // namespace msa::server
