#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/memory/bank.h"
#include "engine/memory/bank_parts.h"
#include "engine/memory/catalog/catalog_reader.h"

namespace msa::engine {

// Reads everything that is stored of a bank and checks it, beside the bank's thread: the catalog's
// structure, rows and texts, that the segments hold the ACTIVE documents that the catalog says, and
// every block of every segment. The bank's thread is told of documents that are damaged: it has them
// encoded again, or takes them from queries where the text is damaged. Runs on one thread.
class Verification {
 public:
  // `catalog` is a connection of its own. Of `parts` only what belongs to any thread is used.
  Verification(const BankParts* parts, const CatalogReader* catalog, JobMonitor* monitor,
               Bank::OnDamage on_damage)
      : parts_(parts), catalog_(catalog), monitor_(monitor), on_damage_(on_damage) {}

  // As Bank::Verify.
  absl::StatusOr<Bank::VerifyResult> Run();

 private:
  absl::Status CheckCatalog();
  absl::Status CheckRow(const DocumentRow& row);
  absl::Status CheckPlace(const DocumentRow& row);
  absl::Status CheckSegments();
  absl::Status CheckSegment(const SegmentRow& segment);
  // Null where the segment is damaged as a whole, which is reported once.
  absl::StatusOr<SegmentReader*> Open(uint64_t segment_id);
  absl::Status DamagedSegment(uint64_t segment_id, const std::string& why);
  // A document of a segment, where the catalog still says that it is there.
  absl::Status DamagedDocument(uint32_t number, uint64_t segment_id, const std::string& why);
  void Report(const std::string& file, const std::string& document_id, const std::string& message);
  void ReportCatalog(const std::string& document_id, const std::string& message);
  // CANCELLED, or UNAVAILABLE where the bank is stopping.
  absl::Status Proceed(std::string_view phase, std::string_view unit, int64_t done, int64_t total);

  const BankParts* const parts_;
  const CatalogReader* const catalog_;
  JobMonitor* const monitor_;
  const Bank::OnDamage on_damage_;
  Bank::VerifyResult result_;
  // Those of the page of rows that is being checked, a few at most; null: damaged as a whole.
  std::map<uint64_t, std::unique_ptr<SegmentReader>> readers_;
  int64_t catalog_bytes_ = 0;  // that were checked
  int64_t segment_bytes_ = 0;  // that are to be
};

}  // namespace msa::engine
