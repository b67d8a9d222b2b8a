#include "engine/memory/bank_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/memory/directory_bank_store.h"
#include "engine/memory/files/durable_directories.h"
#include "engine/memory/segments/segment_format.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

absl::Status CheckOptions(const BankStoreOptions& options) {
  const MemoryGeometry& geometry = options.geometry;
  if (geometry.model_fingerprint.size() > kMaxFingerprintBytes ||
      geometry.instruction_set.size() > kMaxInstructionSetBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a model fingerprint has at most ", kMaxFingerprintBytes,
                     " bytes, the name of an instruction set ", kMaxInstructionSetBytes));
  }
  if (options.num_shards < 1) return absl::InvalidArgumentError("a bank has at least one shard");
  return LayOutSegment(geometry, 1, 1).status();
}

}  // namespace

absl::StatusOr<std::unique_ptr<BankStore>> BankStore::Open(const BankStoreOptions& options,
                                                           DocumentEncoder* encoder,
                                                           FileSystem* files, Clock* clock,
                                                           MemoryObserver* observer) {
  static MemoryObserver* const no_observer = new MemoryObserver();
  MSA_RETURN_IF_ERROR(CheckOptions(options));
  MSA_RETURN_IF_ERROR(MakeDirectoriesDurably(files, options.data_dir));
  auto lock = files->Lock(absl::StrCat(options.data_dir, "/LOCK"));
  if (kernels::DetailOf(lock.status()).reason == "FILE_LOCKED") {
    return kernels::Refusal(
        absl::StatusCode::kFailedPrecondition,
        absl::StrCat("the data directory ", options.data_dir, " is in use by another server (",
                     lock.status().message(), ")"),
        "DATA_DIRECTORY_IN_USE");
  }
  if (!lock.ok()) return lock.status();
  BankEnvironment environment;
  environment.options = options;
  environment.encoder = encoder;
  environment.clock = clock;
  environment.observer = observer == nullptr ? no_observer : observer;
  environment.vfs = std::make_shared<CatalogVfs>(files, options.data_dir);
  environment.router_key_budget =
      std::make_shared<Budget>("router key budget of the server (--router-key-bytes)", "bytes",
                               "ROUTER_KEY_BUDGET_EXCEEDED", options.router_key_budget_bytes);
  auto store = std::make_unique<DirectoryBankStore>(std::move(environment), *std::move(lock));
  MSA_RETURN_IF_ERROR(store->Start());
  return store;
}

}  // namespace msa::engine
