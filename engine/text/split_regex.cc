#include "engine/text/split_regex.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

// Letters that mean the same after a backslash in both libraries; \s and \S are translated.
constexpr std::string_view kPortableEscapes = "dDpPrntfaexAz";
constexpr std::string_view kEscapesWithBraces = "pPx";
// What may follow "(?".
constexpr std::array<std::string_view, 6> kPortableGroups = {":", "=", "!", ">", "<", "i:"};

class Translator {
 public:
  explicit Translator(std::string_view regex) : regex_(regex) {}

  absl::StatusOr<std::string> Run() {
    while (position_ < regex_.size()) {
      if (regex_[position_] == '\\') {
        MSA_RETURN_IF_ERROR(Escape());
      } else if (in_class_) {
        MSA_RETURN_IF_ERROR(ClassMember());
      } else {
        MSA_RETURN_IF_ERROR(Outside());
      }
    }
    return std::move(translated_);
  }

 private:
  absl::Status Escape() {
    const std::string_view escape = regex_.substr(position_, 2);
    const char letter = escape.size() == 2 ? escape[1] : '\\';
    // Oniguruma's \s is the Unicode property White_Space; PCRE2's is that and U+180E.
    if (letter == 's' || letter == 'S') {
      translated_ += letter == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
      position_ += escape.size();
      return absl::OkStatus();
    }
    const bool has_meaning = absl::ascii_isalnum(static_cast<unsigned char>(letter));
    if (has_meaning && kPortableEscapes.find(letter) == std::string_view::npos)
      return Refuse(escape);
    Copy(escape.size());
    if (kEscapesWithBraces.find(letter) != std::string_view::npos && Next() == "{") {
      const size_t end = regex_.find('}', position_);
      Copy(end == std::string_view::npos ? regex_.size() - position_ : end + 1 - position_);
    }
    return absl::OkStatus();
  }

  absl::Status ClassMember() {
    if (Next() == "[") return Refuse("'[' inside a character class");
    if (regex_.substr(position_, 2) == "&&") return Refuse("'&&' inside a character class");
    in_class_ = Next() != "]";
    Copy(1);
    return absl::OkStatus();
  }

  absl::Status Outside() {
    const std::string_view next = Next();
    const std::string_view following = regex_.substr(position_ + 1);
    if (next == "^" || next == "$") return Refuse(next);
    if (next == "}" && (following.substr(0, 1) == "+" || following.substr(0, 1) == "?")) {
      return Refuse("'+' or '?' after a counted repetition");
    }
    if (next == "(" && following.substr(0, 1) == "*") return Refuse("'(*'");
    if (next == "(" && following.substr(0, 1) == "?") {
      const auto begins_group = [group = following.substr(1)](std::string_view allowed) {
        return group.substr(0, allowed.size()) == allowed;
      };
      if (std::none_of(kPortableGroups.begin(), kPortableGroups.end(), begins_group)) {
        return Refuse(regex_.substr(position_, 3));
      }
    }
    if (next == "[") {
      in_class_ = true;
      Copy(1);
      if (Next() == "^") Copy(1);
      if (Next() == "]") return Refuse("']' as the first member of a character class");
      return absl::OkStatus();
    }
    Copy(1);
    return absl::OkStatus();
  }

  // The next character (its first byte); empty at the end.
  std::string_view Next() const {
    return position_ < regex_.size() ? regex_.substr(position_, 1) : std::string_view();
  }

  void Copy(size_t num_bytes) {
    translated_ += regex_.substr(position_, num_bytes);
    position_ += num_bytes;
  }

  absl::Status Refuse(std::string_view construct) const {
    return absl::InvalidArgumentError(absl::StrCat(
        "regular expression ", kernels::ToAbsl(regex_), ": ", kernels::ToAbsl(construct),
        " is not supported (libraries differ on its meaning); supported: escapes \\s \\S \\d \\D "
        "\\p{..} \\P{..} \\r "
        "\\n \\t \\f \\a \\e \\x{..} \\A \\z and of punctuation, groups (..) (?:..) (?i:..) (?=..) "
        "(?!..) (?<..) "
        "(?>..), flat character classes, repetitions"));
  }

  std::string_view regex_;
  size_t position_ = 0;
  bool in_class_ = false;
  std::string translated_;
};

}  // namespace

absl::StatusOr<std::string> TranslateSplitRegex(std::string_view regex) {
  return Translator(regex).Run();
}

}  // namespace msa::engine
