#pragma once

#include "client/cli/command_context.h"
#include "client/cli/document_reader.h"
#include "client/cli/ingest_run.h"

namespace msa::client {

// What RunIngest would send, without sending it: reads, splits, lets the server count, and prints
// documents, tokens, chunks and bytes in all. Documents over the server's limits and lines that are
// no documents are rejects.
ExitCode RunIngestDry(const IngestRunOptions& options, DocumentReader* reader,
                      CommandContext* context);

}  // namespace msa::client
