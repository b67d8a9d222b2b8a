#include "client/cli/text_file.h"

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "client/cli/utf8.h"

namespace msa::client {

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  std::string text(std::istreambuf_iterator<char>(stream), {});
  const size_t invalid = FirstInvalidUtf8Byte(text);
  if (invalid == std::string::npos) return text;
  return absl::InvalidArgumentError(absl::StrCat(path, ": not UTF-8 at byte ", invalid + 1));
}

}  // namespace msa::client
