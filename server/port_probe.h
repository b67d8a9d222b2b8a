#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace msa::server {

// UNAVAILABLE with the system's reason when host:port cannot be bound: the libraries that bind it
// later do not tell. `what` names the port in the message ("gRPC", "metrics"). Port 0 is always
// free.
absl::Status CheckPortIsFree(const std::string& what, const std::string& host, int64_t port);

}  // namespace msa::server
