#include "server/config_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "yaml-cpp/yaml.h"

namespace msa::server {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

absl::Status Wrong(const std::string& path, const YAML::Node& node, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ":", node.Mark().line + 1, ": ", what));
}

absl::StatusOr<Entries> Flatten(const std::string& path, const YAML::Node& root) {
  Entries entries;
  if (root.IsNull()) return entries;
  if (!root.IsMap()) return Wrong(path, root, "the file must hold sections such as \"listen:\"");
  for (const auto& section : root) {
    if (!section.first.IsScalar())
      return Wrong(path, section.first, "the name of a section must be a word");
    const std::string name = section.first.Scalar();
    if (section.second.IsNull()) continue;
    if (!section.second.IsMap())
      return Wrong(path, section.second, absl::StrCat(name, " must hold \"key: value\" lines"));
    for (const auto& entry : section.second) {
      if (!entry.first.IsScalar()) return Wrong(path, entry.first, "a key must be a word");
      const std::string key = absl::StrCat(name, ".", entry.first.Scalar());
      if (!entry.second.IsScalar())
        return Wrong(path, entry.second, absl::StrCat(key, " must have one value"));
      entries.emplace_back(key, entry.second.Scalar());
    }
  }
  return entries;
}

}  // namespace

absl::StatusOr<Entries> ReadConfigFile(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  if (file) text << file.rdbuf();
  if (!file)
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read ", path, ": ", std::strerror(errno)));
  try {  // yaml-cpp reports by exceptions
    return Flatten(path, YAML::Load(text.str()));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ":", error.mark.line + 1, ": not YAML: ", error.msg));
  }
}

}  // namespace msa::server
