#pragma once

#include "client/cli/source_document.h"
#include "google/protobuf/map.h"
#include "msa/v1/document.pb.h"
#include "msa/v1/memory_service.pb.h"

// Documents of the user's files as messages, and back.
namespace msa::client {

using MetadataFields = google::protobuf::Map<std::string, v1::MetadataValue>;

void SetMetadata(const Metadata& metadata, MetadataFields* out);  // adds to what is there
v1::IngestDocument ToMessage(const SourceDocument& source);
SourceDocument FromMessage(const v1::Document& document);

}  // namespace msa::client
