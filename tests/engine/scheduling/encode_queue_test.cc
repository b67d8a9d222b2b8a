#include "engine/scheduling/encode_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <utility>
#include <vector>

namespace msa::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class EncodeQueueTest : public testing::Test {
 protected:
  EncodeQueueTest() {
    config_.hidden_size = 8;
    config_.num_query_heads = 4;
    config_.num_kv_heads = 2;
    config_.head_dim = 4;
    geometry_.num_msa_layers = 2;
    geometry_.kv_width = 8;
    geometry_.tokens_per_chunk = 64;
  }

  EncodeQueue MakeQueue(int num_ranks, int64_t activation_bytes) {
    return EncodeQueue(&config_, geometry_, num_ranks, activation_bytes, SystemClock(), &observer_);
  }

  // Documents of these lengths; what became of them is in `encoded_` and `cancelled_`.
  void Push(EncodeQueue* queue, std::vector<int64_t> tokens) {
    std::deque<EncodeRequest> requests;
    for (const int64_t count : tokens) {
      requests.push_back({std::vector<int32_t>(static_cast<size_t>(count), 7),
                          [this, count](absl::StatusOr<EncodedDocument> document) {
                            if (document.ok())
                              encoded_.push_back(document->num_tokens);
                            else
                              cancelled_.push_back(count);
                          }});
    }
    queue->Push(std::move(requests));
  }

  // Rows of every job in work, by rank.
  static std::vector<int64_t> Rows(const EncodeQueue& queue) {
    std::vector<int64_t> rows;
    for (const std::vector<EncodeJob*>& jobs : queue.Jobs()) {
      for (const EncodeJob* job : jobs) rows.push_back(job->num_rows());
    }
    return rows;
  }

  static void Finish(EncodeQueue* queue) {
    for (const std::vector<EncodeJob*>& jobs : queue->Jobs()) {
      for (EncodeJob* job : jobs) job->finished = true;
    }
    queue->FinishJobs();
  }

  // hidden, query, key, value and router key of one row.
  static constexpr int64_t kRowBytes = (8 + 16 + 8 + 8 + 8) * 4;

  ModelConfig config_;
  MemoryGeometry geometry_;
  EngineObserver observer_;
  std::vector<int64_t> encoded_;
  std::vector<int64_t> cancelled_;
};

TEST_F(EncodeQueueTest, ShortDocumentsShareAJobInTheirOrder) {
  EncodeQueue queue = MakeQueue(/*num_ranks=*/2, 1000 * kRowBytes);
  Push(&queue, {200, 300, 12, 1, 40});
  queue.FormJobs();
  EXPECT_THAT(Rows(queue), ElementsAre(512, 41));
  Finish(&queue);
  EXPECT_THAT(encoded_, ElementsAre(200, 300, 12, 1, 40));
}

TEST_F(EncodeQueueTest, CountsTheActivationsOfItsJobs) {
  EncodeQueue queue = MakeQueue(/*num_ranks=*/1, 1000 * kRowBytes);
  EXPECT_EQ(queue.activation_bytes(), 0);
  Push(&queue, {100});
  queue.FormJobs();
  EXPECT_EQ(queue.activation_bytes(), 100 * kRowBytes);
  Finish(&queue);
  EXPECT_EQ(queue.activation_bytes(), 0);
}

TEST_F(EncodeQueueTest, JobsInWorkKeepToTheLimit) {
  EncodeQueue queue = MakeQueue(/*num_ranks=*/3, 1100 * kRowBytes);
  Push(&queue, {500, 500, 500, 50});
  queue.FormJobs();
  EXPECT_THAT(Rows(queue), ElementsAre(500, 500));  // the last 50 do not pass the 500 before them
  Finish(&queue);
  queue.FormJobs();
  EXPECT_THAT(Rows(queue), ElementsAre(500, 50));
}

TEST_F(EncodeQueueTest, ADocumentBeyondTheLimitIsEncodedAlone) {
  EncodeQueue queue = MakeQueue(/*num_ranks=*/2, 100 * kRowBytes);
  Push(&queue, {60, 4000, 50});
  queue.FormJobs();
  EXPECT_THAT(Rows(queue), ElementsAre(60));
  Finish(&queue);
  queue.FormJobs();
  EXPECT_THAT(Rows(queue), ElementsAre(4000));
  Finish(&queue);
  queue.FormJobs();
  EXPECT_THAT(Rows(queue), ElementsAre(50));
  Finish(&queue);
  EXPECT_THAT(encoded_, ElementsAre(60, 4000, 50));
}

TEST_F(EncodeQueueTest, CancelsWhatIsInWorkAndWhatWaits) {
  EncodeQueue queue = MakeQueue(/*num_ranks=*/1, 1000 * kRowBytes);
  Push(&queue, {600, 700});
  queue.FormJobs();
  queue.CancelAll();
  EXPECT_THAT(cancelled_, ElementsAre(600, 700));
  EXPECT_THAT(encoded_, IsEmpty());
  EXPECT_EQ(queue.activation_bytes(), 0);
}

}  // namespace
}  // namespace msa::engine
