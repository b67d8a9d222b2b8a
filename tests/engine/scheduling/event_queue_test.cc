#include "engine/scheduling/event_queue.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace msa::engine {
namespace {

using ReadState = EventQueue::ReadState;

TokenEvent Token(const std::string& text) {
  return {.phase = Interleave::Phase::kAnswer, .round = 0, .text = text};
}

std::string TextOf(const QueryEvent& event) { return std::get<TokenEvent>(event).text; }

TEST(EventQueue, EventsKeepTheOrderOfTheirPlaces) {
  EventQueue queue(1000, nullptr);
  const uint64_t place = queue.Reserve();
  queue.Push(Token("second"));
  QueryEvent event;
  EXPECT_EQ(queue.TryRead(&event), ReadState::kPending);
  queue.Fill(place, Token("first"));
  ASSERT_EQ(queue.TryRead(&event), ReadState::kEvent);
  EXPECT_EQ(TextOf(event), "first");
  ASSERT_EQ(queue.TryRead(&event), ReadState::kEvent);
  EXPECT_EQ(TextOf(event), "second");
  EXPECT_EQ(queue.TryRead(&event), ReadState::kPending);
  queue.Close(absl::OkStatus());
  EXPECT_EQ(queue.TryRead(&event), ReadState::kEnd);
}

TEST(EventQueue, WhatWasPushedIsReadBeforeTheError) {
  EventQueue queue(1000, nullptr);
  queue.Push(Token("a"));
  const uint64_t place = queue.Reserve();
  queue.Close(absl::DataLossError("gone"));
  queue.Fill(place, Token("too late"));
  QueryEvent event;
  EXPECT_EQ(queue.TryRead(&event), ReadState::kEvent);
  EXPECT_EQ(queue.TryRead(&event), ReadState::kEnd);
  EXPECT_EQ(queue.status().code(), absl::StatusCode::kDataLoss);
  queue.Close(absl::OkStatus());
  EXPECT_EQ(queue.status().code(), absl::StatusCode::kDataLoss);
}

TEST(EventQueue, IsFullUntilItIsRead) {
  EventQueue queue(100, nullptr);
  EXPECT_FALSE(queue.full());
  queue.Push(Token(std::string(60, 'x')));
  EXPECT_TRUE(queue.full());
  QueryEvent event;
  queue.TryRead(&event);
  EXPECT_FALSE(queue.full());
}

TEST(EventQueue, DetachEndsTheCallbacks) {
  int calls = 0;
  EventQueue queue(100, [&] { ++calls; });
  queue.Push(Token("a"));
  EXPECT_EQ(calls, 1);
  queue.Detach();
  queue.Push(Token("b"));
  queue.Close(absl::OkStatus());
  EXPECT_EQ(calls, 1);
}

TEST(EventQueue, OneThreadWritesWhileAnotherReads) {
  EventQueue queue(1 << 20, nullptr);
  std::thread writer([&] {
    for (int i = 0; i < 1000; ++i) queue.Push(Token(std::to_string(i)));
    queue.Close(absl::OkStatus());
  });
  int read = 0;
  QueryEvent event;
  for (ReadState state = ReadState::kPending; state != ReadState::kEnd;
       state = queue.TryRead(&event)) {
    if (state == ReadState::kEvent) {
      EXPECT_EQ(TextOf(event), std::to_string(read++));
    }
  }
  EXPECT_EQ(read, 1000);
  writer.join();
}

TEST(EventQueue, AFailedPlaceEndsTheStreamThere) {
  for (const bool closed_before : {false, true}) {
    EventQueue queue(1 << 20, nullptr);
    queue.Push(Token("before"));
    const uint64_t place = queue.Reserve();
    queue.Push(Token("after"));
    if (closed_before) queue.Close(absl::OkStatus());
    EXPECT_FALSE(queue.failed());
    queue.Fail(place, absl::DataLossError("lost"));
    EXPECT_TRUE(queue.failed());
    queue.Push(Token("later"));
    queue.Close(absl::OkStatus());
    QueryEvent event;
    ASSERT_EQ(queue.TryRead(&event), EventQueue::ReadState::kEvent);
    EXPECT_EQ(std::get<TokenEvent>(event).text, "before");
    EXPECT_EQ(queue.TryRead(&event), EventQueue::ReadState::kEnd);
    EXPECT_EQ(queue.status(), absl::DataLossError("lost"));
  }
}

TEST(EventQueue, WhatAnErrorCutOffCannotFail) {
  EventQueue queue(1 << 20, nullptr);
  const uint64_t place = queue.Reserve();
  queue.Close(absl::CancelledError("gone"));
  queue.Fail(place, absl::DataLossError("lost"));
  EXPECT_FALSE(queue.failed());
  EXPECT_EQ(queue.status(), absl::CancelledError("gone"));
}

}  // namespace
}  // namespace msa::engine
