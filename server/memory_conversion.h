#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/memory/bank.h"
#include "engine/memory/documents/document.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "msa/v1/bank.pb.h"
#include "msa/v1/document.pb.h"
#include "msa/v1/memory_service.pb.h"

// The engine's banks and documents as messages.
namespace msa::server {

void ToProto(absl::Time time, google::protobuf::Timestamp* out);
void ToProto(absl::Duration duration, google::protobuf::Duration* out);
void ToProto(const engine::BankInfo& info, v1::Bank* out);
void ToProto(const engine::BankStats& stats, v1::BankStats* out);
void ToProto(const engine::DocumentInfo& info, v1::Document* out);
v1::DocumentState ToProto(engine::DocumentState state);

// Page tokens say where the next page starts and which bank and filter they are for.
std::string MakePageToken(const v1::ListDocumentsRequest& request, const std::string& after_id);
// The id to start after; empty for an empty token. INVALID_ARGUMENT when the token is not of this
// bank and filter.
absl::StatusOr<std::string> ParsePageToken(const v1::ListDocumentsRequest& request);

}  // namespace msa::server
