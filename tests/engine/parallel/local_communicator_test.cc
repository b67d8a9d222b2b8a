#include "engine/parallel/local_communicator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace msa::engine {
namespace {

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string Text(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(LocalCommunicator, EveryRankGetsEverybodysBytesInRankOrder) {
  for (const int size : {1, 2, 5}) {
    auto communicators = MakeLocalCommunicators(size);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank) {
      threads.emplace_back([&, rank] {
        Communicator& mine = *communicators[static_cast<size_t>(rank)];
        EXPECT_EQ(mine.rank(), rank);
        EXPECT_EQ(mine.size(), size);
        for (int turn = 0; turn < 200; ++turn) {
          // Of different lengths, the empty one included, and gone as soon as the call returns.
          auto sent = std::make_unique<std::string>(static_cast<size_t>((rank + turn) % 4),
                                                    static_cast<char>('a' + rank));
          std::vector<absl::Span<const std::byte>> received;
          ASSERT_TRUE(mine.AllGather(Bytes(*sent), &received).ok());
          sent.reset();
          ASSERT_EQ(received.size(), static_cast<size_t>(size));
          for (int other = 0; other < size; ++other) {
            EXPECT_EQ(Text(received[static_cast<size_t>(other)]),
                      std::string(static_cast<size_t>((other + turn) % 4),
                                  static_cast<char>('a' + other)));
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(LocalCommunicator, AbortWakesRanksThatWaitAndRefusesLaterCalls) {
  auto communicators = MakeLocalCommunicators(3);
  std::vector<absl::Status> statuses(2);
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      std::vector<absl::Span<const std::byte>> received;
      statuses[rank] = communicators[rank]->AllGather({}, &received);
    });
  }
  communicators[2]->Abort(absl::InternalError("rank 2 is gone"));
  for (std::thread& thread : threads) thread.join();
  std::vector<absl::Span<const std::byte>> received;
  statuses.push_back(communicators[2]->AllGather({}, &received));
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
    EXPECT_EQ(status.message(), "rank 2 is gone");
  }
}

}  // namespace
}  // namespace msa::engine
