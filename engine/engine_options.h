#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "engine/memory/clock.h"
#include "engine/memory/files/file_system.h"
#include "kernels/core/dtype.h"
#include "kernels/core/op_context.h"

namespace msa::engine {

class ForwardProbe;     // engine/model/forward_probe.h
class TokenSource;      // engine/generation/token_source.h
struct SamplingParams;  // engine/generation/generation_params.h

struct EngineOptions {
  std::string model_dir;
  std::string data_dir;
  std::string backup_dir;  // empty: there can be no backups
  kernels::DeviceKind device = kernels::DeviceKind::kCpu;
  int num_shards = 1;   // ranks; 1 to 64
  int num_threads = 0;  // of all ranks together; 0: the cores this process may use
  kernels::ComputeDType compute_dtype = kernels::ComputeDType::kBF16;
  kernels::DType bank_dtype = kernels::DType::kBF16;  // f32 or bf16

  int64_t max_running = 32;  // sequences at a time, over all ranks
  int64_t max_queued_requests = 256;
  int64_t max_queued_tokens = int64_t{1} << 20;
  int64_t max_question_bytes = int64_t{64} << 10;
  int64_t kv_memory_bytes = int64_t{1} << 30;  // pages, shared by all ranks
  // Activations of prompts in work, as much again of documents in work, and as much again of what
  // queries keep of their prompts for their next rounds (KeptRows). One prompt or document
  // that needs more than this is worked on alone. Each rank has scratch of its own beside it, which
  // does not grow with prompts or documents, but for the router queries of a step.
  int64_t activation_bytes = int64_t{256} << 20;
  int64_t router_key_memory_bytes = int64_t{8} << 30;  // of all banks, with ids and metadata
  int64_t max_document_bytes = int64_t{4} << 20;
  // Every bank is verified this often, at so many bytes a second; infinite: never.
  absl::Duration scrub_interval = absl::InfiniteDuration();
  int64_t scrub_bytes_per_second = int64_t{16} << 20;
  absl::Duration slice_time =
      absl::Milliseconds(20);  // one step's prefill and encoding work aims at this
  int64_t max_unread_event_bytes = int64_t{256} << 10;  // of one stream; more pauses its sequence
  absl::Duration stalled_reader_timeout = absl::Seconds(30);

  // Replaced in tests; null: the system's.
  FileSystem* file_system = nullptr;
  Clock* clock = nullptr;
  ForwardProbe* probe = nullptr;
  std::function<std::unique_ptr<TokenSource>(const SamplingParams&)> make_token_source;
};

}  // namespace msa::engine
