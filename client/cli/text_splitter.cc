#include "client/cli/text_splitter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/utf8.h"

namespace msa::client {
namespace {

// Larger parts are cut without being counted first: a request must not carry any amount of text.
constexpr size_t kMaxCountedBytes = size_t{256} << 10;

enum class Border { kParagraph, kLine, kSentence, kWord, kCharacter };

constexpr char kWhitespace[] = " \t\r\n";

bool IsWhitespace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kWhitespace);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kWhitespace) + 1 - begin);
}

// Whether a part may end right before `at`, 0 < at < text.size(). White space belongs to the part
// before it.
bool IsBorder(std::string_view text, size_t at, Border border) {
  if (!IsWhitespace(text[at - 1]) || IsWhitespace(text[at])) return false;
  const size_t visible = text.find_last_not_of(kWhitespace, at - 1);
  const std::string_view gap = text.substr(visible + 1, at - visible - 1);
  const size_t first_break = gap.find('\n');
  switch (border) {
    case Border::kParagraph:
      return first_break != gap.npos && gap.find('\n', first_break + 1) != gap.npos;
    case Border::kLine:
      return first_break != gap.npos;
    case Border::kSentence:
      return first_break != gap.npos ||
             (visible != text.npos &&
              std::string_view(".!?").find(text[visible]) != std::string_view::npos);
    case Border::kWord:
      return true;
    case Border::kCharacter:
      return false;  // cut by halving instead
  }
  return false;
}

// Parts that together are the text.
std::vector<std::string_view> CutAt(std::string_view text, Border border) {
  std::vector<std::string_view> parts;
  if (border == Border::kCharacter) {
    size_t half = CharacterBorderAtOrBefore(text, text.size() / 2);
    while (half == 0 || CharacterBorderAtOrBefore(text, half) != half) ++half;
    parts.push_back(text.substr(0, half));
    if (half < text.size()) parts.push_back(text.substr(half));
    return parts;
  }
  size_t begin = 0;
  for (size_t at = 1; at < text.size(); ++at) {
    if (IsBorder(text, at, border)) {
      parts.push_back(text.substr(begin, at - begin));
      begin = at;
    }
  }
  parts.push_back(text.substr(begin));
  return parts;
}

class Splitter {
 public:
  Splitter(std::string_view text, int64_t max_tokens, const TokenCounter& count)
      : text_(text), max_tokens_(max_tokens), count_(count) {}

  absl::StatusOr<std::vector<std::string>> Split() {
    const absl::Status status = AddParts(text_, Border::kParagraph);
    if (!status.ok()) return status;
    ClosePiece();
    return std::move(pieces_);
  }

 private:
  // Adds `part`, cut at `border` or finer where it is too long.
  absl::Status AddPart(std::string_view part, Border border) {
    if (Trimmed(part).empty()) {
      end_ += part.size();
      return absl::OkStatus();
    }
    int64_t tokens = max_tokens_ + 1;
    if (part.size() <= kMaxCountedBytes) {
      const absl::StatusOr<int64_t> counted = count_(std::string(Trimmed(part)));
      if (!counted.ok()) return counted.status();
      tokens = *counted;
    }
    if (tokens > max_tokens_) return AddParts(part, border);
    const absl::Status status = ClosePieceUnlessFits(part.size(), tokens);
    if (!status.ok()) return status;
    piece_tokens_ += tokens;
    end_ += part.size();
    return absl::OkStatus();
  }

  // The sum of the parts' counts is too high: a document's own tokens are in each. So where the sum
  // is over the limit, the open piece is counted with the part. Leaves the piece's tokens without
  // the part's.
  absl::Status ClosePieceUnlessFits(size_t part_bytes, int64_t part_tokens) {
    if (piece_tokens_ + part_tokens <= max_tokens_) return absl::OkStatus();
    const std::string_view joined = Trimmed(text_.substr(begin_, end_ + part_bytes - begin_));
    if (joined.size() <= kMaxCountedBytes) {
      const absl::StatusOr<int64_t> tokens = count_(std::string(joined));
      if (!tokens.ok()) return tokens.status();
      if (*tokens <= max_tokens_) {
        piece_tokens_ = *tokens - part_tokens;
        return absl::OkStatus();
      }
    }
    ClosePiece();
    return absl::OkStatus();
  }

  absl::Status AddParts(std::string_view part, Border border) {
    std::vector<std::string_view> parts = CutAt(part, border);
    while (parts.size() == 1 && border != Border::kCharacter) {
      border = static_cast<Border>(static_cast<int>(border) + 1);
      parts = CutAt(part, border);
    }
    if (parts.size() == 1) {
      return absl::InvalidArgumentError(absl::StrCat("no piece can have at most ", max_tokens_,
                                                     " tokens: a single character has more"));
    }
    const Border finer =
        border == Border::kCharacter ? border : static_cast<Border>(static_cast<int>(border) + 1);
    for (const std::string_view each : parts) {
      const absl::Status status = AddPart(each, finer);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  void ClosePiece() {
    const std::string_view piece = Trimmed(text_.substr(begin_, end_ - begin_));
    if (!piece.empty()) pieces_.emplace_back(piece);
    begin_ = end_;
    piece_tokens_ = 0;
  }

  const std::string_view text_;
  const int64_t max_tokens_;
  const TokenCounter& count_;
  std::vector<std::string> pieces_;
  size_t begin_ = 0;  // of the open piece
  size_t end_ = 0;    // of what was added
  int64_t piece_tokens_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> SplitText(std::string_view text, int64_t max_tokens,
                                                   const TokenCounter& count) {
  if (text.size() <= kMaxCountedBytes) {
    const absl::StatusOr<int64_t> tokens = count(std::string(text));
    if (!tokens.ok()) return tokens.status();
    if (*tokens <= max_tokens) return std::vector<std::string>{std::string(text)};
  }
  return Splitter(text, max_tokens, count).Split();
}

absl::StatusOr<std::vector<SourceDocument>> SplitDocument(SourceDocument document,
                                                          int64_t max_tokens,
                                                          const TokenCounter& count) {
  absl::StatusOr<std::vector<std::string>> texts = SplitText(document.text, max_tokens, count);
  if (!texts.ok()) {
    return absl::Status(texts.status().code(),
                        absl::StrCat(document.where, ": ", std::string(texts.status().message())));
  }
  std::vector<SourceDocument> pieces;
  if (texts->size() <= 1) {
    pieces.push_back(std::move(document));
    return pieces;
  }
  for (size_t i = 0; i < texts->size(); ++i) {
    SourceDocument piece;
    piece.id = absl::StrCat(document.id, "#", i);
    piece.text = std::move((*texts)[i]);
    piece.metadata = document.metadata;
    piece.metadata["parent"] = document.id;
    piece.where = document.where;
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

}  // namespace msa::client
