#include "engine/memory/acceptance.h"

#include <optional>
#include <utility>

#include "engine/memory/bank_transaction.h"
#include "kernels/core/refusal.h"

namespace msa::engine {
namespace {

constexpr int kMaxBatchDocuments = 256;
constexpr absl::Duration kBatchTime = absl::Milliseconds(5);

}  // namespace

bool Acceptance::takes_ingests() const {
  return queue_->size() < parts_->options.max_pending_documents;
}

void Acceptance::RefuseAll(const absl::Status& status) {
  for (DeleteRequest& request : parts_->inbox->TakeDeletes()) {
    Bank::DeleteResult result;
    result.status = status;
    request.done(std::move(result));
  }
  for (SettingsRequest& request : parts_->inbox->TakeSettings()) request.done(status);
  while (std::optional<IngestRequest> request = parts_->inbox->PopIngest()) {
    IngestResult result;
    result.id = request->document.id;
    result.status = status;
    request->done(std::move(result));
  }
}

void Acceptance::Run() {
  if (!parts_->write_failure.ok()) {
    RefuseAll(kernels::Refusal(absl::StatusCode::kUnavailable,
                               absl::StrCat("the bank is read-only since a write failed: ",
                                            parts_->write_failure.message()),
                               "BANK_READ_ONLY"));
    return;
  }
  std::vector<DeleteRequest> deletes = parts_->inbox->TakeDeletes();
  std::vector<SettingsRequest> settings = parts_->inbox->TakeSettings();
  const bool has_ingests = takes_ingests() && parts_->inbox->has_ingests();
  if (deletes.empty() && settings.empty() && !has_ingests) return;

  std::vector<Reply> replies;
  BankTransaction transaction(parts_);
  for (DeleteRequest& request : deletes) {
    Bank::DeleteResult result;
    transaction.Apply(request, &result);
    replies.push_back(ReplyTo(std::move(request.done), std::move(result)));
  }
  for (SettingsRequest& request : settings) {
    absl::Status result;
    transaction.Apply(request, &result);
    replies.push_back(
        [done = std::move(request.done), result](const absl::Status& committed) mutable {
          done(result.ok() ? committed : result);
        });
  }
  const absl::Duration end = parts_->clock->Monotonic() + kBatchTime;
  for (int i = 0; i < kMaxBatchDocuments && takes_ingests(); ++i) {
    std::optional<IngestRequest> request = parts_->inbox->PopIngest();
    if (!request) break;
    IngestResult result;
    result.id = request->document.id;
    transaction.Apply(&*request, &result);
    replies.push_back(ReplyTo(std::move(request->done), request->level, std::move(result)));
    if (parts_->clock->Monotonic() >= end) break;
  }
  const absl::Status status = transaction.Commit();
  if (status.ok()) {
    TakeEffect(&transaction.changes());
  } else {
    parts_->NoteWriteFailure(status);
  }
  for (Reply& reply : replies) reply(status);
}

Acceptance::Reply Acceptance::ReplyTo(Bank::DeleteDone done, Bank::DeleteResult result) {
  return [this, done = std::move(done),
          result = std::move(result)](const absl::Status& status) mutable {
    if (!status.ok()) {
      result = {};
      result.status = status;
      done(std::move(result));
      return;
    }
    const uint64_t revision = result.revision;
    acknowledgements_->WhenVisible(revision, [done = std::move(done), result = std::move(result)](
                                                 const absl::Status& visible) mutable {
      if (!visible.ok()) result.status = visible;
      done(std::move(result));
    });
  };
}

Acceptance::Reply Acceptance::ReplyTo(Bank::IngestDone done, AcknowledgeAt level,
                                      IngestResult result) {
  return [this, level, done = std::move(done),
          result = std::move(result)](const absl::Status& status) mutable {
    if (result.status.ok() && !status.ok()) {
      const std::string id = result.id;
      result = {};
      result.id = id;
      result.status = status;
    }
    if (result.status.ok() && result.deduplicated) parts_->observer->DocumentDeduplicated();
    if (!result.status.ok() || level == AcknowledgeAt::kAccepted) {
      done(std::move(result));
    } else if (result.state == DocumentState::kAccepted) {
      acknowledgements_->WhenActive(std::move(result), std::move(done));
    } else {
      acknowledgements_->WhenVisible(
          result.revision, [done = std::move(done), result](const absl::Status& visible) mutable {
            result.status = visible;
            done(std::move(result));
          });
    }
  };
}

void Acceptance::TakeEffect(BankChanges* changes) {
  parts_->next_number = changes->next_number;
  if (changes->settings) {
    parts_->ledger->SetSettings(*changes->settings);
    parts_->admission->SetTokenBudget(changes->settings->token_budget);
  }
  Publication publication;
  publication.revision = changes->revision;
  for (const DocumentRow& row : changes->removed) {
    if (row.state == DocumentState::kActive) {
      publication.retired.emplace_back(
          parts_->ledger->Displace(row.number, row.num_chunks, row.num_tokens), row.number);
      parts_->deleted_rows.emplace_back(changes->revision, row.number);
    } else {
      parts_->RemoveFromIndex(row);  // it was ACTIVE once if it is being encoded again
    }
    queue_->Cancel(row.number);
    parts_->ledger->Change([&](BankStats& stats) {
      stats.num_accepted -= row.state == DocumentState::kAccepted ? 1 : 0;
      stats.num_failed -= row.state == DocumentState::kFailed ? 1 : 0;
      stats.text_bytes -= row.text_bytes;
    });
  }
  for (const auto& [before, after] : changes->changed) {
    parts_->RemoveFromIndex(before);
    parts_->AddToIndex(after);
  }
  for (BankChanges::Accepted& accepted : changes->accepted) {
    queue_->Add(accepted.row.number, accepted.row.num_tokens, std::move(accepted.token_ids));
    parts_->ledger->Change([&](BankStats& stats) {
      stats.num_accepted += 1;
      stats.text_bytes += accepted.row.text_bytes;
    });
    parts_->observer->DocumentAccepted();
  }
  for (const DocumentRow& row : changes->failed) {
    parts_->ledger->Change([&](BankStats& stats) {
      stats.num_failed += 1;
      stats.text_bytes += row.text_bytes;
    });
    parts_->observer->DocumentFailed();
  }
  if (!publication.retired.empty()) {
    parts_->revision = changes->revision;
    parts_->Publish(std::move(publication));
  }
  for (const DocumentRow& row : changes->removed) {
    acknowledgements_->Refused(
        row.number, DocumentState::kDeleted,
        kernels::Refusal(absl::StatusCode::kAborted,
                         "the document was deleted before it was ACTIVE", "DELETED"));
  }
}

}  // namespace msa::engine
