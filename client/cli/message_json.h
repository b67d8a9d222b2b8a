#pragma once

#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"

namespace msa::client {

// A message as JSON for programs, by its descriptor: every field under its own name, also those
// with default values (unset messages and optional fields are null), 64-bit integers as numbers,
// durations as `NAME_seconds`, timestamps as RFC 3339 in UTC, enum values as lower-case words
// without the enum's name, maps as objects, a set oneof as the field that is set, metadata values
// as plain values.
nlohmann::ordered_json MessageToJson(const google::protobuf::Message& message);

}  // namespace msa::client
