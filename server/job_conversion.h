#pragma once

#include "engine/memory/bank.h"
#include "engine/memory/bank_store.h"
#include "engine/memory/job_monitor.h"
#include "msa/v1/admin_service.pb.h"

// What long jobs say, as messages.
namespace msa::server {

void ToProto(const engine::JobProgress& progress, v1::JobProgress* out);
void ToProto(const engine::Bank::CompactResult& result, v1::CompactResult* out);
void ToProto(const engine::Bank::VerifyResult& result, v1::VerifyResult* out);
void ToProto(const engine::Damage& damage, v1::Damage* out);
void ToProto(const engine::BackupInfo& info, v1::Backup* out);

}  // namespace msa::server
