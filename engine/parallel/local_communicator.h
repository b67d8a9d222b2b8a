#pragma once

#include <memory>
#include <vector>

#include "engine/parallel/communicator.h"

namespace msa::engine {

// Communicators of `size` ranks that are threads of this process; element r belongs to rank r. Each
// keeps the group alive.
std::vector<std::unique_ptr<Communicator>> MakeLocalCommunicators(int size);

}  // namespace msa::engine
