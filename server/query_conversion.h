#pragma once

#include "engine/engine.h"
#include "engine/query_events.h"
#include "msa/v1/query_service.pb.h"
#include "msa/v1/routing.pb.h"

// The engine's query results as messages. `explain_layers`: with every layer's scores.
namespace msa::server {

void ToProto(const engine::QueryEvent& event, bool explain_layers, v1::GenerateResponse* out);
void ToProto(const engine::RetrieveResult& result, bool explain_layers, v1::RetrieveResponse* out);
v1::FinishReason ToProto(engine::FinishReason reason);

}  // namespace msa::server
