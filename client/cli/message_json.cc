#include "client/cli/message_json.h"

#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "google/rpc/status.pb.h"
#include "msa/v1/document.pb.h"

namespace msa::client {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Json = nlohmann::ordered_json;

bool IsDuration(const FieldDescriptor* field) {
  return field->message_type() == google::protobuf::Duration::descriptor();
}

// SERVER_STATE_READY of ServerState is "ready".
std::string EnumWord(const EnumValueDescriptor* value) {
  std::string prefix;
  for (const char c : value->type()->name()) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c)) && !prefix.empty()) prefix += '_';
    prefix += absl::ascii_toupper(static_cast<unsigned char>(c));
  }
  return absl::AsciiStrToLower(absl::StripPrefix(value->name(), prefix + "_"));
}

Json SubmessageToJson(const Message& message) {
  if (const auto* duration = dynamic_cast<const google::protobuf::Duration*>(&message)) {
    return static_cast<double>(duration->seconds()) + 1e-9 * duration->nanos();
  }
  if (const auto* timestamp = dynamic_cast<const google::protobuf::Timestamp*>(&message)) {
    const absl::Time time =
        absl::FromUnixSeconds(timestamp->seconds()) + absl::Nanoseconds(timestamp->nanos());
    return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", time, absl::UTCTimeZone());
  }
  if (const auto* status = dynamic_cast<const google::rpc::Status*>(&message)) {
    const auto code = static_cast<absl::StatusCode>(status->code());
    return Json{{"code", absl::StatusCodeToString(code)}, {"message", status->message()}};
  }
  if (const auto* value = dynamic_cast<const v1::MetadataValue*>(&message)) {
    if (value->has_string_value()) return value->string_value();
    if (value->has_number_value()) return value->number_value();
    if (value->has_bool_value()) return value->bool_value();
    return nullptr;
  }
  return MessageToJson(message);
}

Json SingleValue(const Message& message, const FieldDescriptor* field) {
  const Reflection* reflection = message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection->GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection->GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection->GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection->GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection->GetDouble(message, field);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return reflection->GetFloat(message, field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection->GetBool(message, field);
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection->GetString(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumWord(reflection->GetEnum(message, field));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return SubmessageToJson(reflection->GetMessage(message, field));
  }
  return nullptr;
}

Json RepeatedValue(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection* reflection = message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection->GetRepeatedInt32(message, field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection->GetRepeatedInt64(message, field, index);
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection->GetRepeatedUInt32(message, field, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection->GetRepeatedUInt64(message, field, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection->GetRepeatedDouble(message, field, index);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return reflection->GetRepeatedFloat(message, field, index);
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection->GetRepeatedBool(message, field, index);
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection->GetRepeatedString(message, field, index);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumWord(reflection->GetRepeatedEnum(message, field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return SubmessageToJson(reflection->GetRepeatedMessage(message, field, index));
  }
  return nullptr;
}

Json MapValue(const Message& message, const FieldDescriptor* field) {
  const Reflection* reflection = message.GetReflection();
  std::map<std::string, Json> sorted;  // the order of a map field is not fixed
  for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
    const Message& entry = reflection->GetRepeatedMessage(message, field, i);
    const Json key = SingleValue(entry, entry.GetDescriptor()->map_key());
    sorted[key.is_string() ? key.get<std::string>() : key.dump()] =
        SingleValue(entry, entry.GetDescriptor()->map_value());
  }
  Json object = Json::object();
  for (auto& [key, value] : sorted) object[key] = std::move(value);
  return object;
}

Json FieldValue(const Message& message, const FieldDescriptor* field) {
  const Reflection* reflection = message.GetReflection();
  if (field->is_map()) return MapValue(message, field);
  if (field->is_repeated()) {
    Json array = Json::array();
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      array.push_back(RepeatedValue(message, field, i));
    }
    return array;
  }
  if (field->has_presence() && !reflection->HasField(message, field)) return nullptr;
  return SingleValue(message, field);
}

}  // namespace

Json MessageToJson(const Message& message) {
  const Descriptor* descriptor = message.GetDescriptor();
  Json json = Json::object();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    const bool unset_choice = field->real_containing_oneof() != nullptr &&
                              !message.GetReflection()->HasField(message, field);
    if (unset_choice) continue;
    const std::string name = IsDuration(field) ? field->name() + "_seconds" : field->name();
    json[name] = FieldValue(message, field);
  }
  return json;
}

}  // namespace msa::client
