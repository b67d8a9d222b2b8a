#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "tests/engine/memory/bank_fixture.h"
#include "tests/engine/memory/client_journal.h"
#include "tests/engine/memory/files/simulated_file_system.h"
#include "tests/engine/memory/random_client.h"

namespace msa::engine {

// A store on a simulated disk with one bank, "a", small segments and compaction that runs by
// itself; what clients were told of it; and whether a bank keeps to that after a crash.
class CrashTest : public BankTest {
 protected:
  static constexpr int64_t kEndOfTime = INT64_MAX;

  CrashTest();

  // Opens the store and the bank, which is made where it is not there. False where that fails.
  bool TryOpen(SimulatedFileSystem* files);
  // As if the process were killed: nothing of what closing does reaches the disk.
  void Kill(SimulatedFileSystem* files);
  // The same from `calls` calls on, while the store goes on; Kill is still to come.
  void KillAfter(SimulatedFileSystem* files, int64_t calls);

  // Opens the store on what a disk held at `time` of the journal: it holds what it may, serves
  // exactly that, reports no damage, takes a document, and gives it a number of its own.
  void ExpectKeepsToTheJournal(const DiskImage& image, int64_t time = kEndOfTime);

  ClientJournal journal_;
  std::optional<int64_t> bank_made_at_;  // acknowledged, in the journal's time

 private:
  std::map<std::string, ClientJournal::Document> Held();
};

}  // namespace msa::engine
