#include "engine/memory/acceptance.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/memory/documents/document_rules.h"
#include "engine/memory/documents/metadata_json.h"
#include "engine/memory/files/checksum.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

constexpr int kMaxBatchDocuments = 256;
constexpr absl::Duration kBatchTime = absl::Milliseconds(5);
constexpr uint64_t kMaxNumber = std::numeric_limits<uint32_t>::max();

// A damaged row concerns the request that meets it, not the transaction.
absl::Status KeepDamage(const absl::Status& status, absl::Status* request_status) {
  if (!absl::IsDataLoss(status)) return status;
  *request_status = status;
  return absl::OkStatus();
}

void Describe(const DocumentRow& row, IngestResult* result) {
  result->number = row.number;
  result->state = row.state;
  result->num_tokens = row.num_tokens;
  result->num_chunks = row.num_chunks;
  result->revision = row.from_revision;
}

absl::Status NextNumber(const DocumentInput& document, uint64_t next_number, uint32_t* number) {
  const uint64_t automatic = std::max<uint64_t>(next_number, kFirstDocumentNumber);
  const uint64_t wanted = document.number.value_or(static_cast<uint32_t>(automatic));
  if (next_number > kMaxNumber) {
    return kernels::Refusal(absl::StatusCode::kResourceExhausted,
                            "the bank has no document numbers left", "DOCUMENT_NUMBERS_EXHAUSTED");
  }
  if (wanted < next_number) {
    return kernels::Refusal(
        absl::StatusCode::kInvalidArgument,
        absl::StrCat("number ", wanted, " may have been used, the lowest that is free is ",
                     next_number),
        "DOCUMENT_NUMBER_USED", "documents.number",
        {{"limit", absl::StrCat(next_number)}, {"actual", absl::StrCat(wanted)}});
  }
  *number = static_cast<uint32_t>(wanted);
  return absl::OkStatus();
}

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

  Batch batch;
  batch.next_number = parts_->next_number;
  batch.revision = parts_->revision + 1;
  absl::Status status = parts_->catalog->Begin();
  for (DeleteRequest& request : deletes) {
    Bank::DeleteResult result;
    if (status.ok()) {
      status = request.filter ? DeleteMatching(*request.filter, &result, &batch)
                              : Delete(request.ids, &result, &batch);
    }
    batch.replies.push_back(ReplyTo(std::move(request.done), std::move(result)));
  }
  for (SettingsRequest& request : settings) {
    absl::Status result;
    if (status.ok()) status = ChangeSettings(request.change, &result, &batch);
    batch.replies.push_back(
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
    if (status.ok()) status = Ingest(&*request, &result, &batch);
    batch.replies.push_back(ReplyTo(std::move(request->done), request->level, std::move(result)));
    if (parts_->clock->Monotonic() >= end) break;
  }
  if (status.ok() && batch.changes_catalog) {
    status = Commit(batch);
  } else {
    parts_->catalog->Rollback();
  }
  if (status.ok()) {
    TakeEffect(&batch);
  } else {
    parts_->NoteWriteFailure(status);
    for (const Accepted& accepted : batch.accepted) {
      parts_->admission->Release(accepted.row.num_tokens,
                                 parts_->KeyBytes(accepted.row.num_chunks));
    }
  }
  for (Reply& reply : batch.replies) reply(status);
}

absl::Status Acceptance::Delete(const std::vector<std::string>& ids, Bank::DeleteResult* result,
                                Batch* batch) {
  absl::flat_hash_set<std::string> seen;
  result->revision = parts_->revision;
  for (const std::string& id : ids) {
    if (!seen.insert(id).second) continue;
    const auto versions = parts_->catalog->VersionsOf(id);
    if (!versions.ok()) {
      MSA_RETURN_IF_ERROR(KeepDamage(versions.status(), &result->status));
      continue;
    }
    if (versions->empty()) result->unknown_ids.push_back(id);
    MSA_RETURN_IF_ERROR(DeleteVersions(*versions, result, batch));
  }
  return absl::OkStatus();
}

// The index knows what is ACTIVE; of an id with several versions the newest decides.
absl::Status Acceptance::DeleteMatching(const Filter& filter, Bank::DeleteResult* result,
                                        Batch* batch) {
  std::set<std::string> ids;
  for (const uint32_t number : parts_->index->Select(filter).Numbers()) {
    auto row = parts_->catalog->Find(number);
    if (!row.ok()) {
      MSA_RETURN_IF_ERROR(KeepDamage(row.status(), &result->status));
    } else if (*row) {
      ids.insert(std::move((*row)->id));
    }
  }
  auto unfinished = parts_->catalog->Unfinished();
  if (!unfinished.ok()) return KeepDamage(unfinished.status(), &result->status);
  for (DocumentRow& row : *unfinished) ids.insert(std::move(row.id));
  result->revision = parts_->revision;
  for (const std::string& id : ids) {
    const auto versions = parts_->catalog->VersionsOf(id);
    if (!versions.ok()) {
      MSA_RETURN_IF_ERROR(KeepDamage(versions.status(), &result->status));
      continue;
    }
    if (versions->empty()) continue;
    const auto metadata = MetadataFromJson(versions->front().metadata_json);
    if (!metadata.ok()) {
      MSA_RETURN_IF_ERROR(KeepDamage(metadata.status(), &result->status));
    } else if (filter.Matches(id, *metadata)) {
      MSA_RETURN_IF_ERROR(DeleteVersions(*versions, result, batch));
    }
  }
  return absl::OkStatus();
}

absl::Status Acceptance::DeleteVersions(const std::vector<DocumentRow>& versions,
                                        Bank::DeleteResult* result, Batch* batch) {
  if (!versions.empty()) result->num_deleted += 1;
  for (const DocumentRow& row : versions) {
    MSA_RETURN_IF_ERROR(Remove(row, batch));
    if (row.state == DocumentState::kActive) result->revision = batch->revision;
  }
  return absl::OkStatus();
}

// A version that no query has ever seen leaves no trace.
absl::Status Acceptance::Remove(const DocumentRow& row, Batch* batch) {
  batch->changes_catalog = true;
  batch->removed.push_back(row);
  if (row.state != DocumentState::kActive) return parts_->catalog->Purge(row.number);
  DocumentRow deleted = row;
  deleted.state = DocumentState::kDeleted;
  deleted.to_revision = batch->revision;
  return parts_->catalog->Update(deleted);
}

absl::Status Acceptance::ChangeSettings(const BankSettingsChange& change, absl::Status* result,
                                        Batch* batch) {
  BankSettings settings = batch->settings.value_or(parts_->ledger->settings());
  if (change.display_name) settings.display_name = *change.display_name;
  if (change.token_budget) settings.token_budget = *change.token_budget;
  if (change.default_limits) settings.default_limits = *change.default_limits;
  *result = CheckBankSettings(settings);
  if (!result->ok()) return absl::OkStatus();
  batch->settings = std::move(settings);
  batch->changes_catalog = true;
  return absl::OkStatus();
}

absl::Status Acceptance::Ingest(IngestRequest* request, IngestResult* result, Batch* batch) {
  const BankStoreOptions& options = parts_->options;
  const DocumentInput& document = request->document;
  if (!request->is_original) {
    result->status = CheckDocument(document, options.max_text_bytes, options.max_metadata_bytes);
    if (!result->status.ok()) return absl::OkStatus();
  }
  const auto versions = parts_->catalog->VersionsOf(document.id);
  if (!versions.ok()) return KeepDamage(versions.status(), &result->status);
  if (request->mode == IngestMode::kUpdateOnly) {
    if (versions->empty()) {
      result->status = NoDocument(document.id);
      return absl::OkStatus();
    }
    const auto served =
        std::find_if(versions->begin(), versions->end(),
                     [](const DocumentRow& row) { return row.state != DocumentState::kFailed; });
    const DocumentRow& current = served == versions->end() ? versions->front() : *served;
    MSA_RETURN_IF_ERROR(FillIn(current, request, result));
    if (!result->status.ok()) return absl::OkStatus();
  }
  // A version that failed is no obstacle to the next attempt.
  for (const DocumentRow& row : *versions) {
    if (row.state == DocumentState::kFailed) continue;
    if (request->is_original) break;
    MSA_ASSIGN_OR_RETURN(const bool is_settled, Compare(*request, row, result, batch));
    if (is_settled) return absl::OkStatus();
    break;
  }
  return Accept(*request, *versions, result, batch);
}

absl::Status Acceptance::FillIn(const DocumentRow& current, IngestRequest* request,
                                IngestResult* result) {
  if (request->keeps_text) {
    auto text = parts_->catalog->TextOf(current);
    if (!text.ok()) return KeepDamage(text.status(), &result->status);
    request->document.text = *std::move(text);
  }
  if (request->keeps_metadata) {
    auto metadata = MetadataFromJson(current.metadata_json);
    if (!metadata.ok()) return KeepDamage(metadata.status(), &result->status);
    request->document.metadata = *std::move(metadata);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Acceptance::Compare(const IngestRequest& request, const DocumentRow& current,
                                         IngestResult* result, Batch* batch) {
  const std::string& text = request.document.text;
  bool same_text = current.text_bytes == static_cast<int64_t>(text.size()) &&
                   current.text_hash == Checksum(text);
  if (same_text) {
    const auto stored = parts_->catalog->TextOf(current);
    if (!stored.ok()) {
      MSA_RETURN_IF_ERROR(KeepDamage(stored.status(), &result->status));
      return true;
    }
    same_text = *stored == text;
  }
  const std::string metadata = ToJson(request.document.metadata);
  if (same_text && metadata == current.metadata_json) {
    Describe(current, result);
    result->deduplicated = true;
    return true;
  }
  if (request.mode == IngestMode::kInsert) {
    Describe(current, result);
    result->status = kernels::Refusal(
        absl::StatusCode::kAlreadyExists,
        absl::StrCat("document \"", current.id, "\" is there with another text or metadata"),
        "DOCUMENT_EXISTS", "documents.id");
    return true;
  }
  if (!same_text) return false;
  DocumentRow changed = current;
  changed.metadata_json = metadata;
  Describe(changed, result);
  batch->changes_catalog = true;
  for (Accepted& accepted : batch->accepted) {
    if (accepted.row.number == changed.number) accepted.row = changed;
  }
  if (parts_->index->Contains(current.number)) batch->changed.emplace_back(current, changed);
  MSA_RETURN_IF_ERROR(parts_->catalog->Update(changed));
  return true;
}

absl::Status Acceptance::Accept(const IngestRequest& request,
                                const std::vector<DocumentRow>& versions, IngestResult* result,
                                Batch* batch) {
  const DocumentInput& document = request.document;
  DocumentRow row;
  result->status = NextNumber(document, batch->next_number, &row.number);
  if (!result->status.ok()) return absl::OkStatus();
  // The number's digits are tokens too.
  std::vector<int32_t> token_ids = parts_->encoder->Tokenize(row.number, document.text);
  row.num_tokens = static_cast<int64_t>(token_ids.size());
  row.num_chunks = parts_->geometry().ChunksOf(row.num_tokens);
  row.failure = request.failure;
  if (row.failure.ok()) {
    row.failure = CheckTokens(row.num_tokens, parts_->encoder->max_document_tokens());
  }
  if (row.failure.ok()) {
    const int64_t key_bytes = parts_->KeyBytes(row.num_chunks);
    result->status = parts_->admission->Reserve(row.num_tokens, key_bytes);
    if (kernels::DetailOf(result->status).reason == "ROUTER_KEY_BUDGET_EXCEEDED") {
      parts_->make_room(key_bytes);  // other banks may be idle
      result->status = parts_->admission->Reserve(row.num_tokens, key_bytes);
    }
  } else if (!request.is_original) {
    result->status = row.failure;
  }
  if (!result->status.ok()) return absl::OkStatus();
  row.state = row.failure.ok() ? DocumentState::kAccepted : DocumentState::kFailed;
  row.id = document.id;
  row.metadata_json = ToJson(document.metadata);
  row.text_bytes = static_cast<int64_t>(document.text.size());
  row.text_hash = Checksum(document.text);
  row.create_time = request.is_original ? request.create_time : parts_->clock->Now();
  batch->next_number = uint64_t{row.number} + 1;
  batch->changes_catalog = true;
  Describe(row, result);
  if (row.state == DocumentState::kAccepted) {
    batch->accepted.push_back({row, std::move(token_ids)});
  } else {
    batch->failed.push_back(row);
  }
  for (const DocumentRow& version : versions) {
    if (version.state == DocumentState::kFailed) MSA_RETURN_IF_ERROR(Remove(version, batch));
  }
  return parts_->catalog->Insert(row, document.text);
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

absl::Status Acceptance::Commit(const Batch& batch) {
  bool retires = false;
  for (const DocumentRow& row : batch.removed) retires |= row.state == DocumentState::kActive;
  CatalogSettings settings = parts_->catalog->settings();
  settings.next_number = batch.next_number;
  settings.revision = retires ? batch.revision : parts_->revision;
  if (batch.settings) settings.bank = *batch.settings;
  absl::Status status = parts_->catalog->PutSettings(settings);
  if (status.ok()) return parts_->catalog->Commit();
  parts_->catalog->Rollback();
  return status;
}

void Acceptance::TakeEffect(Batch* batch) {
  parts_->next_number = batch->next_number;
  if (batch->settings) {
    parts_->ledger->SetSettings(*batch->settings);
    parts_->admission->SetTokenBudget(batch->settings->token_budget);
  }
  Publication publication;
  publication.revision = batch->revision;
  for (const DocumentRow& row : batch->removed) {
    if (row.state == DocumentState::kActive) {
      publication.retired.emplace_back(
          parts_->ledger->Displace(row.number, row.num_chunks, row.num_tokens), row.number);
      parts_->deleted_rows.emplace_back(batch->revision, row.number);
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
  for (const auto& [before, after] : batch->changed) {
    parts_->RemoveFromIndex(before);
    parts_->AddToIndex(after);
  }
  for (Accepted& accepted : batch->accepted) {
    queue_->Add(accepted.row.number, accepted.row.num_tokens, std::move(accepted.token_ids));
    parts_->ledger->Change([&](BankStats& stats) {
      stats.num_accepted += 1;
      stats.text_bytes += accepted.row.text_bytes;
    });
    parts_->observer->DocumentAccepted();
  }
  for (const DocumentRow& row : batch->failed) {
    parts_->ledger->Change([&](BankStats& stats) {
      stats.num_failed += 1;
      stats.text_bytes += row.text_bytes;
    });
    parts_->observer->DocumentFailed();
  }
  if (!publication.retired.empty()) {
    parts_->revision = batch->revision;
    parts_->Publish(std::move(publication));
  }
  for (const DocumentRow& row : batch->removed) {
    acknowledgements_->Refused(
        row.number, DocumentState::kDeleted,
        kernels::Refusal(absl::StatusCode::kAborted,
                         "the document was deleted before it was ACTIVE", "DELETED"));
  }
}

}  // namespace msa::engine
