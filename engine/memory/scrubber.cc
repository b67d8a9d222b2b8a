#include "engine/memory/scrubber.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/core/refusal.h"

namespace msa::engine {
namespace {

// What was slept too little is slept the next time.
constexpr absl::Duration kLongestSleep = absl::Milliseconds(200);

}  // namespace

// Holds a verification up so that it reads no faster than it may.
class Scrubber::Pace : public JobMonitor {
 public:
  explicit Pace(Scrubber* scrubber) : scrubber_(scrubber) {}

  void Progress(const JobProgress& progress) override {
    const absl::Duration least = absl::Seconds(static_cast<double>(progress.bytes) /
                                               static_cast<double>(scrubber_->bytes_per_second_));
    const absl::Duration ahead = least - (absl::Now() - start_);
    if (ahead > absl::ZeroDuration()) {
      is_stopped_ = !scrubber_->SleepUnlessStopped(std::min(ahead, kLongestSleep));
    }
  }
  bool IsCancelled() const override { return is_stopped_ || scrubber_->source_.wants_room(); }

 private:
  Scrubber* const scrubber_;
  const absl::Time start_ = absl::Now();
  bool is_stopped_ = false;
};

Scrubber::Scrubber(const BankStoreOptions& options, Source source, MemoryObserver* observer)
    : interval_(options.scrub_interval),
      bytes_per_second_(std::max<int64_t>(options.scrub_bytes_per_second, 1)),
      source_(std::move(source)),
      observer_(observer) {
  if (interval_ < absl::InfiniteDuration()) thread_ = std::thread([this] { Run(); });
}

Scrubber::~Scrubber() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  stop_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Scrubber::SleepUnlessStopped(absl::Duration duration) {
  std::unique_lock lock(mutex_);
  return !stop_.wait_for(lock, absl::ToChronoNanoseconds(duration), [&] { return stopped_; });
}

void Scrubber::Run() {
  while (SleepUnlessStopped(interval_)) {
    for (const BankInfo& bank : source_.banks()) Verify(bank.name);
  }
}

void Scrubber::Verify(const std::string& name) {
  const std::shared_ptr<Bank> bank = source_.find(name);
  if (bank == nullptr) return;
  Pace pace(this);
  const auto result = bank->Verify(&pace, [&](const Damage& damage) {
    observer_->ProblemFound(
        name, kernels::Refusal(absl::StatusCode::kDataLoss,
                               absl::StrCat(damage.file, ": ", damage.message), "BANK_DAMAGED", "",
                               {{"document_id", damage.document_id}}));
  });
  const bool was_stopped =
      absl::IsCancelled(result.status()) || absl::IsUnavailable(result.status());
  if (!result.ok() && !was_stopped) observer_->ProblemFound(name, result.status());
}

}  // namespace msa::engine
