// A decode step allocates nothing per layer: what it needs is kept from step to step. A program of
// its own, as it counts every operator new.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "engine/engine.h"
#include "tests/engine/engine_fixture.h"

namespace {
std::atomic<int64_t> num_allocations = 0;
thread_local bool is_reader = false;  // the test's own thread, which reads what is streamed

void* Allocate(size_t bytes) {
  if (!is_reader) ++num_allocations;
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(size_t bytes) { return Allocate(bytes); }
void* operator new[](size_t bytes) { return Allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace msa::engine {
namespace {

constexpr int64_t kUsual = 14;

// Allocations of each step that only decoded, after another one.
class DecodeSteps : public EngineObserver {
 public:
  void StepDone(int64_t decode_rows, int64_t prefill_rows, int64_t encode_rows,
                absl::Duration) override {
    const bool decoded_only = decode_rows > 0 && prefill_rows == 0 && encode_rows == 0;
    const int64_t now = num_allocations;
    std::lock_guard lock(mutex_);
    if (decoded_only && before_ >= 0) allocations_.push_back(now - before_);
    before_ = decoded_only ? num_allocations.load() : -1;
  }
  std::vector<int64_t> Take() {
    std::lock_guard lock(mutex_);
    return std::exchange(allocations_, {});
  }

 private:
  std::mutex mutex_;
  int64_t before_ = -1;
  std::vector<int64_t> allocations_;
};

TEST(DecodeStepTest, AllocatesLessThanOnceForEveryLayerAndProduct) {
  is_reader = true;
  const TemporaryDirectory directory;
  DecodeSteps steps;
  auto opened = Engine::Open(NeedleOptions(directory.path(), 2), &steps);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const std::unique_ptr<Engine> engine = *std::move(opened);
  const std::vector<SampleQuestion> questions = SampleQuestions();
  IngestAll((*engine->banks().Create("b", {})).get(), SampleDocumentsFor(questions, 60));
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(Ask(engine.get(), Request("b", questions[i].question)).status.ok());
  }
  std::vector<int64_t> allocations = steps.Take();
  ASSERT_GT(allocations.size(), 10u);
  std::nth_element(allocations.begin(), allocations.begin() + allocations.size() / 2,
                   allocations.end());
  // Plan, spans of pages and streamed text of one row. One more in each of five layers shows.
  EXPECT_LE(allocations[allocations.size() / 2], kUsual + 4);
}

}  // namespace
}  // namespace msa::engine
