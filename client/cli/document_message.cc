#include "client/cli/document_message.h"

namespace msa::client {

void SetMetadata(const Metadata& metadata, MetadataFields* out) {
  for (const auto& [key, value] : metadata) {
    v1::MetadataValue& entry = (*out)[key];
    if (const auto* text = std::get_if<std::string>(&value)) entry.set_string_value(*text);
    if (const auto* number = std::get_if<double>(&value)) entry.set_number_value(*number);
    if (const auto* truth = std::get_if<bool>(&value)) entry.set_bool_value(*truth);
  }
}

v1::IngestDocument ToMessage(const SourceDocument& source) {
  v1::IngestDocument message;
  message.set_document_id(source.id);
  message.set_text(source.text);
  SetMetadata(source.metadata, message.mutable_metadata());
  return message;
}

SourceDocument FromMessage(const v1::Document& document) {
  SourceDocument source;
  source.id = document.id();
  source.text = document.text();
  for (const auto& [key, value] : document.metadata()) {
    if (value.has_string_value()) source.metadata[key] = value.string_value();
    if (value.has_number_value()) source.metadata[key] = value.number_value();
    if (value.has_bool_value()) source.metadata[key] = value.bool_value();
  }
  return source;
}

}  // namespace msa::client
