#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/engine/memory/crash_fixture.h"

namespace msa::engine {

// A bank of which everything is known, and whether one whose files were damaged serves nothing
// else.
class DamageTest : public CrashTest {
 protected:
  static constexpr char kCatalog[] = "/srv/data/banks/a/catalog.sqlite";
  static constexpr char kLog[] = "/srv/data/banks/a/catalog.sqlite-wal";

  enum class Outcome { kNothingDiffers, kReported, kRefused };

  DamageTest();

  // A bank with several segments, old versions, a document that failed, a text of several pages,
  // pages that are free, tables of several pages; half of it in the database, half in the log of a
  // server that was killed, or all in the database.
  DiskImage MakeDamageableBank(bool ends_killed);

  // Opens the store and reads all there is in every way. What is missing or cannot be read must have
  // been reported by file or document, and may not be missing at all where the catalog is intact;
  // what is served must be right in any case. Adds to `violations`.
  Outcome Check(const DiskImage& image, bool catalog_is_intact,
                std::vector<std::string>* violations);
  // A log that has lost its end is that of an earlier time, as after a power loss; nothing in it
  // says otherwise. What is served must be of that time.
  void CheckEarlierState(const DiskImage& image, std::vector<std::string>* violations);

  uint64_t bytes_before_last_ = 0;  // of the log, before the last document
  // Damage behind that may hide the last document: of the first of its two transactions only the end
  // tells that it was over.
  bool may_lose_last_ = false;
  int64_t num_last_lost_ = 0;

 private:
  struct Document {
    std::string text;
    Metadata metadata;
    uint32_t number = 0;
    DocumentState state = DocumentState::kActive;
  };

  void Put(const std::string& id, const std::string& text, Metadata metadata = {});
  void Remove(const std::string& id);
  void CompareArrays(std::vector<std::string>* violations, std::set<uint32_t>* missing,
                     std::set<uint32_t>* unreadable);
  std::map<uint32_t, Arrays> ReadArrays(const BankPin& pin, std::set<uint32_t>* unreadable);
  void CompareDocument(const DocumentInfo& info, bool was_reported,
                       std::vector<std::string>* violations);
  std::set<uint32_t> WaitUntilHealed(std::vector<std::string>* violations);
  void ReadDocuments(bool was_reported, std::vector<std::string>* errors,
                     std::set<std::string>* absent, std::vector<std::string>* violations);
  // Into pages that were free: nobody else's may be among them.
  bool PutAnother(std::vector<std::string>* violations);

  std::map<std::string, Document> truth_;
  std::set<std::string> deleted_;
  std::map<std::string, std::set<std::string>> history_;  // all texts that an id has had
  BankStats stats_;
};

}  // namespace msa::engine
