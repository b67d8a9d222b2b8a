#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/memory/bank_directories.h"
#include "engine/memory/memory_bank.h"

namespace msa::engine {

// A store's banks by name: which are open, which are closed until somebody asks for them, and which
// nobody may touch for a while. Memory for the open ones is bounded by the router key budget.
// Thread-safe.
class BankRegistry {
 public:
  // Both must outlive this.
  BankRegistry(const BankEnvironment* environment, const BankDirectories* directories)
      : environment_(environment), directories_(directories) {}
  ~BankRegistry();  // closes all

  struct Entry {
    std::shared_ptr<MemoryBank> bank;  // null where it is closed, or `problem` is not ok
    absl::Status problem;
    BankInfo info;  // as far as it could be read; of an open bank, ask that
  };

  // As BankStore's.
  absl::StatusOr<std::shared_ptr<Bank>> Get(const std::string& name);
  std::vector<BankInfo> List() const;
  std::vector<std::shared_ptr<MemoryBank>> OpenBanks() const;  // by name

  std::shared_ptr<Bank> FindOpen(const std::string& name) const;  // null where it is not open
  bool wants_room() const { return num_waiting_for_room_.load() > 0; }
  // Closes idle banks until so much memory is free, or no other is idle.
  void TryMakeRoom(int64_t num_bytes);

  void AddAtStart(const std::string& name);  // open where it fits, else closed

  // A name for a bank that is not there yet: BANK_EXISTS. Nobody finds it before Open.
  absl::Status Reserve(const std::string& name);
  void Forget(const std::string& name);
  // Shows what is in the directory now, open where room can be made, else closed.
  Entry Open(const std::string& name);

  // Hides a bank that is to be removed, unless `check` refuses (null: it cannot be used). Then
  // Forget or ShowWithProblem.
  using Check = absl::FunctionRef<absl::Status(const Bank* bank)>;
  absl::StatusOr<std::shared_ptr<MemoryBank>> Hide(const std::string& name, Check check);
  void ShowWithProblem(const std::string& name, const absl::Status& problem);

  // While it lives, the bank stays and no other job touches it. It is open, or has a problem.
  class Job {
   public:
    ~Job();
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;
    const Entry& entry() const { return entry_; }  // as it was when the job began

   private:
    friend class BankRegistry;
    Job(BankRegistry* registry, std::string name, Entry entry)
        : registry_(registry), name_(std::move(name)), entry_(std::move(entry)) {}

    BankRegistry* const registry_;
    const std::string name_;
    const Entry entry_;
  };
  absl::StatusOr<std::unique_ptr<Job>> BeginJob(const std::string& name);

 private:
  struct State : Entry {
    bool is_hidden = false;  // the name is taken, the bank is not there
    bool has_job = false;
    bool is_changing = false;  // being opened or closed: wait for changed_
    absl::Time last_use;
  };
  using Lock = std::unique_lock<std::mutex>;  // of mutex_; released while something takes time
  // Refuses the memory that a bank takes, or makes room for it.
  using MakeRoomFor = absl::FunctionRef<absl::Status(int64_t num_bytes)>;

  absl::StatusOr<State*> Find(const std::string& name, Lock* lock);
  absl::Status OpenClosed(const std::string& name, Lock* lock);
  absl::Status MakeRoom(int64_t num_bytes, Lock* lock);
  bool CloseOneIdle(Lock* lock);
  // Closed where `make_room` refuses: then `*refusal` says why.
  Entry Load(const std::string& name, MakeRoomFor make_room, absl::Status* refusal);
  absl::Status LoadBank(const std::string& name, MakeRoomFor make_room, absl::Status* refusal,
                        Entry* entry);

  const BankEnvironment* const environment_;
  const BankDirectories* const directories_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> num_waiting_for_room_ = 0;
  std::map<std::string, State> states_;  // under mutex_
};

// Whether Reencode makes a bank with this problem usable.
bool IsOfAnotherModel(const absl::Status& problem);

}  // namespace msa::engine
