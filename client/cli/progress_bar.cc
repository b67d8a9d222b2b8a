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

}  // namespace

std::string ProgressLine(int64_t num_documents, double fraction, absl::Duration elapsed) {
  const double seconds = std::max(absl::ToDoubleSeconds(elapsed), 1e-3);
  std::string line = absl::StrCat("  ", FormatNoun(num_documents, "document", "documents"));
  if (fraction >= 0) {
    fraction = std::min(fraction, 1.0);
    const int filled = static_cast<int>(fraction * kBarWidth);
    absl::StrAppend(&line, "  [", std::string(static_cast<size_t>(filled), '='),
                    std::string(static_cast<size_t>(kBarWidth - filled), ' '), "]",
                    absl::StrFormat("  %.0f%%", fraction * 100));
  }
  absl::StrAppend(&line, "  ",
                  FormatCount(static_cast<int64_t>(static_cast<double>(num_documents) / seconds)),
                  "/s");
  if (fraction > 0.01 && fraction < 1) {
    absl::StrAppend(&line, "  ", FormatSeconds(absl::Seconds(seconds * (1 - fraction) / fraction)),
                    " left");
  }
  return line;
}

ProgressBar::ProgressBar(std::ostream* out, bool enabled)
    : out_(out), enabled_(enabled), start_(absl::Now()) {}

ProgressBar::~ProgressBar() { Clear(); }

void ProgressBar::Update(int64_t num_documents, double fraction) {
  if (!enabled_) return;
  std::lock_guard<std::mutex> lock(mutex_);
  const absl::Time now = absl::Now();
  if (now - last_drawn_ < kInterval) return;
  last_drawn_ = now;
  visible_ = true;
  *out_ << kClearLine << ProgressLine(num_documents, fraction, now - start_) << std::flush;
}

void ProgressBar::Clear() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (visible_) *out_ << kClearLine << std::flush;
  visible_ = false;
}

}  // namespace msa::client
