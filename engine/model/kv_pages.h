#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/core/large_array.h"
#include "kernels/ops/kv_span.h"

namespace msa::engine {

// The pages of one device, in which sequences keep keys and values. Pages are reserved before a
// round starts and taken from the reservation as rows appear, so taking never fails. Memory is
// allocated when a page is first taken and kept. Ranks take and give at the same time; reservations
// are changed and looked at by the scheduler, between steps.
class KvPagePool {
 public:
  KvPagePool(const kernels::KvPageShape& shape, int64_t max_pages);
  KvPagePool(const KvPagePool&) = delete;
  KvPagePool& operator=(const KvPagePool&) = delete;

  const kernels::KvPageShape& shape() const { return shape_; }
  int64_t max_pages() const { return max_pages_; }
  int64_t reserved_pages() const { return reserved_; }
  int64_t free_pages() const { return max_pages_ - reserved_; }
  int64_t PagesFor(int64_t rows) const {
    return (rows + shape_.rows_per_page - 1) / shape_.rows_per_page;
  }

  bool Reserve(int64_t pages);  // false, and nothing changes, when fewer are free
  void Unreserve(int64_t pages);
  void* Take();  // one of the reserved pages; contents undefined
  void Give(void* page);

 private:
  kernels::KvPageShape shape_;
  int64_t max_pages_;
  int64_t reserved_ = 0;
  std::mutex mutex_;  // of what follows
  int64_t taken_ = 0;
  std::vector<kernels::LargeArray> blocks_;
  std::vector<void*> free_;
};

// Rows of one layer in pages: a sequence's own, its memory, or the template prefix. Movable; gives
// no page back by itself.
class KvRows {
 public:
  int64_t num_rows() const { return num_rows_; }
  const std::vector<void*>& pages() const { return pages_; }

  void Grow(KvPagePool* pool,
            int64_t rows);  // makes room for `rows` more; their contents are undefined
  void Clear(KvPagePool* pool);
  void AppendSpans(const kernels::KvPageShape& shape, std::vector<kernels::KvSpan>* spans) const;

 private:
  std::vector<void*> pages_;
  int64_t num_rows_ = 0;
};

// All rows of one sequence.
struct SequenceKv {
  std::vector<KvRows> local;   // [L]
  std::vector<KvRows> memory;  // [MSA layer]
  int64_t reserved_pages = 0;

  void Release(KvPagePool* pool);  // gives all pages and the reservation back
};

}  // namespace msa::engine
