#include "engine/model/json_object.h"

#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 32;

}  // namespace

std::string Shorten(const json& value) {
  constexpr size_t kMaxBytes = 80;
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  if (text.size() > kMaxBytes) text = text.substr(0, kMaxBytes - 3) + "...";
  return text;
}

absl::StatusOr<JsonObject> JsonObject::Parse(std::string_view text, const std::string& where) {
  bool too_deep = false;
  std::string repeated;
  std::vector<std::set<std::string>> keys(kMaxDepth +
                                          2);  // of the object that is open at each depth
  const json::parser_callback_t watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth) {
      too_deep = true;
      return false;
    }
    const auto level = static_cast<size_t>(depth);
    if (event == json::parse_event_t::object_start) keys[level + 1].clear();
    if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys[level].insert(key).second && repeated.empty()) repeated = Shorten(parsed);
    }
    return true;
  };
  JsonObject object;
  object.where_ = where;
  object.json_ = json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (too_deep)
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": nested deeper than ", kMaxDepth, " levels"));
  if (object.json_.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": not valid JSON"));
  }
  if (!object.json_.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": expected a JSON object, found ", Shorten(object.json_)));
  }
  if (!repeated.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": key ", repeated, " occurs twice in one object"));
  }
  return object;
}

const json* JsonObject::Find(const std::string& key) const {
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

absl::Status JsonObject::Refuse(const std::string& key, std::string_view allowed) const {
  const json* value = Find(key);
  return absl::InvalidArgumentError(absl::StrFormat("%s: %s%s is %s; %s", where_, prefix_, key,
                                                    value == nullptr ? "missing" : Shorten(*value),
                                                    allowed));
}

absl::StatusOr<int64_t> JsonObject::Integer(const std::string& key, int64_t lowest, int64_t highest,
                                            std::optional<int64_t> fallback) const {
  const json* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  const bool fits = value != nullptr && value->is_number_integer() &&
                    (!value->is_number_unsigned() ||
                     value->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX)) &&
                    value->get<int64_t>() >= lowest && value->get<int64_t>() <= highest;
  if (!fits) return Refuse(key, absl::StrCat("allowed: an integer from ", lowest, " to ", highest));
  return value->get<int64_t>();
}

absl::StatusOr<double> JsonObject::Number(const std::string& key, double lowest, double highest,
                                          std::optional<double> fallback) const {
  const json* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  const bool fits = value != nullptr && value->is_number() && std::isfinite(value->get<double>()) &&
                    value->get<double>() >= lowest && value->get<double>() <= highest;
  if (!fits) return Refuse(key, absl::StrCat("allowed: a number from ", lowest, " to ", highest));
  return value->get<double>();
}

absl::StatusOr<bool> JsonObject::Bool(const std::string& key, std::optional<bool> fallback) const {
  const json* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_boolean()) return Refuse(key, "allowed: true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> JsonObject::String(const std::string& key,
                                               std::optional<std::string> fallback) const {
  const json* value = Find(key);
  if (value == nullptr && fallback) return *std::move(fallback);
  if (value == nullptr || !value->is_string()) return Refuse(key, "allowed: a string");
  return value->get<std::string>();
}

absl::StatusOr<JsonObject> JsonObject::Object(const std::string& key) const {
  const json* value = Find(key);
  if (value == nullptr || !value->is_object()) return Refuse(key, "allowed: an object");
  JsonObject object;
  object.where_ = where_;
  object.prefix_ = absl::StrCat(prefix_, key, ".");
  object.json_ = *value;
  return object;
}

}  // namespace msa::engine
