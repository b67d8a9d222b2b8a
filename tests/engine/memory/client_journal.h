#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/memory/documents/document.h"

namespace msa::engine {

// What clients asked of a bank and what they were told, each at a time (the number of file
// operations by then), and so what the bank may hold after a crash at any time. Changes of one id
// follow each other; those of several ids are alone. Thread-safe.
class ClientJournal {
 public:
  struct Document {
    std::string text;
    Metadata metadata;
    friend auto operator<=>(const Document&, const Document&) = default;
  };
  using Content = std::optional<Document>;  // nullopt: there is none
  using Contents = std::map<std::string, Content>;

  // A change that is asked for, all of it or nothing. Returns its index.
  size_t Begin(int64_t time, Contents contents);
  void Acknowledge(size_t change, int64_t time);
  void Refuse(size_t change);  // it has not happened and will not; others may have
  void Clear();
  void NoteNumber(uint32_t number, int64_t time);
  void NoteRevision(uint64_t revision, int64_t time);

  std::map<std::string, Document> Acknowledged() const;  // by now
  uint32_t HighestNumber(int64_t time) const;
  uint64_t HighestRevision(int64_t time) const;
  int64_t num_acknowledged() const;

  // What is wrong with what a bank held after it was opened on what was there at `time`; one line
  // each.
  std::vector<std::string> Violations(const std::map<std::string, Document>& held,
                                      int64_t time) const;

 private:
  struct Change {
    int64_t begin = 0;
    std::optional<int64_t> acknowledged;
    bool is_refused = false;
    Contents contents;
  };
  std::map<std::string, std::set<Content>> Possible(int64_t time) const;
  bool IsAloneUnderWay(const Change& change, int64_t time) const;

  mutable std::mutex mutex_;
  std::vector<Change> changes_;            // under mutex_
  std::map<int64_t, uint32_t> numbers_;    // under mutex_: the highest by a time
  std::map<int64_t, uint64_t> revisions_;  // under mutex_
};

}  // namespace msa::engine
