#include "client/cli/option_checks.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace msa::client {

CLI::Validator OneOf(std::vector<std::pair<std::string, int>> words) {
  return CLI::Validator(
      [words = std::move(words)](std::string& value) {
        std::string allowed;
        for (const auto& [word, number] : words) {
          if (value == word) {
            value = absl::StrCat(number);
            return std::string();
          }
          absl::StrAppend(&allowed, allowed.empty() ? "" : ", ", word);
        }
        return absl::StrCat("is ", value, "; allowed: ", allowed);
      },
      "");
}

CLI::Validator AtLeast(double least) {
  return CLI::Validator(
      [least](std::string& value) {
        double number = 0;
        const bool is_number = absl::SimpleAtod(value, &number) && std::isfinite(number);
        if (is_number && number >= least) return std::string();
        return absl::StrCat("is ", value, "; allowed: a number, at least ", least);
      },
      "");
}

CLI::Validator AtMostBytes(size_t most) {
  return CLI::Validator(
      [most](std::string& value) {
        if (value.size() <= most) return std::string();
        return absl::StrCat("is ", value.size(), " bytes long; allowed: at most ", most);
      },
      "");
}

}  // namespace msa::client
