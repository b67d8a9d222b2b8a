#include "client/cli/document_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/utf8.h"

namespace msa::client {
namespace {

namespace fs = std::filesystem;

constexpr char kByteOrderMark[] = "\xEF\xBB\xBF";

bool IsTextName(const std::string& name) {
  return absl::EndsWith(name, ".txt") || absl::EndsWith(name, ".md");
}

absl::Status CannotRead(const std::string& path, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read: ", why));
}

bool IsBlank(const std::string& line) {
  return line.find_first_not_of(" \t\r") == std::string::npos;
}

// 64-bit FNV-1a of what `hash` is of, followed by `bytes`.
constexpr uint64_t kEmptyHash = 0xcbf29ce484222325;
uint64_t ExtendHash(uint64_t hash, std::string_view bytes) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DocumentReader>> DocumentReader::Open(
    const std::vector<std::string>& paths, std::istream* standard_input) {
  auto reader = std::make_unique<DocumentReader>();
  reader->standard_input_ = standard_input;
  for (const std::string& path : paths) {
    const absl::Status status = reader->AddPath(path);
    if (!status.ok()) return status;
  }
  const bool has_standard_input = std::any_of(reader->sources_.begin(), reader->sources_.end(),
                                              [](const Source& s) { return s.path == "-"; });
  for (const Source& source : reader->sources_) {
    if (has_standard_input) break;
    std::error_code error;
    const uintmax_t size = fs::file_size(source.path, error);
    if (!error) reader->num_bytes_ += static_cast<int64_t>(size);  // pipes have no size
  }
  return reader;
}

bool DocumentReader::Reads(const std::string& path) const {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return false;
  return std::any_of(sources_.begin(), sources_.end(), [&](const Source& source) {
    return fs::equivalent(source.path == "-" ? "/dev/stdin" : source.path, path, error);
  });
}

std::string DocumentReader::Fingerprint() const {
  uint64_t hash = kEmptyHash;
  for (const Source& source : sources_) {
    std::error_code error;
    if (source.path == "-" || !fs::is_regular_file(source.path, error)) continue;
    const uintmax_t size = fs::file_size(source.path, error);
    const int64_t time = fs::last_write_time(source.path, error).time_since_epoch().count();
    hash = ExtendHash(hash, absl::StrCat(source.path, "\n", size, "\n", time, "\n"));
  }
  return hash == kEmptyHash ? "" : absl::StrFormat("-%016x", hash);
}

absl::Status DocumentReader::AddPath(const std::string& path) {
  if (path == "-") {
    sources_.push_back({"-", "standard input", false});
    return absl::OkStatus();
  }
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    return absl::NotFoundError(absl::StrCat(path, ": no such file or folder"));
  }
  if (error) return CannotRead(path, error.message());
  if (fs::is_directory(status)) return AddFolder(path);
  sources_.push_back({path, path, IsTextName(path)});
  return absl::OkStatus();
}

absl::Status DocumentReader::AddFolder(const std::string& path) {
  std::error_code error;
  std::vector<Source> found;
  fs::recursive_directory_iterator entry(path, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;  // an entry that vanishes meanwhile is no file
    if (absl::StartsWith(name, ".")) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file(ignored) &&
               (IsTextName(name) || absl::EndsWith(name, ".jsonl"))) {
      const std::string file = entry->path().string();
      const bool is_text = IsTextName(name);
      found.push_back(
          {file, is_text ? entry->path().lexically_relative(path).string() : file, is_text});
    }
  }
  if (error) return CannotRead(path, error.message());
  if (found.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": holds no documents; allowed: .jsonl, .txt and .md files"));
  }
  std::sort(found.begin(), found.end(),
            [](const Source& a, const Source& b) { return a.path < b.path; });
  sources_.insert(sources_.end(), found.begin(), found.end());
  return absl::OkStatus();
}

absl::StatusOr<std::optional<DocumentReader::Item>> DocumentReader::Next() {
  while (true) {
    if (lines_ != nullptr) {
      bool too_long = false;
      absl::StatusOr<std::optional<std::string>> line = NextLine(&too_long);
      if (!line.ok()) return line.status();
      if (line->has_value()) {
        const std::string where = absl::StrCat(lines_name_, ":", line_number_);
        if (too_long) {
          return Item{absl::InvalidArgumentError(absl::StrCat(where, ": the line is longer than ",
                                                              kMaxDocumentBytes, " bytes")),
                      where, ""};
        }
        absl::StatusOr<SourceDocument> document = ParseDocumentLine(**line, where);
        return Item{std::move(document), where, *std::move(*line)};
      }
      lines_ = nullptr;
    }
    if (sources_.empty()) return std::nullopt;
    const Source source = std::move(sources_.front());
    sources_.pop_front();
    if (source.is_text) return ReadTextFile(source);
    const absl::Status status = OpenLines(source);
    if (!status.ok()) return status;
  }
}

absl::StatusOr<std::optional<DocumentReader::Item>> DocumentReader::ReadTextFile(
    const Source& source) {
  std::ifstream file(source.path, std::ios::binary);
  if (!file) return CannotRead(source.path, std::strerror(errno));
  SourceDocument document;
  document.id = source.name;
  document.where = source.path;
  std::error_code error;
  const uintmax_t size = fs::file_size(source.path, error);
  if (!error && size > static_cast<uintmax_t>(kMaxDocumentBytes)) {
    return Item{absl::InvalidArgumentError(absl::StrCat(source.path, ": is ", size,
                                                        " bytes; allowed: ", kMaxDocumentBytes)),
                source.path, ""};
  }
  std::ostringstream content;
  content << file.rdbuf();
  if (file.bad()) return CannotRead(source.path, std::strerror(errno));
  document.text = std::move(content).str();
  num_bytes_read_ += static_cast<int64_t>(document.text.size());
  if (absl::StartsWith(document.text, kByteOrderMark)) document.text.erase(0, 3);
  const size_t invalid = FirstInvalidUtf8Byte(document.text);
  if (invalid != std::string::npos) {
    return Item{
        absl::InvalidArgumentError(absl::StrCat(source.path, ": not UTF-8 at byte ", invalid + 1)),
        source.path, ""};
  }
  if (document.text.empty()) {
    return Item{absl::InvalidArgumentError(absl::StrCat(source.path, ": is empty")), source.path,
                ""};
  }
  return Item{std::move(document), source.path, ""};
}

absl::Status DocumentReader::OpenLines(const Source& source) {
  lines_name_ = source.name;
  line_number_ = 0;
  if (source.path == "-") {
    lines_ = standard_input_;
    return absl::OkStatus();
  }
  file_.close();
  file_.clear();
  file_.open(source.path, std::ios::binary);
  if (!file_) return CannotRead(source.path, std::strerror(errno));
  lines_ = &file_;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string>> DocumentReader::NextLine(bool* too_long) {
  std::string line;
  std::streambuf* buffer = lines_->rdbuf();
  constexpr int kEnd = std::char_traits<char>::eof();
  while (true) {
    line.clear();
    ++line_number_;
    *too_long = false;
    int c = buffer->sbumpc();
    if (c == kEnd) return std::nullopt;
    for (; c != kEnd && c != '\n'; c = buffer->sbumpc()) {
      ++num_bytes_read_;
      if (static_cast<int64_t>(line.size()) < kMaxDocumentBytes) {
        line.push_back(static_cast<char>(c));
      } else {
        *too_long = true;
      }
    }
    ++num_bytes_read_;
    if (line_number_ == 1 && absl::StartsWith(line, kByteOrderMark)) line.erase(0, 3);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!IsBlank(line)) return line;
  }
}

}  // namespace msa::client
