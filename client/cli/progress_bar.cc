#include "client/cli/progress_bar.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "client/cli/number_format.h"

namespace msa::client {
namespace {

constexpr int kBarWidth = 30;
constexpr char kClearLine[] = "\r\x1b[K";
constexpr absl::Duration kInterval = absl::Milliseconds(100);

// "  [=====     ]  45%"
std::string BarOf(double fraction) {
  fraction = std::clamp(fraction, 0.0, 1.0);
  const int filled = static_cast<int>(fraction * kBarWidth);
  return absl::StrCat("  [", std::string(static_cast<size_t>(filled), '='),
                      std::string(static_cast<size_t>(kBarWidth - filled), ' '), "]",
                      absl::StrFormat("  %.0f%%", fraction * 100));
}

}  // namespace

std::string ProgressLine(int64_t num_documents, double fraction, absl::Duration elapsed) {
  const double seconds = std::max(absl::ToDoubleSeconds(elapsed), 1e-3);
  std::string line = absl::StrCat("  ", FormatNoun(num_documents, "document", "documents"));
  if (fraction >= 0) absl::StrAppend(&line, BarOf(fraction));
  absl::StrAppend(&line, "  ",
                  FormatCount(static_cast<int64_t>(static_cast<double>(num_documents) / seconds)),
                  "/s");
  if (fraction > 0.01 && fraction < 1) {
    absl::StrAppend(&line, "  ", FormatSeconds(absl::Seconds(seconds * (1 - fraction) / fraction)),
                    " left");
  }
  return line;
}

std::string ProgressLine(const v1::JobProgress& progress, absl::Duration elapsed) {
  const auto amount = [&progress](int64_t value) {
    if (progress.unit() == "bytes") return FormatBytes(value);
    return absl::StrCat(FormatCount(value), " ", progress.unit());
  };
  std::string line = absl::StrCat("  ", progress.phase(), "  ");
  if (progress.total() > 0) {
    absl::StrAppend(
        &line, amount(progress.done()), " of ", amount(progress.total()),
        BarOf(static_cast<double>(progress.done()) / static_cast<double>(progress.total())));
  } else {
    absl::StrAppend(&line, amount(progress.done()));
  }
  return absl::StrCat(line, "  ", FormatSeconds(elapsed));
}

ProgressBar::ProgressBar(std::ostream* out, bool enabled)
    : out_(out), enabled_(enabled), start_(absl::Now()) {}

ProgressBar::~ProgressBar() { Clear(); }

void ProgressBar::Update(int64_t num_documents, double fraction) {
  Draw([=](absl::Duration elapsed) { return ProgressLine(num_documents, fraction, elapsed); });
}

void ProgressBar::Update(const v1::JobProgress& progress) {
  Draw([&](absl::Duration elapsed) { return ProgressLine(progress, elapsed); });
}

void ProgressBar::Draw(const std::function<std::string(absl::Duration)>& line) {
  if (!enabled_) return;
  std::lock_guard<std::mutex> lock(mutex_);
  const absl::Time now = absl::Now();
  if (now - last_drawn_ < kInterval) return;
  last_drawn_ = now;
  visible_ = true;
  *out_ << kClearLine << line(now - start_) << std::flush;
}

void ProgressBar::Clear() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (visible_) *out_ << kClearLine << std::flush;
  visible_ = false;
}

}  // namespace msa::client
