#include "engine/engine.h"
#include "engine/model/model_config.h"
#include "kernels/core/cpu_features.h"
#include "server/server_main.h"

int main(int argc, char** argv) {
  return msa::server::RunServer(argc, argv,
                                {.open = msa::engine::Engine::Open,
                                 .check_model =
                                     [](const std::string& model_dir) {
                                       return msa::engine::LoadModelConfig(model_dir).status();
                                     },
                                 .limit_instruction_set = msa::kernels::LimitInstructionSet});
}
