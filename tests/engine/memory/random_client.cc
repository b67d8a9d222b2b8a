#include "tests/engine/memory/random_client.h"

#include <latch>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/engine/memory/bank_fixture.h"

namespace msa::engine {
namespace {

constexpr int kNumIds = 24;

}  // namespace

void RandomClient::Step(Bank& bank) {
  const int what = Random(100);
  if (what < 66) {
    PutSome(bank);
  } else if (what < 82) {
    DeleteSome(bank);
  } else if (what < 86) {
    DeleteWhatMatches(bank);
  } else if (what < 91) {
    Compact(bank).status.IgnoreError();
  } else if (pin_ == nullptr) {
    pin_ = bank.Pin();
  } else {
    pin_.reset();
  }
}

std::string RandomClient::RandomId() { return absl::StrCat("d", Random(kNumIds)); }

DocumentInput RandomClient::RandomInput(std::string id) {
  DocumentInput input;
  input.id = std::move(id);
  const auto known = journal_->Acknowledged();
  const auto found = known.find(input.id);
  if (found != known.end() && Random(3) == 0) {
    input.text = found->second.text;  // with other metadata, or all the same
  } else {
    const int size = Random(12) == 0 ? Random(1500) : Random(60);
    input.text =
        absl::StrCat("text ", Random(1'000'000), std::string(static_cast<size_t>(size), '.'));
  }
  if (Random(2) == 0) input.metadata["k"] = static_cast<double>(Random(3));
  return input;
}

void RandomClient::PutSome(Bank& bank) {
  std::set<std::string> ids;
  for (int i = Random(5); i >= 0; --i) ids.insert(RandomId());
  std::vector<DocumentInput> inputs;
  for (const std::string& id : ids) inputs.push_back(RandomInput(id));
  Put(bank, std::move(inputs), Random(3) == 0 ? IngestMode::kInsert : IngestMode::kUpsert);
}

void RandomClient::Put(Bank& bank, std::vector<DocumentInput> inputs, IngestMode mode) {
  std::vector<char> is_unanswered(inputs.size());
  std::latch answered(static_cast<std::ptrdiff_t>(inputs.size()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    const DocumentInput& input = inputs[i];
    const AcknowledgeAt level = Random(2) == 0 ? AcknowledgeAt::kAccepted : AcknowledgeAt::kActive;
    const size_t change =
        journal_->Begin(now_(), {{input.id, ClientJournal::Document{input.text, input.metadata}}});
    bank.Ingest(input, mode, level, [&, i, change](const IngestResult& result) {
      // Of a document that is ACCEPTED the text is kept, also where queries may not see it soon.
      if (absl::IsAlreadyExists(result.status)) {
        journal_->Refuse(change);
      } else if (result.status.ok() || result.state == DocumentState::kAccepted) {
        journal_->Acknowledge(change, now_());
        journal_->NoteNumber(result.number, now_());
        journal_->NoteRevision(result.revision, now_());
      } else {
        is_unanswered[i] = 1;
      }
      answered.count_down();
    });
  }
  answered.wait();
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (is_unanswered[i] != 0) unanswered_puts_.push_back(std::move(inputs[i]));
  }
}

void RandomClient::Retry(Bank& bank) {
  Put(bank, std::exchange(unanswered_puts_, {}), IngestMode::kUpsert);
  ClientJournal::Contents contents;
  const auto ids = std::exchange(unanswered_deletes_, {});
  for (const std::string& id : ids) contents[id] = std::nullopt;
  Delete(contents, [&] { return msa::engine::Delete(bank, ids); });
}

void RandomClient::DeleteSome(Bank& bank) {
  const auto known = journal_->Acknowledged();
  ClientJournal::Contents contents;
  std::vector<std::string> ids;
  for (int i = Random(4); i >= 0; --i) {
    ids.push_back(RandomId());
    if (known.contains(ids.back())) contents[ids.back()] = std::nullopt;
  }
  Delete(contents, [&] { return msa::engine::Delete(bank, ids); });
}

void RandomClient::DeleteWhatMatches(Bank& bank) {
  const Filter filter = Filter::Parse(absl::StrCat("metadata.k = ", Random(3))).value();
  ClientJournal::Contents contents;
  for (const auto& [id, document] : journal_->Acknowledged()) {
    if (filter.Matches(id, document.metadata)) contents[id] = std::nullopt;
  }
  Delete(contents, [&] { return DeleteMatching(bank, filter); });
}

void RandomClient::Delete(const ClientJournal::Contents& contents,
                          const std::function<Bank::DeleteResult()>& call) {
  const size_t change = journal_->Begin(now_(), contents);
  const Bank::DeleteResult result = call();
  if (result.status.ok()) {
    journal_->Acknowledge(change, now_());
    journal_->NoteRevision(result.revision, now_());
    return;
  }
  for (const auto& [id, content] : contents) unanswered_deletes_.push_back(id);
}

}  // namespace msa::engine
