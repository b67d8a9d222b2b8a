#pragma once

#include <cstdint>

namespace msa::engine {

// A call of a SimulatedFileSystem that fails, or all from one on.
struct FileFault {
  enum class Kind {
    kIoError,      // any call; Exists says no
    kDiskFull,     // calls that take space, and syncs
    kShortWrite,   // writes and appends: half is written, then the disk is full
    kProcessEnds,  // any call, and none has an effect: no sync has failed
  };
  Kind kind = Kind::kIoError;
  int64_t at_call = 0;  // a call that cannot fail so is let pass
  bool is_sticky = false;
};

}  // namespace msa::engine
