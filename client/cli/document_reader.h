#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <fstream>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/source_document.h"

namespace msa::client {

// The documents of one ingest command, in order: of JSON Lines files (any name but those of text
// files, and "-" for standard input), of plain text files (.txt, .md: one document each, whose id
// is the path as given) and of folders (their .jsonl, .txt and .md files, recursively, by name;
// text ids are relative to the folder; names that begin with "." are passed over). Not thread-safe.
class DocumentReader {
 public:
  static constexpr int64_t kMaxDocumentBytes = int64_t{64} << 20;  // of a line or a text file
  static constexpr size_t kFingerprintBytes = 17;

  // NOT_FOUND or INVALID_ARGUMENT when a path cannot be read or a folder holds no such file.
  // `standard_input` stands behind
  // "-" and must outlive the reader.
  static absl::StatusOr<std::unique_ptr<DocumentReader>> Open(const std::vector<std::string>& paths,
                                                              std::istream* standard_input);

  // What one line or text file holds. `document` is an error when it cannot be read as a document;
  // reading can go on.
  struct Item {
    absl::StatusOr<SourceDocument> document;
    std::string where;
    std::string line;  // of JSON Lines
  };
  // Nothing when all is read. An error when the input itself fails; reading cannot go on.
  absl::StatusOr<std::optional<Item>> Next();

  // Whether the regular file `path` is one of the inputs, under whatever name. Before the first
  // Next.
  bool Reads(const std::string& path) const;
  // "-" and 16 hexadecimal digits of the paths, sizes and modification times of all regular files
  // in order, the same in every process; empty where there are none. Before the first Next.
  std::string Fingerprint() const;

  // Bytes read so far and bytes of all files; the latter is 0 when standard input is among them.
  int64_t num_bytes_read() const { return num_bytes_read_; }
  int64_t num_bytes() const { return num_bytes_; }

 private:
  struct Source {
    std::string path;  // to open; "-": standard input
    std::string name;  // in messages, and a text document's id
    bool is_text = false;
  };

  absl::Status AddPath(const std::string& path);
  absl::Status AddFolder(const std::string& path);
  absl::StatusOr<std::optional<Item>> ReadTextFile(const Source& source);
  absl::Status OpenLines(const Source& source);
  // The next line that is not blank, without its line break; nothing at the end. Marks one that is
  // over the limit.
  absl::StatusOr<std::optional<std::string>> NextLine(bool* too_long);

  std::istream* standard_input_ = nullptr;
  std::deque<Source> sources_;
  std::ifstream file_;
  std::istream* lines_ = nullptr;  // what is being read by lines; null: nothing
  std::string lines_name_;
  int64_t line_number_ = 0;  // 1-based
  int64_t num_bytes_read_ = 0;
  int64_t num_bytes_ = 0;
};

}  // namespace msa::client
