#include "engine/text/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/text/split_regex.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

// Matching without the JIT keeps its backtracking points on the heap.
constexpr uint32_t kMatchHeapKib = 1u << 20;

std::string ErrorMessage(int code) {
  std::array<PCRE2_UCHAR, 256> message{};
  pcre2_get_error_message(code, message.data(), message.size());
  return reinterpret_cast<const char*>(message.data());
}

// What one call of Split needs: where a match lies, and the limits that hold while one is sought.
class Matcher {
 public:
  explicit Matcher(const pcre2_code* code)
      : code_(code),
        data_(pcre2_match_data_create_from_pattern(code, nullptr)),
        context_(pcre2_match_context_create(nullptr)) {
    MSA_CHECK(data_ != nullptr && context_ != nullptr, "out of memory");
    // The time that one match may take is bounded by the text, not by a count of steps: a megabyte
    // of spaces is legal.
    pcre2_set_match_limit(context_, std::numeric_limits<uint32_t>::max());
    pcre2_set_depth_limit(context_, std::numeric_limits<uint32_t>::max());
    pcre2_set_heap_limit(context_, kMatchHeapKib);
  }
  ~Matcher() {
    pcre2_match_context_free(context_);
    pcre2_match_data_free(data_);
  }
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

  // First match that begins at `offset` or later; false if there is none.
  bool Find(std::string_view text, size_t offset) {
    int num_groups = Match(text, offset, 0);
    // The JIT works on a small fixed stack; what does not fit there is matched by the slower way.
    if (num_groups == PCRE2_ERROR_JIT_STACKLIMIT) num_groups = Match(text, offset, PCRE2_NO_JIT);
    return num_groups >= 0;
  }
  size_t begin() const { return pcre2_get_ovector_pointer(data_)[0]; }
  size_t end() const { return pcre2_get_ovector_pointer(data_)[1]; }

 private:
  int Match(std::string_view text, size_t offset, uint32_t options) {
    // Without the check: it would go through the whole text again for every piece.
    return pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), offset,
                       options | PCRE2_NO_UTF_CHECK, data_, context_);
  }

  const pcre2_code* code_;
  pcre2_match_data* data_;
  pcre2_match_context* context_;
};

}  // namespace

void PreTokenizer::CodeDeleter::operator()(void* code) const {
  pcre2_code_free(static_cast<pcre2_code*>(code));
}

absl::StatusOr<PreTokenizer> PreTokenizer::Create(std::string_view regex) {
  MSA_ASSIGN_OR_RETURN(const std::string translated, TranslateSplitRegex(regex));
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  // \C would match half a character.
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  pcre2_code* const compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), options,
                    &error, &error_offset, nullptr);
  if (compiled == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("regular expression ", kernels::ToAbsl(regex),
                                                   " does not compile: ", ErrorMessage(error)));
  }
  Code code(compiled);
  // Where the machine forbids generated code this fails and pcre2_match interprets the expression.
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);
  return PreTokenizer(std::move(code));
}

std::vector<std::string_view> PreTokenizer::Split(std::string_view text) const {
  std::vector<std::string_view> pieces;
  Matcher matcher(static_cast<const pcre2_code*>(code_.get()));
  size_t done = 0;    // everything before is in a piece
  size_t offset = 0;  // where to look next
  while (offset < text.size() && matcher.Find(text, offset)) {
    const size_t begin = matcher.begin();
    const size_t end = matcher.end();
    if (end <= begin) {
      // An empty match cuts nothing here: Hugging Face drops the empty piece but does cut the text
      // before it.
      if (begin > done) pieces.push_back(text.substr(done, begin - done));
      done = std::max(done, begin);
      if (begin >= text.size()) break;
      offset = begin + FirstUtf8Sequence(text.substr(begin)).length;
      continue;
    }
    if (begin > done) pieces.push_back(text.substr(done, begin - done));
    pieces.push_back(text.substr(begin, end - begin));
    done = end;
    offset = end;
  }
  // No further match, or one that would have taken more memory than allowed: the rest is one piece.
  if (done < text.size()) pieces.push_back(text.substr(done));
  return pieces;
}

}  // namespace msa::engine
