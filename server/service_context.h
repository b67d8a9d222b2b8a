#pragma once

#include "absl/time/time.h"
#include "engine/engine.h"
#include "server/ingest_sessions.h"
#include "server/options.h"
#include "server/server_metrics.h"
#include "server/server_state.h"
#include "server/task_runner.h"

namespace msa::server {

// What the services share. Everything outlives them.
struct ServiceContext {
  engine::Engine* engine = nullptr;
  ServerMetrics* metrics = nullptr;
  ServerState* state = nullptr;
  TaskRunner* calls = nullptr;    // whole calls, which may wait for the disk
  TaskRunner* streams = nullptr;  // short work for open calls; each has at most one task queued
  TaskRunner* jobs = nullptr;     // long work on banks
  IngestSessions* sessions = nullptr;
  ServerOptions::Limits limits;
  absl::Duration stalled_reader_timeout = absl::InfiniteDuration();
};

}  // namespace msa::server
