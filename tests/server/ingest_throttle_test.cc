// Banks that have no room for a while.
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "kernels/core/error_detail.h"
#include "tests/server/ingest_fixture.h"

namespace msa::server {
namespace {

using ::testing::ElementsAre;

class IngestThrottleTest : public IngestStreamTest {
 protected:
  static absl::Status Full(absl::Duration retry_after = absl::Milliseconds(50)) {
    return kernels::WithDetail(absl::ResourceExhaustedError("too much waits to be stored"),
                               {.reason = "TOO_MANY_PENDING_DOCUMENTS",
                                .field = "",
                                .metadata = {{"limit", "10"}},
                                .retry_after = retry_after});
  }
  // From document `id` on the bank is full until `room` says otherwise.
  void FillUpAt(const std::string& id) {
    bank().take = [this, id](const engine::DocumentInput& document) {
      if (document.id == id) full_ = true;
      if (!full_ || room_) return absl::OkStatus();
      ++num_refused_;
      return Full();
    };
  }

  std::atomic<bool> full_{false}, room_{false};
  std::atomic<int> num_refused_{0};
};

TEST_F(IngestThrottleTest, ADocumentThatFindsNoRoomIsHeldAndStoredInItsPlace) {
  FillUpAt("doc3");
  Open();
  ASSERT_TRUE(Read().has_started());
  std::thread writer([this] {
    for (uint64_t i = 1; i <= 8; ++i) Send(i, absl::StrCat("doc", i));
    stream_->WritesDone();
  });
  v1::IngestDocumentsResponse throttle = Read();
  int num_results = 0;
  for (; !throttle.has_throttle(); throttle = Read()) ++num_results;
  EXPECT_LE(num_results, 2);
  EXPECT_EQ(throttle.throttle().retry_delay().nanos(), 50'000'000);
  EXPECT_EQ(ErrorOf(throttle.throttle().reason()).reason, "TOO_MANY_PENDING_DOCUMENTS");
  EXPECT_EQ(ErrorOf(throttle.throttle().reason()).code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  // It is tried again by itself, and says so; nothing overtakes it.
  while (!Read().has_throttle()) {
  }
  EXPECT_THAT(bank().accepted_ids(), ElementsAre("doc1", "doc2"));
  room_ = true;
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  EXPECT_EQ(rest_.back().summary().stored(), 8);
  EXPECT_EQ(rest_.back().summary().failed(), 0);
  EXPECT_THAT(bank().accepted_ids(),
              ElementsAre("doc1", "doc2", "doc3", "doc4", "doc5", "doc6", "doc7", "doc8"));
  EXPECT_EQ(bank().Get("doc3", true)->text, "text");
  writer.join();
}

TEST_F(IngestThrottleTest, NothingIsReadWhileADocumentIsHeld) {
  FillUpAt("doc1");
  Open();
  ASSERT_TRUE(Read().has_started());
  std::atomic<int> num_sent{0};
  std::thread writer([&] {
    // More than HTTP/2 takes by itself.
    for (uint64_t i = 1; i <= 1000; ++i, ++num_sent) {
      Send(i, absl::StrCat("doc", i), std::string(60'000, 'x'));
    }
    stream_->WritesDone();
  });
  ASSERT_TRUE(Read().has_throttle());
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(num_sent, 900);
  EXPECT_GE(num_refused_, 2);
  EXPECT_TRUE(bank().accepted_ids().empty());
  room_ = true;
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
  EXPECT_EQ(rest_.back().summary().stored(), 1000);
  writer.join();
}

TEST_F(IngestThrottleTest, OtherRefusalsStayResults) {
  bank().take = [](const engine::DocumentInput& document) {
    if (document.id == "disk") {
      return kernels::WithDetail(
          absl::ResourceExhaustedError("the disk is full"),
          {.reason = "DISK_FULL", .field = "", .metadata = {}, .retry_after = absl::Seconds(1)});
    }
    if (document.id == "forever") {
      return kernels::WithDetail(
          absl::ResourceExhaustedError("too much"),
          {.reason = "TOO_MANY_PENDING_DOCUMENTS", .field = "", .metadata = {}, .retry_after = {}});
    }
    return absl::OkStatus();
  };
  Open();
  ASSERT_TRUE(Read().has_started());
  Send(1, "disk");
  EXPECT_EQ(ErrorOf(ReadResult().error()).reason, "DISK_FULL");
  Send(2, "forever");
  EXPECT_EQ(ErrorOf(ReadResult().error()).reason, "TOO_MANY_PENDING_DOCUMENTS");
  Send(3, "fine");
  EXPECT_FALSE(ReadResult().has_error());
  stream_->WritesDone();
  EXPECT_EQ(End().code, grpc::StatusCode::OK);
}

TEST_F(IngestThrottleTest, ClientThatGoesTakesTheHeldDocumentWithIt) {
  FillUpAt("doc1");
  Open();
  ASSERT_TRUE(Read().has_started());
  Send(1, "doc1");
  ASSERT_TRUE(Read().has_throttle());
  context_->TryCancel();
  EXPECT_EQ(End().code, grpc::StatusCode::CANCELLED);
  room_ = true;
  EXPECT_TRUE(WaitUntil([this] {
    return server().MetricsText().find(
               "msa_grpc_streams{method=\"MemoryService/IngestDocuments\"} 0") != std::string::npos;
  }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(bank().Stats().num_documents, 0);
}

TEST_F(IngestThrottleTest, DrainEndsAStreamThatHoldsADocument) {
  FillUpAt("doc2");
  Open();
  ASSERT_TRUE(Read().has_started());
  Send(1, "doc1");
  EXPECT_FALSE(ReadResult().has_error());
  Send(2, "doc2");
  ASSERT_TRUE(Read().has_throttle());
  std::thread drain([this] { server().Drain(absl::Seconds(20)); });
  EXPECT_EQ(End().reason, "DRAINING");
  drain.join();
  EXPECT_EQ(bank().Stats().num_documents, 1);
}

TEST_F(IngestThrottleTest, ManyStreamsShareABankThatIsOftenFull) {
  std::atomic<int> num_offers{0};
  server();
  bank().take = [&](const engine::DocumentInput&) {
    return ++num_offers % 3 == 0 ? Full(absl::Milliseconds(1)) : absl::OkStatus();
  };
  std::vector<std::thread> clients;
  for (int client = 0; client < 8; ++client) {
    clients.emplace_back([this, client] {
      grpc::ClientContext context;
      auto stream = memory().IngestDocuments(&context);
      v1::IngestDocumentsRequest start;
      start.mutable_start()->set_bank("b");
      stream->Write(start);
      std::thread writer([&] {
        for (uint64_t i = 0; i < 30; ++i)
          stream->Write(Document(i, absl::StrCat(client, "-", i), "text"));
        stream->WritesDone();
      });
      v1::IngestDocumentsResponse response;
      if (client == 7) context.TryCancel();
      while (stream->Read(&response)) {
      }
      writer.join();
      const grpc::Status status = stream->Finish();
      if (client == 7) return;
      EXPECT_TRUE(status.ok());
      EXPECT_EQ(response.summary().stored(), 30);
    });
  }
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace msa::server
