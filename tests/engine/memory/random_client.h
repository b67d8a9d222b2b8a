#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/memory/bank.h"
#include "tests/engine/memory/client_journal.h"

namespace msa::engine {

// Uses a bank at random: puts several documents at once (new ones, new versions, other metadata),
// deletes by id and by filter, compacts, holds pins. What it asked for and was told is in a
// journal.
class RandomClient {
 public:
  // `now` gives the journal's time; called on any thread. Both outlive the client.
  RandomClient(uint32_t seed, ClientJournal* journal, std::function<int64_t()> now)
      : random_(seed), journal_(journal), now_(std::move(now)) {}

  // One step; returns when all of it is answered.
  void Step(Bank& bank);
  // Asks again for what was not answered with success, after the bank was opened again.
  void Retry(Bank& bank);
  void DropPin() { pin_.reset(); }  // before the bank is closed

  int Random(int end) { return static_cast<int>(random_() % static_cast<unsigned>(end)); }

 private:
  std::string RandomId();
  DocumentInput RandomInput(std::string id);
  void PutSome(Bank& bank);
  void Put(Bank& bank, std::vector<DocumentInput> inputs, IngestMode mode);
  void DeleteSome(Bank& bank);
  void DeleteWhatMatches(Bank& bank);
  void Delete(const ClientJournal::Contents& contents,
              const std::function<Bank::DeleteResult()>& call);

  std::mt19937 random_;
  ClientJournal* const journal_;
  const std::function<int64_t()> now_;
  std::unique_ptr<BankPin> pin_;
  std::vector<DocumentInput> unanswered_puts_;
  std::vector<std::string> unanswered_deletes_;
};

}  // namespace msa::engine
