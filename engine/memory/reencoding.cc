#include "engine/memory/reencoding.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/memory/documents/metadata_json.h"
#include "kernels/core/refusal.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

constexpr int64_t kRowsOfPage = 256;
constexpr int64_t kMaxTextBytes = int64_t{8} << 20;  // handed over at a time
constexpr auto kPoll = std::chrono::milliseconds(50);

}  // namespace

// Documents that were handed over together.
struct Reencoding::Page {
  std::mutex mutex;
  std::condition_variable changed;
  int64_t num_waiting = 0;  // under mutex
  int64_t text_bytes = 0;
  absl::Status status;  // the first error; under mutex
};

absl::Status Reencoding::Run() {
  MSA_ASSIGN_OR_RETURN(total_, from_->CountDocuments());
  uint64_t next = kFirstDocumentNumber;
  while (next != 0) {
    std::vector<DocumentRow> rows;
    MSA_ASSIGN_OR_RETURN(next, ReadRows(next, &rows));
    MSA_RETURN_IF_ERROR(Put(rows));
  }
  return WaitUntilEncoded();
}

absl::StatusOr<uint64_t> Reencoding::ReadRows(uint64_t first, std::vector<DocumentRow>* rows) {
  return from_->ForEachDocument(
      first, kRowsOfPage,
      [&](DocumentRow row) {
        if (row.state != DocumentState::kDeleted) rows->push_back(std::move(row));
        return absl::OkStatus();
      },
      [&](uint32_t, const absl::Status& damage) {
        observer_->ProblemFound(to_->Info().name, damage);
      });
}

absl::Status Reencoding::Put(const std::vector<DocumentRow>& rows) {
  auto page = std::make_shared<Page>();
  for (const DocumentRow& row : rows) {
    MSA_RETURN_IF_ERROR(PutOne(row, page));
    if (page->text_bytes < kMaxTextBytes) continue;
    MSA_RETURN_IF_ERROR(WaitFor(page));
    page = std::make_shared<Page>();
  }
  return WaitFor(page);
}

absl::Status Reencoding::PutOne(const DocumentRow& row, const std::shared_ptr<Page>& page) {
  MemoryBank::Original original;
  original.document.id = row.id;
  original.document.number = row.number;
  original.create_time = row.create_time;
  auto text = from_->TextOf(row);
  auto metadata = MetadataFromJson(row.metadata_json);
  if (metadata.ok()) original.document.metadata = *std::move(metadata);
  if (text.ok()) {
    original.document.text = *std::move(text);
  } else if (absl::IsDataLoss(text.status())) {
    original.failure = text.status();
    observer_->ProblemFound(to_->Info().name, text.status());
  } else {
    return text.status();
  }
  // What was lost before has an empty text.
  if (absl::IsDataLoss(row.failure)) original.failure = row.failure;
  page->text_bytes += row.text_bytes;
  {
    const std::lock_guard lock(page->mutex);
    page->num_waiting += 1;
  }
  to_->Put(std::move(original), [page](const IngestResult& result) {
    const std::lock_guard lock(page->mutex);
    page->num_waiting -= 1;
    if (page->status.ok()) page->status = result.status;
    page->changed.notify_all();
  });
  return absl::OkStatus();
}

absl::Status Reencoding::WaitFor(const std::shared_ptr<Page>& page) {
  while (true) {
    {
      std::unique_lock lock(page->mutex);
      page->changed.wait_for(lock, kPoll, [&] { return page->num_waiting == 0; });
      if (page->num_waiting == 0) return page->status;
    }
    MSA_RETURN_IF_ERROR(Proceed());
  }
}

absl::Status Reencoding::WaitUntilEncoded() {
  while (to_->Stats().num_accepted > 0) {
    MSA_RETURN_IF_ERROR(Proceed());
    to_->WaitIdle(absl::FromChrono(kPoll));
  }
  return Proceed();
}

absl::Status Reencoding::Proceed() {
  const BankStats stats = to_->Stats();
  monitor_->Progress({.phase = "documents",
                      .unit = "documents",
                      .done = stats.num_documents + stats.num_failed,
                      .total = total_,
                      .bytes = stats.content_bytes});
  MSA_RETURN_IF_ERROR(CheckCancelled(*monitor_));
  return to_->write_failure();
}

}  // namespace msa::engine
