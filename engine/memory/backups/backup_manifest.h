#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/memory/files/file_system.h"
#include "kernels/core/dtype.h"

namespace msa::engine {

// A copy of a bank at one moment.
struct BackupInfo {
  std::string name;
  std::string bank;  // that was copied
  uint64_t revision = 0;
  absl::Time create_time;
  int64_t num_documents = 0;  // ACTIVE, ACCEPTED and FAILED
  int64_t file_bytes = 0;
  std::string model_fingerprint;
  kernels::DType dtype = kernels::DType::kBF16;
  absl::Status problem = {};  // not ok: the manifest cannot be read; only the name is known
};

struct BackupFile {
  std::string name;  // below the backup's directory
  int64_t num_bytes = 0;
  uint64_t checksum = 0;  // XXH3-64
};

// What a backup consists of; docs/memory_bank_format.md has the bytes.
struct BackupManifest {
  static constexpr char kFileName[] = "MANIFEST";

  BackupInfo info;
  std::vector<BackupFile> files;  // all but the manifest
};

// Writes and syncs the file, not its directory.
absl::Status WriteManifest(FileSystem* files, const std::string& directory,
                           const BackupManifest& manifest);
// DATA_LOSS, or FAILED_PRECONDITION (UNKNOWN_FORMAT_VERSION), names the file. NOT_FOUND. The
// backup's name is the directory's.
absl::StatusOr<BackupManifest> ReadManifest(FileSystem* files, const std::string& directory);

}  // namespace msa::engine
