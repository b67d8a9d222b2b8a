#include "engine/memory/bank_registry.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"
#include "kernels/core/string_view_conversion.h"

namespace msa::engine {
namespace {

constexpr absl::Duration kWaitForIdle = absl::Milliseconds(500);
constexpr absl::Duration kWaitForOpening = absl::Seconds(1);

std::string Describe(const MemoryGeometry& geometry) {
  return absl::StrCat("model ", geometry.model_fingerprint, " with ", geometry.num_msa_layers,
                      " layers of width ", geometry.kv_width, ", ", geometry.tokens_per_chunk,
                      " tokens per chunk, in ", kernels::ToAbsl(kernels::NameOf(geometry.dtype)));
}

absl::Status CheckModel(const CatalogSettings& bank, const MemoryGeometry& server) {
  const MemoryGeometry& own = bank.geometry;
  if (own.model_fingerprint == server.model_fingerprint && own.dtype == server.dtype &&
      own.num_msa_layers == server.num_msa_layers && own.kv_width == server.kv_width &&
      own.tokens_per_chunk == server.tokens_per_chunk) {
    return absl::OkStatus();
  }
  return kernels::Refusal(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat("bank \"", bank.name, "\" belongs to ", Describe(own), "; this server runs ",
                   Describe(server),
                   ". Encode it again (ReencodeBank, msactl bank reencode) to use it here"),
      "MODEL_MISMATCH", "bank",
      {{"bank_model", own.model_fingerprint},
       {"server_model", server.model_fingerprint},
       {"bank_dtype", std::string(kernels::NameOf(own.dtype))},
       {"server_dtype", std::string(kernels::NameOf(server.dtype))}});
}

BankInfo InfoFrom(const CatalogSettings& settings) {
  return {.name = settings.name,
          .settings = settings.bank,
          .revision = settings.revision,
          .create_time = settings.create_time,
          .dtype = settings.geometry.dtype,
          .model_fingerprint = settings.geometry.model_fingerprint};
}

absl::Status NoBank(const std::string& name) {
  return kernels::Refusal(absl::StatusCode::kNotFound,
                          absl::StrCat("there is no bank \"", name, "\""), "BANK_NOT_FOUND",
                          "bank");
}

absl::Status BankBusy(const std::string& name) {
  return kernels::Refusal(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat("bank \"", name, "\" is being backed up or encoded again; wait or cancel that"),
      "BANK_BUSY", "bank");
}

}  // namespace

bool IsOfAnotherModel(const absl::Status& problem) {
  return kernels::DetailOf(problem).reason == "MODEL_MISMATCH";
}

// A bank's thread may still be asking for room, until it is stopped.
BankRegistry::~BankRegistry() {
  std::vector<std::shared_ptr<MemoryBank>> banks;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [name, state] : states_) {
      if (state.bank != nullptr) banks.push_back(std::exchange(state.bank, nullptr));
    }
  }
  for (const auto& bank : banks) {
    bank->Stop();
    bank->CloseCatalog();
  }
}

BankRegistry::Entry BankRegistry::Load(const std::string& name, MakeRoomFor make_room,
                                       absl::Status* refusal) {
  Entry entry;
  entry.info.name = name;
  entry.problem = LoadBank(name, make_room, refusal, &entry);
  if (absl::IsDataLoss(entry.problem)) environment_->observer->ChecksumFailed();
  if (!entry.problem.ok()) environment_->observer->ProblemFound(name, entry.problem);
  return entry;
}

absl::Status BankRegistry::LoadBank(const std::string& name, MakeRoomFor make_room,
                                    absl::Status* refusal, Entry* entry) {
  MSA_ASSIGN_OR_RETURN(auto catalog,
                       Catalog::OpenUnchecked(*environment_->vfs, directories_->CatalogOf(name)));
  const CatalogSettings& settings = catalog->settings();
  entry->info = InfoFrom(settings);
  MSA_RETURN_IF_ERROR(CheckModel(settings, environment_->options.geometry));
  MSA_ASSIGN_OR_RETURN(
      const int64_t num_bytes,
      catalog->EstimateResidentBytes(settings, environment_->options.ScanOf(settings.bank)));
  *refusal = make_room(num_bytes);
  if (!refusal->ok()) return absl::OkStatus();
  MSA_ASSIGN_OR_RETURN(
      entry->bank, MemoryBank::Open(*environment_, directories_->PathOf(name), std::move(catalog)));
  return absl::OkStatus();
}

void BankRegistry::AddAtStart(const std::string& name) {
  absl::Status refusal;
  const Entry entry = Load(
      name, [this](int64_t num_bytes) { return environment_->router_key_budget->Check(num_bytes); },
      &refusal);
  const std::lock_guard lock(mutex_);
  static_cast<Entry&>(states_[name]) = entry;
}

absl::Status BankRegistry::Reserve(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (states_.contains(name)) {
    return kernels::Refusal(absl::StatusCode::kAlreadyExists,
                            absl::StrCat("bank \"", name, "\" is there already"), "BANK_EXISTS",
                            "bank");
  }
  states_[name].is_hidden = true;
  return absl::OkStatus();
}

void BankRegistry::Forget(const std::string& name) {
  const std::lock_guard lock(mutex_);
  states_.erase(name);
}

BankRegistry::Entry BankRegistry::Open(const std::string& name) {
  absl::Status refusal;
  const Entry entry = Load(
      name,
      [&](int64_t num_bytes) {
        Lock lock(mutex_);
        return MakeRoom(num_bytes, &lock);
      },
      &refusal);
  const std::lock_guard lock(mutex_);
  State& state = states_.at(name);
  static_cast<Entry&>(state) = entry;
  state.is_hidden = false;
  state.last_use = absl::Now();
  return entry;
}

std::shared_ptr<Bank> BankRegistry::FindOpen(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = states_.find(name);
  return found == states_.end() || found->second.is_hidden ? nullptr : found->second.bank;
}

void BankRegistry::TryMakeRoom(int64_t num_bytes) {
  Lock lock(mutex_);
  while (!environment_->router_key_budget->Check(num_bytes).ok() && CloseOneIdle(&lock)) {
  }
}

absl::StatusOr<BankRegistry::State*> BankRegistry::Find(const std::string& name, Lock* lock) {
  while (true) {
    const auto found = states_.find(name);
    if (found == states_.end() || found->second.is_hidden) return NoBank(name);
    if (!found->second.is_changing) return &found->second;
    // Not for as long as it may take: others want the thread.
    if (changed_.wait_for(*lock, absl::ToChronoNanoseconds(kWaitForOpening)) ==
        std::cv_status::timeout) {
      return kernels::Refusal(absl::StatusCode::kUnavailable,
                              absl::StrCat("bank \"", name, "\" is being opened"), "BANK_OPENING",
                              "bank", {}, absl::Seconds(1));
    }
  }
}

absl::StatusOr<std::shared_ptr<Bank>> BankRegistry::Get(const std::string& name) {
  Lock lock(mutex_);
  while (true) {
    MSA_ASSIGN_OR_RETURN(State* const state, Find(name, &lock));
    if (!state->problem.ok()) return state->problem;
    if (state->bank != nullptr) {
      state->last_use = absl::Now();
      return state->bank;
    }
    MSA_RETURN_IF_ERROR(OpenClosed(name, &lock));
  }
}

// Without the lock while it reads, so that other banks are served.
absl::Status BankRegistry::OpenClosed(const std::string& name, Lock* lock) {
  states_.at(name).is_changing = true;
  lock->unlock();
  absl::Status refusal;
  Entry entry = Load(
      name,
      [&](int64_t num_bytes) {
        Lock relock(mutex_);
        return MakeRoom(num_bytes, &relock);
      },
      &refusal);
  lock->lock();
  State& state = states_.at(name);
  static_cast<Entry&>(state) = std::move(entry);
  state.is_changing = false;
  changed_.notify_all();
  return refusal;
}

absl::Status BankRegistry::MakeRoom(int64_t num_bytes, Lock* lock) {
  num_waiting_for_room_ += 1;
  const absl::Cleanup done = [this] { num_waiting_for_room_ -= 1; };
  const absl::Time give_up = absl::Now() + kWaitForIdle;
  while (true) {
    const absl::Status status = environment_->router_key_budget->Check(num_bytes);
    if (status.ok()) return status;
    if (CloseOneIdle(lock)) continue;
    // What nobody holds is idle soon, unless it encodes.
    const bool may_be_idle_soon =
        std::any_of(states_.begin(), states_.end(), [](const auto& entry) {
          return entry.second.bank.use_count() == 1 && !entry.second.has_job;
        });
    if (may_be_idle_soon && absl::Now() < give_up) {
      lock->unlock();
      absl::SleepFor(kWaitForIdle / 50);
      lock->lock();
      continue;
    }
    const bool is_alone = std::none_of(states_.begin(), states_.end(), [](const auto& entry) {
      return entry.second.bank != nullptr;
    });
    if (is_alone) return absl::OkStatus();  // as ever: what is stored is served
    kernels::ErrorDetail detail = kernels::DetailOf(status);
    detail.retry_after = absl::Seconds(1);
    return kernels::WithDetail(
        absl::ResourceExhaustedError(absl::StrCat(
            "the bank is closed and the banks that are open are all in use: ", status.message())),
        detail);
  }
}

bool BankRegistry::CloseOneIdle(Lock* lock) {
  State* oldest = nullptr;
  std::string name;
  for (auto& [state_name, state] : states_) {
    const bool is_idle = state.bank != nullptr && state.bank.use_count() == 1 && !state.has_job &&
                         !state.is_hidden && !state.is_changing &&
                         state.bank->WaitIdle(absl::ZeroDuration()) &&
                         state.bank->write_failure().ok();
    if (!is_idle || (oldest != nullptr && oldest->last_use <= state.last_use)) continue;
    oldest = &state;
    name = state_name;
  }
  if (oldest == nullptr) return false;
  oldest->is_changing = true;
  oldest->info = oldest->bank->Info();
  std::shared_ptr<MemoryBank> bank = std::move(oldest->bank);
  oldest->bank = nullptr;
  lock->unlock();
  bank->Stop();
  bank->CloseCatalog();
  bank.reset();
  lock->lock();
  states_.at(name).is_changing = false;
  changed_.notify_all();
  return true;
}

std::vector<BankInfo> BankRegistry::List() const {
  const std::lock_guard lock(mutex_);
  std::vector<BankInfo> infos;
  for (const auto& [name, state] : states_) {
    if (state.is_hidden) continue;
    infos.push_back(state.bank == nullptr ? state.info : state.bank->Info());
    infos.back().problem = state.problem;
  }
  return infos;
}

std::vector<std::shared_ptr<MemoryBank>> BankRegistry::OpenBanks() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<MemoryBank>> banks;
  for (const auto& [name, state] : states_) {
    if (state.bank != nullptr && !state.is_hidden) banks.push_back(state.bank);
  }
  return banks;
}

absl::StatusOr<std::shared_ptr<MemoryBank>> BankRegistry::Hide(const std::string& name,
                                                               Check check) {
  Get(name).IgnoreError();  // a closed bank cannot say whether it has documents
  Lock lock(mutex_);
  MSA_ASSIGN_OR_RETURN(State* const state, Find(name, &lock));
  if (state->has_job) return BankBusy(name);
  MSA_RETURN_IF_ERROR(check(state->bank.get()));
  state->is_hidden = true;
  return state->bank;
}

void BankRegistry::ShowWithProblem(const std::string& name, const absl::Status& problem) {
  const std::lock_guard lock(mutex_);
  State& state = states_.at(name);
  state.bank = nullptr;
  state.problem = problem;
  state.is_hidden = false;
}

absl::StatusOr<std::unique_ptr<BankRegistry::Job>> BankRegistry::BeginJob(const std::string& name) {
  const auto open = Get(name);  // stays so while it is held
  Lock lock(mutex_);
  MSA_ASSIGN_OR_RETURN(State* const state, Find(name, &lock));
  if (state->has_job) return BankBusy(name);
  if (state->bank == nullptr && state->problem.ok()) {
    return open.ok() ? BankBusy(name) : open.status();
  }
  state->has_job = true;
  return std::unique_ptr<Job>(new Job(this, name, *state));
}

BankRegistry::Job::~Job() {
  const std::lock_guard lock(registry_->mutex_);
  registry_->states_.at(name_).has_job = false;
}

}  // namespace msa::engine
