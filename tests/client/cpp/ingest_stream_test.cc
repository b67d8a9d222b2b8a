#include "client/cpp/ingest_stream.h"

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/error_details.h"
#include "gtest/gtest.h"
#include "tests/client/cpp/fake_server.h"

namespace msa::client {
namespace {

using Stream = FakeServer::IngestServerStream;

v1::IngestDocument Document(int i) {
  v1::IngestDocument document;
  document.set_document_id("doc-" + std::to_string(i));
  document.set_text("text " + std::to_string(i));
  return document;
}

v1::IngestDocumentsResponse ResultOf(const v1::IngestDocument& document) {
  v1::IngestDocumentsResponse response;
  response.mutable_result()->set_sequence(document.sequence());
  response.mutable_result()->set_document_id(document.document_id());
  response.mutable_result()->set_tokens(10);
  return response;
}

class IngestStreamTest : public testing::Test {
 protected:
  IngestStreamTest() {
    ClientOptions options;
    options.server = server_.address();
    options.retry.first_wait = absl::Milliseconds(1);
    client_ = *Client::Create(options);
    ingest_.bank = "b";
    on_result_ = [this](int64_t index, const v1::IngestResult& result) {
      std::lock_guard<std::mutex> lock(mutex_);
      EXPECT_TRUE(results_.emplace(index, result).second) << "a second result for " << index;
    };
  }

  // The ids in the order of Add.
  void ExpectAllResults(int count) {
    std::lock_guard<std::mutex> lock(mutex_);
    ASSERT_EQ(results_.size(), static_cast<size_t>(count));
    for (const auto& [index, result] : results_) {
      EXPECT_EQ(result.document_id(), "doc-" + std::to_string(index));
    }
  }

  FakeServer server_;
  std::unique_ptr<Client> client_;
  IngestOptions ingest_;
  IngestStream::ResultCallback on_result_;
  std::mutex mutex_;
  std::map<int64_t, v1::IngestResult> results_;  // guarded by mutex_
};

TEST_F(IngestStreamTest, EveryDocumentGetsItsResultAndCounts) {
  server_.on_ingest = [](Stream* stream) {
    v1::IngestDocumentsRequest request;
    EXPECT_TRUE(stream->Read(&request) && request.start().bank() == "b");
    for (int i = 0; stream->Read(&request); ++i) {
      v1::IngestDocumentsResponse response = ResultOf(request.document());
      if (i % 3 == 1) response.mutable_result()->set_deduplicated(true);
      if (i % 3 == 2) {
        *response.mutable_result()->mutable_error() =
            RpcStatus(grpc::StatusCode::ALREADY_EXISTS, "taken");
      }
      stream->Write(response);
    }
    return grpc::Status::OK;
  };
  IngestStream stream(client_.get(), ingest_, on_result_);
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(stream.Add(Document(i)).ok());
  ASSERT_TRUE(stream.Finish().ok());
  ExpectAllResults(300);
  const IngestTotals totals = stream.totals();
  EXPECT_EQ(totals.documents, 300);
  EXPECT_EQ(totals.stored, 100);
  EXPECT_EQ(totals.deduplicated, 100);
  EXPECT_EQ(totals.failed, 100);
  EXPECT_EQ(totals.unknown, 0);
  EXPECT_EQ(totals.tokens, 1000);
}

TEST_F(IngestStreamTest, NoMoreThanTheBoundsAreInFlight) {
  std::atomic<int> most = 0;
  server_.on_ingest = [&](Stream* stream) {
    // Answers only when nothing has come for a while: so the client has sent as much as it dares.
    v1::IngestDocumentsRequest request;
    stream->Read(&request);
    std::mutex mutex;
    std::vector<v1::IngestDocument> waiting;
    std::atomic<bool> done = false;
    std::thread answering([&] {
      while (!done) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        std::lock_guard<std::mutex> lock(mutex);
        most = std::max<int>(most, static_cast<int>(waiting.size()));
        for (const v1::IngestDocument& document : waiting) stream->Write(ResultOf(document));
        waiting.clear();
      }
    });
    while (stream->Read(&request)) {
      std::lock_guard<std::mutex> lock(mutex);
      waiting.push_back(request.document());
    }
    done = true;
    answering.join();
    return grpc::Status::OK;
  };
  ingest_.max_in_flight_documents = 7;
  {
    IngestStream stream(client_.get(), ingest_, on_result_);
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(stream.Add(Document(i)).ok());
    ASSERT_TRUE(stream.Finish().ok());
    ExpectAllResults(50);
    EXPECT_LE(most, 7);
    EXPECT_GE(most, 2);
  }
  most = 0;
  results_.clear();
  ingest_.max_in_flight_documents = 1000;
  ingest_.max_in_flight_bytes = 3;  // less than one text: one at a time
  IngestStream stream(client_.get(), ingest_, on_result_);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(stream.Add(Document(i)).ok());
  ASSERT_TRUE(stream.Finish().ok());
  ExpectAllResults(5);
  EXPECT_EQ(most, 1);
}

TEST_F(IngestStreamTest, DocumentsAreSentAgainWhenTheServerAsks) {
  std::atomic<int> refused = 0;
  server_.on_ingest = [&](Stream* stream) {
    v1::IngestDocumentsRequest request;
    stream->Read(&request);
    std::set<std::string> seen;
    uint64_t last_sequence = 0;
    while (stream->Read(&request)) {
      EXPECT_GT(request.document().sequence(), last_sequence);
      last_sequence = request.document().sequence();
      v1::IngestDocumentsResponse response = ResultOf(request.document());
      if (seen.insert(request.document().document_id()).second) {
        ++refused;
        *response.mutable_result()->mutable_error() =
            RpcStatusWithRetryInfo(grpc::StatusCode::RESOURCE_EXHAUSTED, 5);
      }
      stream->Write(response);
    }
    return grpc::Status::OK;
  };
  IngestStream stream(client_.get(), ingest_, on_result_);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(stream.Add(Document(i)).ok());
  ASSERT_TRUE(stream.Finish().ok());
  ExpectAllResults(20);
  EXPECT_EQ(refused, 20);
  EXPECT_EQ(stream.totals().stored, 20);
}

TEST_F(IngestStreamTest, BrokenStreamIsOpenedAgainAndNothingIsLost) {
  std::atomic<int> streams = 0;
  server_.on_ingest = [&](Stream* stream) {
    const bool breaks = ++streams < 4;
    v1::IngestDocumentsRequest request;
    EXPECT_TRUE(stream->Read(&request) && request.has_start());
    for (int i = 0; stream->Read(&request); ++i) {
      if (breaks && i == 10) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
      if (!breaks || i % 2 == 0) stream->Write(ResultOf(request.document()));
    }
    return grpc::Status::OK;
  };
  IngestStream stream(client_.get(), ingest_, on_result_);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(stream.Add(Document(i)).ok());
  ASSERT_TRUE(stream.Finish().ok());
  ExpectAllResults(100);
  EXPECT_EQ(streams, 4);
  EXPECT_EQ(stream.totals().stored, 100);
}

TEST_F(IngestStreamTest, FinalErrorEndsTheStreamAndCountsWhatIsUnknown) {
  server_.on_ingest = [](Stream* stream) {
    v1::IngestDocumentsRequest request;
    stream->Read(&request);
    stream->Read(&request);
    stream->Write(ResultOf(request.document()));
    stream->Read(&request);
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no bank b");
  };
  IngestStream stream(client_.get(), ingest_, on_result_);
  absl::Status status;
  int added = 0;
  while (status.ok() && added < 100000) {
    status = stream.Add(Document(added));
    if (status.ok()) ++added;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(stream.Add(Document(0)).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(stream.Finish().code(), absl::StatusCode::kNotFound);
  const IngestTotals totals = stream.totals();
  EXPECT_EQ(totals.documents, added);
  EXPECT_EQ(totals.stored, 1);
  EXPECT_EQ(totals.unknown, added - 1);
}

TEST_F(IngestStreamTest, WithoutDocumentsTheServersWordCounts) {
  server_.on_ingest = [](Stream*) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no bank b");
  };
  IngestStream refused(client_.get(), ingest_, on_result_);
  EXPECT_EQ(refused.Finish().code(), absl::StatusCode::kNotFound);
  server_.on_ingest = [](Stream* stream) {
    v1::IngestDocumentsRequest request;
    while (stream->Read(&request)) {
    }
    return grpc::Status::OK;
  };
  IngestStream welcome(client_.get(), ingest_, on_result_);
  EXPECT_TRUE(welcome.Finish().ok());
}

TEST_F(IngestStreamTest, SilentServerIsDeadlineExceeded) {
  server_.on_ingest = [](Stream* stream) {
    v1::IngestDocumentsRequest request;
    while (stream->Read(&request)) {
    }
    return grpc::Status::OK;
  };
  ingest_.progress_timeout = absl::Milliseconds(100);
  IngestStream stream(client_.get(), ingest_, on_result_);
  ASSERT_TRUE(stream.Add(Document(0)).ok());
  const absl::Status status = stream.Finish();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(status.message(), "no result came for 100ms, with 1 documents on their way");
  EXPECT_EQ(stream.totals().unknown, 1);
}

TEST_F(IngestStreamTest, CancelEndsAWaitingStream) {
  std::atomic<bool> entered = false;
  server_.on_ingest = [&](Stream* stream) {
    v1::IngestDocumentsRequest request;
    while (stream->Read(&request)) entered = request.has_document();
    return grpc::Status::OK;
  };
  IngestStream stream(client_.get(), ingest_, on_result_);
  ASSERT_TRUE(stream.Add(Document(0)).ok());
  std::thread other([&] {
    while (!entered) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    client_->Cancel();
  });
  EXPECT_EQ(stream.Finish().code(), absl::StatusCode::kCancelled);
  other.join();
}

TEST_F(IngestStreamTest, LongTextsGoInParts) {
  std::string text;
  std::vector<int64_t> offsets;
  server_.on_ingest = [&](Stream* stream) {
    v1::IngestDocumentsRequest request;
    stream->Read(&request);
    while (stream->Read(&request)) {
      EXPECT_TRUE(request.has_part());
      EXPECT_EQ(request.part().sequence(), 1U);
      offsets.push_back(request.part().offset());
      EXPECT_EQ(request.part().document_id(), offsets.size() == 1 ? "doc-0" : "");
      EXPECT_EQ(request.part().metadata_size(), offsets.size() == 1 ? 1 : 0);
      text += request.part().text();
      if (!request.part().last()) continue;
      v1::IngestDocument document = Document(0);
      document.set_sequence(1);
      stream->Write(ResultOf(document));
    }
    return grpc::Status::OK;
  };
  v1::IngestDocument document = Document(0);
  for (int i = 0; i < 500'000; ++i) document.mutable_text()->append(std::to_string(i % 10) + "é");
  (*document.mutable_metadata())["n"].set_number_value(1);
  const std::string expected = document.text();
  IngestStream stream(client_.get(), ingest_, on_result_);
  ASSERT_TRUE(stream.Add(std::move(document)).ok());
  ASSERT_TRUE(stream.Finish().ok());
  ExpectAllResults(1);
  EXPECT_EQ(offsets, (std::vector<int64_t>{0, 1 << 20}));
  EXPECT_EQ(text, expected);
}

TEST_F(IngestStreamTest, ASessionGoesOnAfterWhatWasDoneAndKeepsItsPlaces) {
  std::atomic<int> streams = 0;
  server_.on_ingest = [&](Stream* stream) {
    const bool breaks = ++streams == 1;
    v1::IngestDocumentsRequest request;
    EXPECT_TRUE(stream->Read(&request) && request.start().session_id() == "s");
    v1::IngestDocumentsResponse started;
    started.mutable_started()->set_resume_after(breaks ? 40 : 45);
    stream->Write(started);
    for (int i = 0; stream->Read(&request); ++i) {
      if (breaks && i == 10) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
      EXPECT_EQ("doc-" + std::to_string(request.document().sequence() - 41),
                request.document().document_id());
      if (!breaks || i % 2 == 0) stream->Write(ResultOf(request.document()));
    }
    return grpc::Status::OK;
  };
  ingest_.session_id = "s";
  IngestStream stream(client_.get(), ingest_, on_result_);
  const absl::StatusOr<int64_t> resume_after = stream.ResumeAfter();
  ASSERT_TRUE(resume_after.ok()) << resume_after.status();
  EXPECT_EQ(*resume_after, 40);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(stream.Add(Document(i)).ok());
  ASSERT_TRUE(stream.Finish().ok());
  ExpectAllResults(50);
  EXPECT_EQ(streams, 2);
}

TEST_F(IngestStreamTest, InASessionARefusalIsFinal) {
  server_.on_ingest = [&](Stream* stream) {
    v1::IngestDocumentsRequest request;
    stream->Read(&request);
    while (stream->Read(&request)) {
      v1::IngestDocumentsResponse response = ResultOf(request.document());
      *response.mutable_result()->mutable_error() =
          RpcStatusWithRetryInfo(grpc::StatusCode::RESOURCE_EXHAUSTED, 5);
      stream->Write(response);
    }
    return grpc::Status::OK;
  };
  ingest_.session_id = "s";
  IngestStream stream(client_.get(), ingest_, on_result_);
  ASSERT_TRUE(stream.Add(Document(0)).ok());
  ASSERT_TRUE(stream.Finish().ok());
  EXPECT_EQ(stream.totals().failed, 1);
}

TEST_F(IngestStreamTest, ABankWithoutRoomIsNoSilentServer) {
  server_.on_ingest = [](Stream* stream) {
    v1::IngestDocumentsRequest request;
    stream->Read(&request);
    stream->Read(&request);
    for (int i = 0; i < 10; ++i) {
      v1::IngestDocumentsResponse throttle;
      throttle.mutable_throttle();
      stream->Write(throttle);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    stream->Write(ResultOf(request.document()));
    while (stream->Read(&request)) {
    }
    return grpc::Status::OK;
  };
  ingest_.progress_timeout = absl::Milliseconds(250);
  IngestStream stream(client_.get(), ingest_, on_result_);
  ASSERT_TRUE(stream.Add(Document(0)).ok());
  EXPECT_TRUE(stream.Finish().ok());
  ExpectAllResults(1);
}

TEST_F(IngestStreamTest, AbandonedStreamEndsItsCall) {
  std::atomic<bool> ended = false;
  server_.on_ingest = [&](Stream* stream) {
    v1::IngestDocumentsRequest request;
    while (stream->Read(&request)) {
    }
    ended = true;
    return grpc::Status::OK;
  };
  {
    IngestStream stream(client_.get(), ingest_, on_result_);
    ASSERT_TRUE(stream.Add(Document(0)).ok());
  }
  for (int i = 0; i < 1000 && !ended; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace msa::client
