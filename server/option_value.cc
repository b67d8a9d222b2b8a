#include "server/option_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace msa::server {
namespace {

constexpr std::array<std::pair<std::string_view, int>, 4> kUnits{
    {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}}};

absl::Status Wrong(std::string_view text, const std::string& allowed) {
  return absl::InvalidArgumentError(
      absl::StrCat("is \"", std::string(text), "\"; allowed: ", allowed));
}

bool ParseInteger(std::string_view text, int64_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

absl::StatusOr<bool> ParseBool(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return Wrong(text, "true, false");
}

absl::StatusOr<int64_t> ParseCount(std::string_view text, int64_t least, int64_t most) {
  int64_t value = 0;
  if (!ParseInteger(text, &value) || value < least || value > most) {
    return Wrong(text, absl::StrCat("a whole number from ", least, " to ", most));
  }
  return value;
}

absl::StatusOr<int64_t> ParseBytes(std::string_view text, int64_t least, int64_t most) {
  int shift = 0;
  std::string_view digits = text;
  for (const auto& [suffix, bits] : kUnits) {
    if (text.ends_with(suffix)) {
      shift = bits;
      digits.remove_suffix(suffix.size());
    }
  }
  int64_t value = 0;
  const bool fits = ParseInteger(digits, &value) && value >= 0 && value <= (INT64_MAX >> shift);
  if (!fits || (value << shift) < least || (value << shift) > most) {
    return Wrong(text, absl::StrCat("bytes from ", FormatBytes(least), " to ", FormatBytes(most),
                                    ", as a number or with KiB, MiB, GiB, TiB"));
  }
  return value << shift;
}

absl::StatusOr<absl::Duration> ParseTime(std::string_view text, absl::Duration least,
                                         absl::Duration most) {
  absl::Duration value;
  if (!absl::ParseDuration(std::string(text), &value) || value < least || value > most) {
    return Wrong(text, absl::StrCat("a time from ", absl::FormatDuration(least), " to ",
                                    absl::FormatDuration(most), ", such as 20ms, 30s or 1m30s"));
  }
  return value;
}

absl::StatusOr<std::string> ParseChoice(std::string_view text,
                                        const std::vector<std::string>& allowed) {
  if (std::find(allowed.begin(), allowed.end(), text) == allowed.end())
    return Wrong(text, absl::StrJoin(allowed, ", "));
  return std::string(text);
}

std::string FormatBytes(int64_t bytes) {
  for (auto unit = kUnits.rbegin(); unit != kUnits.rend(); ++unit) {
    const int64_t size = int64_t{1} << unit->second;
    if (bytes != 0 && bytes % size == 0)
      return absl::StrCat(bytes / size, std::string(unit->first));
  }
  return absl::StrCat(bytes);
}

std::string Nearest(std::string_view text, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(text.size() / 3, 1) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(text, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace msa::server
