#include "tests/engine/memory/client_journal.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace msa::engine {
namespace {

template <class Value>
void NoteHighest(Value value, int64_t time, std::map<int64_t, Value>* values) {
  Value& highest = (*values)[time];
  highest = std::max(highest, value);
}

template <class Value>
Value HighestBy(int64_t time, const std::map<int64_t, Value>& values) {
  Value highest = 0;
  for (auto it = values.begin(); it != values.end() && it->first <= time; ++it) {
    highest = std::max(highest, it->second);
  }
  return highest;
}

std::string Describe(const ClientJournal::Content& content) {
  if (!content) return "(none)";
  return absl::StrCat("\"", content->text.substr(0, 40), "\" with ", content->metadata.size(),
                      " metadata");
}

}  // namespace

size_t ClientJournal::Begin(int64_t time, Contents contents) {
  const std::lock_guard lock(mutex_);
  changes_.push_back({time, std::nullopt, false, std::move(contents)});
  return changes_.size() - 1;
}

void ClientJournal::Acknowledge(size_t change, int64_t time) {
  const std::lock_guard lock(mutex_);
  changes_[change].acknowledged = time;
}

void ClientJournal::Refuse(size_t change) {
  const std::lock_guard lock(mutex_);
  changes_[change].is_refused = true;
}

void ClientJournal::Clear() {
  const std::lock_guard lock(mutex_);
  changes_.clear();
  numbers_.clear();
  revisions_.clear();
}

void ClientJournal::NoteNumber(uint32_t number, int64_t time) {
  const std::lock_guard lock(mutex_);
  NoteHighest(number, time, &numbers_);
}

void ClientJournal::NoteRevision(uint64_t revision, int64_t time) {
  const std::lock_guard lock(mutex_);
  NoteHighest(revision, time, &revisions_);
}

std::map<std::string, ClientJournal::Document> ClientJournal::Acknowledged() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, Document> documents;
  for (const Change& change : changes_) {
    if (!change.acknowledged) continue;
    for (const auto& [id, content] : change.contents) {
      documents.erase(id);
      if (content) documents[id] = *content;
    }
  }
  return documents;
}

uint32_t ClientJournal::HighestNumber(int64_t time) const {
  const std::lock_guard lock(mutex_);
  return HighestBy(time, numbers_);
}

uint64_t ClientJournal::HighestRevision(int64_t time) const {
  const std::lock_guard lock(mutex_);
  return HighestBy(time, revisions_);
}

int64_t ClientJournal::num_acknowledged() const {
  const std::lock_guard lock(mutex_);
  return std::count_if(changes_.begin(), changes_.end(),
                       [](const Change& change) { return change.acknowledged.has_value(); });
}

// An acknowledged change leaves nothing of what was possible before.
std::map<std::string, std::set<ClientJournal::Content>> ClientJournal::Possible(
    int64_t time) const {
  std::map<std::string, std::set<Content>> possible;
  for (const Change& change : changes_) {
    if (change.is_refused || change.begin >= time) continue;
    const bool is_acknowledged = change.acknowledged && *change.acknowledged <= time;
    for (const auto& [id, content] : change.contents) {
      std::set<Content>& contents = possible[id];
      if (contents.empty()) contents = {std::nullopt};
      if (is_acknowledged) contents.clear();
      contents.insert(content);
    }
  }
  return possible;
}

// Whether nothing else of what is not settled concerns its documents.
bool ClientJournal::IsAloneUnderWay(const Change& change, int64_t time) const {
  const auto is_settled = [&](const Change& other) {
    return other.is_refused || (other.acknowledged && *other.acknowledged <= time);
  };
  if (is_settled(change) || change.begin >= time) return false;
  return std::none_of(changes_.begin(), changes_.end(), [&](const Change& other) {
    if (&other == &change || (is_settled(other) && &other < &change)) return false;
    return std::any_of(other.contents.begin(), other.contents.end(),
                       [&](const auto& entry) { return change.contents.contains(entry.first); });
  });
}

std::vector<std::string> ClientJournal::Violations(const std::map<std::string, Document>& held,
                                                   int64_t time) const {
  const std::lock_guard lock(mutex_);
  const auto content_of = [&](const std::string& id) -> Content {
    const auto found = held.find(id);
    return found == held.end() ? Content() : Content(found->second);
  };
  std::vector<std::string> violations;
  const auto possible = Possible(time);
  for (const auto& [id, contents] : possible) {
    const Content content = content_of(id);
    if (contents.contains(content)) continue;
    violations.push_back(absl::StrCat(id, " is ", Describe(content), ", which was not possible; ",
                                      Describe(*contents.begin()), " was"));
  }
  for (const auto& [id, document] : held) {
    if (!possible.contains(id)) violations.push_back(id + " was never asked for");
  }
  for (const Change& change : changes_) {
    if (change.contents.size() < 2 || !IsAloneUnderWay(change, time)) continue;
    size_t num_done = 0;
    for (const auto& [id, content] : change.contents) num_done += content_of(id) == content;
    if (num_done == 0 || num_done == change.contents.size()) continue;
    violations.push_back(absl::StrCat("of a change of ", change.contents.size(), " documents ",
                                      num_done, " are changed"));
  }
  return violations;
}

}  // namespace msa::engine
