#include "server/version.h"

namespace msa::server {

std::string_view Version() { return MSA_VERSION; }

}  // namespace msa::server
