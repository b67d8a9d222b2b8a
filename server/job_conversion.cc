#include "server/job_conversion.h"

#include <string>

#include "engine/text/utf8.h"
#include "kernels/core/string_view_conversion.h"
#include "server/memory_conversion.h"

namespace msa::server {

void ToProto(const engine::JobProgress& progress, v1::JobProgress* out) {
  out->set_phase(std::string(progress.phase));
  out->set_unit(std::string(progress.unit));
  out->set_done(progress.done);
  out->set_total(progress.total);
}

void ToProto(const engine::Bank::CompactResult& result, v1::CompactResult* out) {
  out->set_dropped_documents(result.num_dropped);
  out->set_freed_bytes(result.freed_bytes);
  out->set_segments(result.num_segments);
  out->set_pinned_documents(result.num_pinned);
}

void ToProto(const engine::Bank::VerifyResult& result, v1::VerifyResult* out) {
  out->set_documents(result.num_documents);
  out->set_segments(result.num_segments);
  out->set_checked_bytes(result.checked_bytes);
  out->set_damages(result.num_damages);
}

void ToProto(const engine::Damage& damage, v1::Damage* out) {
  // An id that was read from a damaged row may be anything.
  out->set_file(engine::ReplaceInvalidUtf8(damage.file));
  out->set_document_id(engine::ReplaceInvalidUtf8(damage.document_id));
  out->set_message(engine::ReplaceInvalidUtf8(damage.message));
}

void ToProto(const engine::BackupInfo& info, v1::Backup* out) {
  out->set_name(info.name);
  if (!info.problem.ok()) {
    out->set_problem(engine::ReplaceInvalidUtf8(kernels::ToStd(info.problem.message())));
    return;
  }
  out->set_bank(info.bank);
  out->set_revision(info.revision);
  ToProto(info.create_time, out->mutable_create_time());
  out->set_documents(info.num_documents);
  out->set_bytes(info.file_bytes);
  out->set_model_fingerprint(info.model_fingerprint);
  out->set_dtype(std::string(kernels::NameOf(info.dtype)));
}

}  // namespace msa::server
