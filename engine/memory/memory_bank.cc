#include "engine/memory/memory_bank.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/memory/bank_loader.h"
#include "engine/memory/verification.h"
#include "kernels/core/check.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {

absl::StatusOr<std::shared_ptr<MemoryBank>> MemoryBank::Open(const BankEnvironment& environment,
                                                             const std::string& directory,
                                                             std::unique_ptr<Catalog> catalog) {
  std::shared_ptr<MemoryBank> bank(new MemoryBank(environment, directory, std::move(catalog)));
  MSA_RETURN_IF_ERROR(bank->Load());
  bank->thread_ = std::thread([running = bank.get()] { running->RunThread(); });
  return bank;
}

MemoryBank::MemoryBank(const BankEnvironment& environment, const std::string& directory,
                       std::unique_ptr<Catalog> catalog)
    : environment_(environment),
      settings_(catalog->settings()),
      directory_(directory),
      catalog_(std::move(catalog)),
      token_budget_(absl::StrCat("token budget of bank \"", settings_.name, "\""), "tokens",
                    "TOKEN_BUDGET_EXCEEDED", settings_.bank.token_budget),
      queue_(&parts_),
      acceptance_(&parts_, &queue_, &acknowledgements_),
      segment_commit_(&parts_, &queue_, &acknowledgements_),
      compaction_(&parts_) {
  const BankStoreOptions& options = environment_.options;
  parts_.name = settings_.name;
  parts_.options = options;
  parts_.encoder = environment_.encoder;
  parts_.clock = environment_.clock;
  parts_.make_room = environment_.make_room;
  parts_.observer = environment_.observer;
  parts_.inbox =
      std::make_shared<BankInbox>(options.max_pending_documents, options.max_pending_bytes);
  parts_.visible = std::make_shared<VisibleBank>(options.geometry, options.ScanOf(settings_.bank),
                                                 options.num_shards, settings_.revision,
                                                 [inbox = parts_.inbox] { inbox->Poke(); });
  parts_.segments = std::make_shared<SegmentFiles>(
      environment_.files(), absl::StrCat(directory, "/", SegmentFiles::kDirectoryName));
  parts_.ledger = std::make_unique<BankLedger>(settings_.bank, options.num_shards);
  parts_.index = std::make_unique<MetadataIndex>();
  parts_.catalog = catalog_.get();
  parts_.admission =
      std::make_unique<Admission>(&token_budget_, environment_.router_key_budget.get());
  parts_.next_number = settings_.next_number;
  parts_.revision = settings_.revision;
}

MemoryBank::~MemoryBank() {
  CloseCatalog();
  if (is_removed_) environment_.files()->RemoveDirectoryTree(directory_).IgnoreError();
}

absl::Status MemoryBank::Load() { return BankLoader(&parts_, &queue_).Load(); }

void MemoryBank::RunThread() {
  absl::Duration sleep = absl::ZeroDuration();
  while (true) {
    const bool is_idle = queue_.nothing_in_flight() && queue_.encoded().empty() &&
                         !acknowledgements_.waits_for_revision();
    const bool takes_ingests = acceptance_.takes_ingests() || !parts_.write_failure.ok();
    if (!parts_.inbox->Wait(takes_ingests, is_idle, sleep)) break;
    sleep = DoRound();
  }
  acceptance_.RefuseAll(
      kernels::Refusal(absl::StatusCode::kUnavailable, "the bank is stopping", "STOPPING"));
  acknowledgements_.Stop();
  compaction_.Stop();
}

absl::Duration MemoryBank::DoRound() {
  acceptance_.Run();
  for (const DamagedDocument& document : parts_.inbox->TakeDamaged()) {
    segment_commit_.EncodeAgain(document);
  }
  for (EncodeResult& result : parts_.inbox->TakeEncoded()) {
    const auto failure = queue_.Receive(std::move(result));
    if (failure) segment_commit_.Fail(*failure);
  }
  const auto submit = [&] {
    for (const EncodingQueue::Failure& failure : queue_.Submit()) segment_commit_.Fail(failure);
  };
  submit();  // the encoder works while a segment is written
  if (segment_commit_.TimeUntilDue() <= absl::ZeroDuration()) {
    segment_commit_.Run();
    submit();  // there is room again
  }
  const bool purges_more = segment_commit_.Purge();
  acknowledgements_.Visible(parts_.visible->revision());
  if (!parts_.write_failure.ok()) acknowledgements_.AllRefused(parts_.write_failure);
  if (purges_more) return absl::ZeroDuration();
  compaction_.Run();
  return std::max(std::min(segment_commit_.TimeUntilDue(), compaction_.TimeUntilDue()),
                  absl::ZeroDuration());
}

void MemoryBank::Stop() {
  MSA_CHECK(thread_.get_id() != std::this_thread::get_id(), "not from a callback of the bank");
  parts_.inbox->Close();
  if (thread_.joinable()) thread_.join();
}

void MemoryBank::CloseCatalog() {
  const std::unique_lock lock(catalog_mutex_);
  parts_.catalog = nullptr;
  catalog_.reset();
}

absl::Status MemoryBank::MoveToBeRemoved(const std::string& directory) {
  const std::unique_lock lock(catalog_mutex_);
  parts_.catalog = nullptr;
  catalog_.reset();
  // On an error it stays closed: the directory may become another bank's.
  MSA_RETURN_IF_ERROR(environment_.files()->Rename(directory_, directory));
  directory_ = directory;
  is_removed_ = true;
  parts_.segments->MovedTo(absl::StrCat(directory, "/", SegmentFiles::kDirectoryName));
  auto catalog =
      Catalog::OpenUnchecked(*environment_.vfs, absl::StrCat(directory_, "/", Catalog::kFileName));
  if (catalog.ok()) catalog_ = *std::move(catalog);
  return absl::OkStatus();
}

BankInfo MemoryBank::Info() const {
  BankInfo info;
  info.name = settings_.name;
  info.settings = parts_.ledger->settings();
  info.revision = parts_.visible->revision();
  info.create_time = settings_.create_time;
  info.dtype = settings_.geometry.dtype;
  info.model_fingerprint = settings_.geometry.model_fingerprint;
  return info;
}

BankStats MemoryBank::Stats() const {
  BankStats stats = parts_.ledger->stats();
  stats.reserved_tokens = token_budget_.reserved();
  stats.revision = parts_.visible->revision();
  stats.index_bytes = parts_.index->resident_bytes();
  return stats;
}

void MemoryBank::Ingest(DocumentInput document, IngestMode mode, AcknowledgeAt level,
                        IngestDone done) {
  IngestRequest request;
  request.document = std::move(document);
  request.mode = mode;
  request.level = level;
  request.done = std::move(done);
  Push(std::move(request));
}

void MemoryBank::Update(DocumentUpdate update, AcknowledgeAt level, IngestDone done) {
  IngestRequest request;
  request.document.id = std::move(update.id);
  request.mode = IngestMode::kUpdateOnly;
  request.keeps_text = !update.text;
  request.keeps_metadata = !update.metadata;
  if (update.text) request.document.text = *std::move(update.text);
  if (update.metadata) request.document.metadata = *std::move(update.metadata);
  request.level = level;
  request.done = std::move(done);
  Push(std::move(request));
}

void MemoryBank::Put(Original original, IngestDone done) {
  IngestRequest request;
  request.document = std::move(original.document);
  request.mode = IngestMode::kUpsert;
  request.is_original = true;
  request.create_time = original.create_time;
  request.failure = std::move(original.failure);
  request.done = std::move(done);
  Push(std::move(request));
}

void MemoryBank::Push(IngestRequest request) {
  const absl::Status status = parts_.inbox->PushIngest(request);
  if (status.ok()) return;
  IngestResult result;
  result.id = request.document.id;
  result.status = status;
  request.done(std::move(result));
}

void MemoryBank::ChangeSettings(BankSettingsChange change, SettingsDone done) {
  SettingsRequest request{std::move(change), std::move(done)};
  const absl::Status status = parts_.inbox->PushSettings(request);
  if (!status.ok()) request.done(status);
}

void MemoryBank::Delete(std::vector<std::string> ids, DeleteDone done) {
  Push({std::move(ids), std::nullopt, std::move(done)});
}

void MemoryBank::DeleteMatching(Filter filter, DeleteDone done) {
  Push({{}, std::move(filter), std::move(done)});
}

void MemoryBank::Push(DeleteRequest request) {
  const absl::Status status = parts_.inbox->PushDelete(request);
  if (status.ok()) return;
  DeleteResult result;
  result.status = status;
  request.done(std::move(result));
}

void MemoryBank::Compact(CompactDone done) {
  CompactRequest request{std::move(done)};
  const absl::Status status = parts_.inbox->PushCompact(request);
  if (status.ok()) return;
  CompactResult result;
  result.status = status;
  request.done(std::move(result));
}

absl::StatusOr<Bank::VerifyResult> MemoryBank::Verify(JobMonitor* monitor, OnDamage on_damage) {
  MSA_ASSIGN_OR_RETURN(const CatalogLease lease, LeaseCatalog());
  return Verification(&parts_, lease.catalog.get(), monitor, on_damage).Run();
}

absl::StatusOr<MemoryBank::CatalogLease> MemoryBank::LeaseCatalog() const {
  CatalogLease lease{std::shared_lock(catalog_mutex_), nullptr};
  if (catalog_ == nullptr) {
    return kernels::Refusal(absl::StatusCode::kUnavailable, "the bank is closed", "STOPPING");
  }
  MSA_ASSIGN_OR_RETURN(
      lease.catalog,
      CatalogReader::Open(*environment_.vfs, absl::StrCat(directory_, "/", Catalog::kFileName)));
  return lease;
}

template <class Query>
auto MemoryBank::WithCatalog(Query query) const -> decltype(query(std::declval<const Catalog&>())) {
  const std::shared_lock lock(catalog_mutex_);
  if (catalog_ == nullptr) {
    return kernels::Refusal(absl::StatusCode::kUnavailable, "the bank is closed", "STOPPING");
  }
  return query(*catalog_);
}

absl::StatusOr<DocumentInfo> MemoryBank::Get(const std::string& id, bool with_text) const {
  MSA_ASSIGN_OR_RETURN(DocumentInfo info, WithCatalog([&](const Catalog& catalog) {
                         return catalog.FindNewest(id, with_text);
                       }));
  info.shard = parts_.ledger->RankOf(info.number);
  return info;
}

absl::StatusOr<DocumentPage> MemoryBank::List(const std::string& after_id, int64_t limit,
                                              bool with_text, const Filter* filter) const {
  MSA_ASSIGN_OR_RETURN(DocumentPage page, WithCatalog([&](const Catalog& catalog) {
                         return catalog.ListAfter(after_id, limit, with_text, filter);
                       }));
  for (DocumentInfo& info : page.documents) info.shard = parts_.ledger->RankOf(info.number);
  return page;
}

absl::StatusOr<std::vector<DocumentInfo>> MemoryBank::Read(absl::Span<const uint32_t> numbers,
                                                           const BankPin& pin,
                                                           bool with_text) const {
  MSA_ASSIGN_OR_RETURN(auto infos, WithCatalog([&](const Catalog& catalog) {
                         return catalog.ReadAt(numbers, pin.revision(), with_text);
                       }));
  for (DocumentInfo& info : infos) info.shard = parts_.ledger->RankOf(info.number);
  return infos;
}

std::unique_ptr<BankPin> MemoryBank::Pin() { return parts_.visible->Pin(); }
DocumentSet MemoryBank::Select(const Filter* filter, absl::Span<const std::string> ids) const {
  MSA_CHECK(filter != nullptr || !ids.empty(), "something to select by");
  if (ids.empty()) return parts_.index->Select(*filter);
  DocumentSet set = parts_.index->SelectIds(ids);
  if (filter != nullptr) set.IntersectWith(parts_.index->Select(*filter));
  return set;
}
int MemoryBank::num_shards() const { return parts_.options.num_shards; }
const Shard& MemoryBank::shard(int rank) const {
  return parts_.visible->shards()[static_cast<size_t>(rank)];
}

}  // namespace msa::engine
