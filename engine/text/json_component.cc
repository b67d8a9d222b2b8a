#include "engine/text/json_component.h"

#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/text/utf8.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

using nlohmann::json;

// Values in messages are cut here.
constexpr size_t kMaxShownBytes = 80;

// A value in a few words. Never descends into it: a damaged file may nest a million arrays.
std::string Describe(const json* value) {
  if (value == nullptr) return "missing";
  if (value->is_string()) return Shown(value->get_ref<const std::string&>());
  if (value->is_object()) {
    const auto type = value->find("type");
    if (type != value->end() && type->is_string()) return type->get<std::string>();
    return "an object without a type";
  }
  if (value->is_array()) return absl::StrCat("an array of ", value->size());
  return value->dump();
}

}  // namespace

absl::StatusOr<json> ParseJsonObject(std::string_view text) {
  std::vector<absl::flat_hash_set<std::string>> open_objects;
  std::string duplicate;
  const auto check_keys = [&](int /*depth*/, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) {
      open_objects.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      open_objects.pop_back();
    } else if (event == json::parse_event_t::key && duplicate.empty()) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!open_objects.back().insert(key).second) duplicate = Shown(key);
    }
    return true;
  };
  json root;
  try {
    root = json::parse(text.begin(), text.end(), check_keys);
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("not valid JSON: ", ReplaceInvalidUtf8(error.what())));
  }
  if (!root.is_object()) return absl::InvalidArgumentError("not a JSON object");
  if (!duplicate.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("an object has the key ", duplicate, " twice"));
  }
  return root;
}

std::string Shown(std::string_view text) {
  if (text.size() <= kMaxShownBytes) return absl::StrCat("\"", kernels::ToAbsl(text), "\"");
  const std::string begin = ReplaceInvalidUtf8(text.substr(0, kMaxShownBytes));
  return absl::StrCat("\"", begin, "\"... (", text.size(), " bytes)");
}

const json* Find(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

bool IsAbsent(const json* value) { return value == nullptr || value->is_null(); }

bool IsAbsentOrEmpty(const json* value) {
  return IsAbsent(value) || (value->is_string() && value->get_ref<const std::string&>().empty());
}

bool IsFalse(const json* value) {
  return value != nullptr && value->is_boolean() && !value->get<bool>();
}

bool IsType(const json* value, std::string_view type) {
  const json* const name = value == nullptr ? nullptr : Find(*value, "type");
  return name != nullptr && name->is_string() && name->get_ref<const std::string&>() == type;
}

absl::Status Unsupported(absl::string_view component, const json* found,
                         absl::string_view supported) {
  return absl::InvalidArgumentError(
      absl::StrCat(component, " is ", Describe(found), "; supported: ", supported));
}

absl::StatusOr<bool> ReadBool(const json& object, const char* key, absl::string_view component) {
  const json* const value = Find(object, key);
  if (value == nullptr || !value->is_boolean()) {
    return Unsupported(absl::StrCat(component, ".", key), value, "true or false");
  }
  return value->get<bool>();
}

}  // namespace msa::engine
