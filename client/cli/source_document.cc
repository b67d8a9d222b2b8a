#include "client/cli/source_document.h"

#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/utf8.h"
#include "nlohmann/json.hpp"

namespace msa::client {
namespace {

using Json = nlohmann::ordered_json;

absl::Status Refuse(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

// "string", "null", … with the value where it is short.
std::string Describe(const Json& value) {
  if (value.is_structured() || value.is_null()) return value.type_name();
  const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return absl::StrCat(value.type_name(), " ", OneLine(text, 40));
}

// What the JSON library says may end in the middle of a character.
std::string WithWholeCharacters(std::string_view text) {
  std::string whole(text);
  for (size_t at; (at = FirstInvalidUtf8Byte(whole)) != std::string::npos;) {
    whole.replace(at, 1, "\uFFFD");
  }
  return whole;
}

absl::StatusOr<Json> ParseObject(std::string_view line, const std::string& where,
                                 const char* expected) {
  const size_t invalid = FirstInvalidUtf8Byte(line);
  if (invalid != std::string_view::npos) {
    return Refuse(where, absl::StrCat("not UTF-8 at byte ", invalid + 1, " of the line"));
  }
  try {
    Json json = Json::parse(line);
    if (!json.is_object()) {
      return Refuse(where, absl::StrCat("expected ", expected, ", found ", Describe(json)));
    }
    return json;
  } catch (const Json::parse_error& error) {
    // "[json.exception…] parse error at line 1, column 9: syntax error while parsing value - …":
    // only the end is of use.
    const std::string_view what = error.what();
    const size_t reason = what.find(" - ");
    return Refuse(where,
                  absl::StrCat("not JSON at byte ", error.byte, " of the line: ",
                               reason == what.npos
                                   ? "incomplete"
                                   : OneLine(WithWholeCharacters(what.substr(reason + 3)), 120)));
  } catch (const Json::out_of_range&) {
    return Refuse(where, "a number is too large; allowed: what fits into 64-bit floating point");
  }
}

absl::Status ReadId(const Json& value, const std::string& where, SourceDocument* document) {
  if (value.is_string()) {
    document->id = value.get<std::string>();
  } else if (value.is_number_integer()) {
    document->id = value.dump();
  } else {
    return Refuse(where,
                  absl::StrCat("\"id\" is ", Describe(value), "; allowed: a string or an integer"));
  }
  if (document->id.empty()) return Refuse(where, "\"id\" is empty");
  return absl::OkStatus();
}

absl::Status ReadText(const Json& value, const std::string& where, SourceDocument* document) {
  if (!value.is_string()) {
    return Refuse(where, absl::StrCat("\"text\" is ", Describe(value), "; allowed: a string"));
  }
  document->text = value.get<std::string>();
  if (document->text.empty()) return Refuse(where, "\"text\" is empty");
  return absl::OkStatus();
}

absl::Status ReadMetadata(const Json& value, const std::string& where, SourceDocument* document) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_object()) {
    return Refuse(where, absl::StrCat("\"metadata\" is ", Describe(value), "; allowed: an object"));
  }
  for (const auto& [key, entry] : value.items()) {
    if (entry.is_string()) {
      document->metadata[key] = entry.get<std::string>();
    } else if (entry.is_boolean()) {
      document->metadata[key] = entry.get<bool>();
    } else if (entry.is_number()) {
      document->metadata[key] = entry.get<double>();
    } else {
      return Refuse(where, absl::StrCat("metadata \"", OneLine(key, 40), "\" is ", Describe(entry),
                                        "; allowed: a string, a number or a boolean"));
    }
  }
  return absl::OkStatus();
}

Json ToJson(const MetadataValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* truth = std::get_if<bool>(&value)) return *truth;
  const double number = std::get<double>(value);
  // Beyond it not every whole number has a double of its own.
  constexpr double kMostWhole = 9007199254740992.0;
  const bool is_whole = std::trunc(number) == number && std::abs(number) <= kMostWhole &&
                        !(number == 0 && std::signbit(number));
  return is_whole ? Json(static_cast<int64_t>(number)) : Json(number);
}

Json ToJson(const Metadata& metadata) {
  Json json = Json::object();
  for (const auto& [key, value] : metadata) json[key] = ToJson(value);
  return json;
}

Json ToJson(const SourceDocument& document) {
  Json json{{"id", document.id}, {"text", document.text}};
  if (!document.metadata.empty()) json["metadata"] = ToJson(document.metadata);
  return json;
}

Json ErrorJson(const absl::Status& error) {
  return Json{{"code", absl::StatusCodeToString(error.code())},
              {"message", std::string(error.message())}};
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<SourceDocument> ParseDocumentLine(std::string_view line, const std::string& where) {
  absl::StatusOr<Json> json =
      ParseObject(line, where, "a JSON object {\"id\", \"text\", \"metadata\"}");
  if (!json.ok()) return json.status();
  SourceDocument document;
  document.where = where;
  bool has_id = false;
  bool has_text = false;
  for (const auto& [key, value] : json->items()) {
    absl::Status status;
    if (key == "id") {
      has_id = true;
      status = ReadId(value, where, &document);
    } else if (key == "text") {
      has_text = true;
      status = ReadText(value, where, &document);
    } else if (key == "metadata") {
      status = ReadMetadata(value, where, &document);
    } else if (key.empty() || key[0] != '_') {
      status =
          Refuse(where, absl::StrCat("unknown key \"", OneLine(key, 40),
                                     "\"; allowed: id, text, metadata (an object for all else)"));
    }
    if (!status.ok()) return status;
  }
  if (!has_id) return Refuse(where, "\"id\" is missing");
  if (!has_text) return Refuse(where, "\"text\" is missing");
  return document;
}

absl::StatusOr<Metadata> ParseMetadata(std::string_view json, const std::string& where) {
  absl::StatusOr<Json> object =
      ParseObject(json, where, "a JSON object of strings, numbers and booleans");
  if (!object.ok()) return object.status();
  SourceDocument document;
  const absl::Status status = ReadMetadata(*object, where, &document);
  if (!status.ok()) return status;
  return std::move(document.metadata);
}

std::string DocumentLine(const SourceDocument& document) { return Dump(ToJson(document)); }

std::string MetadataText(const Metadata& metadata) { return Dump(ToJson(metadata)); }

std::string RejectedDocumentLine(const SourceDocument& document, const absl::Status& error) {
  Json json = ToJson(document);
  json["_where"] = document.where;
  json["_error"] = ErrorJson(error);
  return Dump(json);
}

std::string RejectedRawLine(std::string_view line, const std::string& where,
                            const absl::Status& error) {
  return Dump(Json{{"_where", where}, {"_error", ErrorJson(error)}, {"_line", std::string(line)}});
}

}  // namespace msa::client
