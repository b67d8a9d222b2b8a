#include "engine/memory/bank_transaction.h"

#include <algorithm>
#include <limits>
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

BankTransaction::BankTransaction(BankParts* parts) : parts_(parts) {
  changes_.next_number = parts->next_number;
  changes_.revision = parts->revision + 1;
  status_ = parts->catalog->Begin();
}

void BankTransaction::Apply(const DeleteRequest& request, Bank::DeleteResult* result) {
  if (!status_.ok()) return;
  status_ = request.filter ? DeleteMatching(*request.filter, result) : Delete(request.ids, result);
}

void BankTransaction::Apply(const SettingsRequest& request, absl::Status* result) {
  if (status_.ok()) *result = ChangeSettings(request.change);
}

void BankTransaction::Apply(IngestRequest* request, IngestResult* result) {
  if (status_.ok()) status_ = Ingest(request, result);
}

absl::Status BankTransaction::Delete(const std::vector<std::string>& ids,
                                     Bank::DeleteResult* result) {
  absl::flat_hash_set<std::string> seen;
  result->revision = parts_->revision;
  for (const std::string& id : ids) {
    if (!seen.insert(id).second) continue;
    auto versions = parts_->catalog->VersionsOf(id);
    bool any_purged = false;
    if (absl::IsDataLoss(versions.status())) {
      const auto purged = PurgeDamaged(id);
      if (purged.ok()) versions = parts_->catalog->VersionsOf(id);
      any_purged = purged.value_or(false);
    }
    if (!versions.ok()) {
      MSA_RETURN_IF_ERROR(KeepDamage(versions.status(), &result->status));
      continue;
    }
    if (versions->empty() && any_purged) result->num_deleted += 1;
    if (versions->empty() && !any_purged) result->unknown_ids.push_back(id);
    MSA_RETURN_IF_ERROR(DeleteVersions(*versions, result));
  }
  return absl::OkStatus();
}

// Of rows that were damaged since the bank was opened the rest of it still knows: those stay.
absl::StatusOr<bool> BankTransaction::PurgeDamaged(const std::string& id) {
  bool any = false;
  MSA_ASSIGN_OR_RETURN(const auto numbers, parts_->catalog->DamagedVersionsOf(id));
  for (const uint32_t number : numbers) {
    if (!parts_->damaged_rows.contains(number)) continue;
    MSA_RETURN_IF_ERROR(parts_->catalog->Purge(number));
    changes_.changes_catalog = true;
    any = true;
  }
  return any;
}

// The index knows what is ACTIVE; of an id with several versions the newest decides.
absl::Status BankTransaction::DeleteMatching(const Filter& filter, Bank::DeleteResult* result) {
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
      MSA_RETURN_IF_ERROR(DeleteVersions(*versions, result));
    }
  }
  return absl::OkStatus();
}

absl::Status BankTransaction::DeleteVersions(const std::vector<DocumentRow>& versions,
                                             Bank::DeleteResult* result) {
  if (!versions.empty()) result->num_deleted += 1;
  for (const DocumentRow& row : versions) {
    MSA_RETURN_IF_ERROR(Remove(row));
    if (row.state == DocumentState::kActive) result->revision = changes_.revision;
  }
  return absl::OkStatus();
}

// A version that no query has ever seen leaves no trace.
absl::Status BankTransaction::Remove(const DocumentRow& row) {
  changes_.changes_catalog = true;
  changes_.removed.push_back(row);
  if (row.state != DocumentState::kActive) return parts_->catalog->Purge(row.number);
  DocumentRow deleted = row;
  deleted.state = DocumentState::kDeleted;
  deleted.to_revision = changes_.revision;
  return parts_->catalog->Update(deleted);
}

absl::Status BankTransaction::ChangeSettings(const BankSettingsChange& change) {
  BankSettings settings = changes_.settings.value_or(parts_->ledger->settings());
  if (change.display_name) settings.display_name = *change.display_name;
  if (change.token_budget) settings.token_budget = *change.token_budget;
  if (change.default_limits) settings.default_limits = *change.default_limits;
  if (change.router_key_scan) settings.router_key_scan = *change.router_key_scan;
  MSA_RETURN_IF_ERROR(CheckBankSettings(settings));
  changes_.settings = std::move(settings);
  changes_.changes_catalog = true;
  return absl::OkStatus();
}

absl::Status BankTransaction::Ingest(IngestRequest* request, IngestResult* result) {
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
    MSA_ASSIGN_OR_RETURN(const bool is_settled, Compare(*request, row, result));
    if (is_settled) return absl::OkStatus();
    break;
  }
  return Accept(*request, *versions, result);
}

absl::Status BankTransaction::FillIn(const DocumentRow& current, IngestRequest* request,
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

absl::StatusOr<bool> BankTransaction::Compare(const IngestRequest& request,
                                              const DocumentRow& current, IngestResult* result) {
  const std::string& text = request.document.text;
  bool is_damaged = false;
  bool same_text = current.text_bytes == static_cast<int64_t>(text.size()) &&
                   current.text_hash == Checksum(text);
  if (same_text) {
    const auto stored = parts_->catalog->TextOf(current);
    is_damaged = absl::IsDataLoss(stored.status());
    if (!is_damaged) MSA_RETURN_IF_ERROR(stored.status());
    same_text = is_damaged || *stored == text;
  }
  const std::string metadata = ToJson(request.document.metadata);
  const bool same_metadata = metadata == current.metadata_json;
  // What is damaged comes back with this request, as a new version.
  if (is_damaged && (same_metadata || request.mode != IngestMode::kInsert)) return false;
  if (same_text && same_metadata) {
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
  changes_.changes_catalog = true;
  for (BankChanges::Accepted& accepted : changes_.accepted) {
    if (accepted.row.number == changed.number) accepted.row = changed;
  }
  if (parts_->index->Contains(current.number)) changes_.changed.emplace_back(current, changed);
  MSA_RETURN_IF_ERROR(parts_->catalog->Update(changed));
  return true;
}

absl::Status BankTransaction::Accept(const IngestRequest& request,
                                     const std::vector<DocumentRow>& versions,
                                     IngestResult* result) {
  const DocumentInput& document = request.document;
  DocumentRow row;
  result->status = NextNumber(document, changes_.next_number, &row.number);
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
  changes_.next_number = uint64_t{row.number} + 1;
  changes_.changes_catalog = true;
  Describe(row, result);
  if (row.state == DocumentState::kAccepted) {
    changes_.accepted.push_back({row, std::move(token_ids)});
  } else {
    changes_.failed.push_back(row);
  }
  for (const DocumentRow& version : versions) {
    if (version.state == DocumentState::kFailed) MSA_RETURN_IF_ERROR(Remove(version));
  }
  return parts_->catalog->Insert(row, document.text);
}

absl::Status BankTransaction::Commit() {
  if (status_.ok() && changes_.changes_catalog) status_ = PutSettings();
  if (status_.ok() && changes_.changes_catalog) {
    status_ = parts_->catalog->Commit();
  } else {
    parts_->catalog->Rollback();
  }
  if (status_.ok()) return status_;
  for (const BankChanges::Accepted& accepted : changes_.accepted) {
    parts_->admission->Release(accepted.row.num_tokens, parts_->KeyBytes(accepted.row.num_chunks));
  }
  return status_;
}

absl::Status BankTransaction::PutSettings() {
  const bool retires =
      std::any_of(changes_.removed.begin(), changes_.removed.end(),
                  [](const DocumentRow& row) { return row.state == DocumentState::kActive; });
  CatalogSettings settings = parts_->catalog->settings();
  settings.next_number = changes_.next_number;
  settings.revision = retires ? changes_.revision : parts_->revision;
  if (changes_.settings) settings.bank = *changes_.settings;
  return parts_->catalog->PutSettings(settings);
}

}  // namespace msa::engine
