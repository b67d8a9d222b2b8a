#pragma once

#include "absl/status/status.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"

// The services take and give raw bytes and parse here: gRPC's own parsing answers UNIMPLEMENTED to
// a message with a string that is not UTF-8, and in a stream it cannot be told from a half-close.
namespace msa::server {

// INVALID_ARGUMENT: MALFORMED_MESSAGE when the bytes are not such a message; INVALID_UTF8 when the
// only fault are strings that are not UTF-8. Then the error names the first one's field, and
// `message` holds everything but those strings.
absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message* message);

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

}  // namespace msa::server
