#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/memory/catalog/catalog_reader.h"
#include "engine/memory/job_monitor.h"
#include "engine/memory/memory_bank.h"

namespace msa::engine {

// Puts all documents of one bank's catalog into another bank, under their numbers, and waits until
// they are encoded there. Nobody changes either bank meanwhile. What the other model cannot encode,
// and what has a damaged text, is FAILED there.
class Reencoding {
 public:
  Reencoding(const CatalogReader* from, MemoryBank* to, MemoryObserver* observer,
             JobMonitor* monitor)
      : from_(from), to_(to), observer_(observer), monitor_(monitor) {}

  // CANCELLED; RESOURCE_EXHAUSTED where both banks do not fit; DATA_LOSS where the catalog's pages
  // cannot be followed.
  absl::Status Run();

 private:
  struct Page;

  absl::StatusOr<uint64_t> ReadRows(uint64_t first, std::vector<DocumentRow>* rows);
  absl::Status Put(const std::vector<DocumentRow>& rows);
  absl::Status PutOne(const DocumentRow& row, const std::shared_ptr<Page>& page);
  absl::Status WaitFor(const std::shared_ptr<Page>& page);
  absl::Status WaitUntilEncoded();
  absl::Status Proceed();

  const CatalogReader* const from_;
  MemoryBank* const to_;
  MemoryObserver* const observer_;
  JobMonitor* const monitor_;
  int64_t total_ = 0;
};

}  // namespace msa::engine
