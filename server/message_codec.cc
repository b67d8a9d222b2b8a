#include "server/message_codec.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/text/utf8.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/support/slice.h"
#include "kernels/core/check.h"
#include "kernels/core/error_detail.h"

namespace msa::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

constexpr int kMaxDepth = 16;  // deeper than any message of the API

absl::Status Malformed(const std::string& type) {
  return kernels::WithDetail(
      absl::InvalidArgumentError(absl::StrCat("the request is not a message of type ", type)),
      {.reason = "MALFORMED_MESSAGE", .field = "", .metadata = {}, .retry_after = {}});
}

absl::Status NotUtf8(const std::string& field) {
  return kernels::WithDetail(
      absl::InvalidArgumentError(absl::StrCat(field, " is not valid UTF-8")),
      {.reason = "INVALID_UTF8", .field = field, .metadata = {}, .retry_after = {}});
}

// `fields` without the strings that are not UTF-8. Returns the path of the first of those, or ""
// when there is none.
std::string DropBadStrings(const Descriptor& type, const UnknownFieldSet& fields, int depth,
                           UnknownFieldSet* kept) {
  std::string first_bad;
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    const FieldDescriptor* known = type.FindFieldByNumber(field.number());
    const bool delimited = field.type() == UnknownField::TYPE_LENGTH_DELIMITED && known != nullptr;
    if (delimited && known->type() == FieldDescriptor::TYPE_STRING &&
        engine::FindInvalidUtf8(field.length_delimited()) != std::string::npos) {
      if (first_bad.empty()) first_bad = known->name();
      continue;
    }
    UnknownFieldSet inner;
    if (delimited && known->type() == FieldDescriptor::TYPE_MESSAGE && depth < kMaxDepth &&
        inner.ParseFromString(field.length_delimited())) {
      UnknownFieldSet inner_kept;
      const std::string bad = DropBadStrings(*known->message_type(), inner, depth + 1, &inner_kept);
      if (!bad.empty()) {
        if (first_bad.empty()) first_bad = absl::StrCat(known->name(), ".", bad);
        inner_kept.SerializeToString(kept->AddLengthDelimited(field.number()));
        continue;
      }
    }
    kept->AddField(field);
  }
  return first_bad;
}

std::string ToString(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  std::string text;
  if (!bytes.Dump(&slices).ok()) return text;
  text.reserve(bytes.Length());
  for (const grpc::Slice& slice : slices)
    text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

}  // namespace

absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message* message) {
  const std::string name = message->GetDescriptor()->full_name();
  grpc::Slice slice;
  std::string text;
  const void* data = nullptr;
  size_t size = 0;
  if (bytes.TrySingleSlice(&slice).ok()) {
    data = slice.begin();
    size = slice.size();
  } else {
    text = ToString(bytes);
    data = text.data();
    size = text.size();
  }
  if (message->ParseFromArray(data, static_cast<int>(size))) return absl::OkStatus();

  UnknownFieldSet fields;
  if (!fields.ParseFromArray(data, static_cast<int>(size))) {
    message->Clear();
    return Malformed(name);
  }
  UnknownFieldSet kept;
  const std::string bad = DropBadStrings(*message->GetDescriptor(), fields, 0, &kept);
  std::string cleaned;
  kept.SerializeToString(&cleaned);
  if (bad.empty() || !message->ParseFromString(cleaned)) {
    message->Clear();
    return Malformed(name);
  }
  return NotUtf8(bad);
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  grpc::Slice slice(message.ByteSizeLong());
  MSA_CHECK(
      message.SerializeToArray(const_cast<uint8_t*>(slice.begin()), static_cast<int>(slice.size())),
      "a message of the API is over 2 GiB");
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace msa::server
