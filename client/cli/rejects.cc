#include "client/cli/rejects.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "client/cli/number_format.h"
#include "client/cpp/error_details.h"

namespace msa::client {

absl::Status Rejects::OpenFile(const std::string& path, bool append) {
  path_ = path;
  file_.open(path, std::ios::binary | (append ? std::ios::app : std::ios::trunc));
  if (file_) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be written"));
}

void Rejects::Add(const SourceDocument& document, const absl::Status& error) {
  AddText(absl::StrCat(document.where, ": document ", document.id, ": ", DescribeError(error)),
          RejectedDocumentLine(document, error));
}

void Rejects::AddLine(const std::string& line, const std::string& where,
                      const absl::Status& error) {
  AddText(DescribeError(error), RejectedRawLine(line, where, error));
}

int64_t Rejects::count() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return count_;
}

void Rejects::AddText(const std::string& message, const std::string& file_line) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (++count_ <= kMaxNamed) {
    bar_->Clear();
    context_->err() << "msactl: " << message << std::endl;
  }
  // At once: a later run of the session passes over this document.
  if (file_.is_open()) file_ << file_line << '\n' << std::flush;
}

absl::Status Rejects::Close() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (count_ > kMaxNamed) {
    context_->err() << "msactl: and " << FormatCount(count_ - kMaxNamed) << " more"
                    << (file_.is_open() ? "" : "; --rejects FILE keeps them") << std::endl;
  }
  if (!file_.is_open()) return absl::OkStatus();
  file_.close();
  if (!file_.fail()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path_, ": not all refused documents could be written"));
}

}  // namespace msa::client
