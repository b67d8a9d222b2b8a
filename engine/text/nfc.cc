#include "engine/text/nfc.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/core/check.h"

namespace msa::engine {
namespace {

// Shorter runs of marks are left to ICU.
constexpr size_t kLongRun = 64;

struct Mark {
  UChar32 code_point;
  uint8_t combining_class;
};

// Adds the canonical decomposition of `code_point`.
void AppendMarks(const icu::Normalizer2& nfd, UChar32 code_point, std::vector<Mark>* marks) {
  icu::UnicodeString parts;
  if (!nfd.getDecomposition(code_point, parts)) parts.setTo(code_point);
  for (int32_t i = 0; i < parts.length(); i = parts.moveIndex32(i, 1)) {
    const UChar32 part = parts.char32At(i);
    marks->push_back({part, nfd.getCombiningClass(part)});
  }
}

// Brings the marks between one character of class 0 and the next into canonical order.
void SortMarks(std::vector<Mark>* marks) {
  const auto is_starter = [](const Mark& mark) { return mark.combining_class == 0; };
  for (auto begin = marks->begin(); begin != marks->end();) {
    begin = std::find_if_not(begin, marks->end(), is_starter);
    const auto end = std::find_if(begin, marks->end(), is_starter);
    std::stable_sort(begin, end, [](const Mark& a, const Mark& b) {
      return a.combining_class < b.combining_class;
    });
    begin = end;
  }
}

void AppendUtf8(const std::vector<Mark>& marks, std::string* text) {
  icu::UnicodeString code_points;
  for (const Mark& mark : marks) code_points.append(mark.code_point);
  code_points.toUTF8String(*text);
}

// ICU puts a run of marks in canonical order by insertion, which is quadratic in its length: a
// megabyte of two alternating accents would take minutes. So long runs are decomposed and ordered
// here first; the result is canonically equivalent, therefore the normal form is the same. Returns
// false, and leaves `ordered` alone, if no run is long.
bool OrderLongRuns(const icu::Normalizer2& nfd, std::string_view text, std::string* ordered) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int32_t>(text.size());
  std::string result;
  int32_t copied = 0;
  int32_t run_begin = 0;
  size_t run_length = 0;
  const auto end_run = [&](int32_t run_end) {
    if (run_length >= kLongRun) {
      result.append(
          text.substr(static_cast<size_t>(copied), static_cast<size_t>(run_begin - copied)));
      std::vector<Mark> marks;
      for (int32_t i = run_begin; i < run_end;) {
        UChar32 code_point = 0;
        U8_NEXT_UNSAFE(bytes, i, code_point);
        AppendMarks(nfd, code_point, &marks);
      }
      SortMarks(&marks);
      AppendUtf8(marks, &result);
      copied = run_end;
    }
    run_length = 0;
  };
  for (int32_t i = 0; i < size;) {
    const int32_t begin = i;
    UChar32 code_point = 0;
    U8_NEXT_UNSAFE(bytes, i, code_point);
    // Everything below U+0300 starts a new run.
    if (code_point < 0x300 || nfd.hasBoundaryBefore(code_point)) {
      end_run(begin);
    } else if (run_length++ == 0) {
      run_begin = begin;
    }
  }
  end_run(size);
  if (copied == 0) return false;
  result.append(text.substr(static_cast<size_t>(copied)));
  *ordered = std::move(result);
  return true;
}

}  // namespace

std::string ToNfc(std::string_view text) {
  MSA_CHECK(text.size() <= std::numeric_limits<int32_t>::max(),
            "text to normalise is 2 GiB or more");
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* const nfc = icu::Normalizer2::getNFCInstance(error);
  const icu::Normalizer2* const nfd = icu::Normalizer2::getNFDInstance(error);
  MSA_CHECK(U_SUCCESS(error), "ICU has no normalisation data");

  std::string ordered;
  if (OrderLongRuns(*nfd, text, &ordered)) text = ordered;
  std::string result;
  icu::StringByteSink<std::string> sink(&result, static_cast<int32_t>(text.size()));
  nfc->normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink,
                     nullptr, error);
  MSA_CHECK(U_SUCCESS(error), "ICU could not normalise well-formed text");
  return result;
}

}  // namespace msa::engine
