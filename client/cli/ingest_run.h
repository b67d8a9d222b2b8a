#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "client/cli/command_context.h"
#include "client/cli/document_reader.h"
#include "client/cli/text_splitter.h"
#include "msa/v1/document.pb.h"

namespace msa::client {

// The server's limit of 128, less what tells inputs apart.
inline constexpr size_t kMaxSessionNameBytes = 128 - DocumentReader::kFingerprintBytes;

struct IngestRunOptions {
  v1::IngestMode mode = v1::INGEST_MODE_INSERT;
  v1::AcknowledgeAt acknowledge_at = v1::ACKNOWLEDGE_AT_ACTIVE;
  int64_t split_tokens = 0;  // documents of more tokens are cut; 0: none
  bool stop_on_error = false;
  std::string rejects_path;  // empty: none
  // What the server knows of an earlier run with this name and the same input files is passed over,
  // and the file of rejects is continued; empty: neither.
  std::string session;
};

// Sends what the reader gives to the bank, with a progress bar, and prints what became of it.
// `kExitPartial` when some documents were refused, `kExitFailed` when all were.
ExitCode RunIngest(const IngestRunOptions& options, DocumentReader* reader,
                   CommandContext* context);

// Counts tokens with the server.
TokenCounter ServerTokenCounter(CommandContext* context);

}  // namespace msa::client
