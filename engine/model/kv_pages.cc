#include "engine/model/kv_pages.h"

#include <algorithm>

#include "kernels/core/check.h"

namespace msa::engine {
namespace {

// Large enough for huge pages (large_array.h).
constexpr int64_t kBlockBytes = int64_t{16} << 20;

}  // namespace

KvPagePool::KvPagePool(const kernels::KvPageShape& shape, int64_t max_pages)
    : shape_(shape), max_pages_(max_pages) {}

bool KvPagePool::Reserve(int64_t pages) {
  if (pages > free_pages()) return false;
  reserved_ += pages;
  return true;
}

void KvPagePool::Unreserve(int64_t pages) {
  reserved_ -= pages;
  const std::lock_guard lock(mutex_);
  MSA_CHECK(reserved_ >= taken_, "pages in use are reserved");
}

void* KvPagePool::Take() {
  const std::lock_guard lock(mutex_);
  MSA_CHECK(taken_ < reserved_, "a page is reserved before it is taken");
  if (free_.empty()) {
    const int64_t count = std::clamp((kBlockBytes + shape_.bytes() - 1) / shape_.bytes(),
                                     int64_t{1}, max_pages_ - taken_);
    blocks_.push_back(kernels::AllocateLargeArray(static_cast<size_t>(count * shape_.bytes())));
    MSA_CHECK(blocks_.back() != nullptr, "out of memory for pages of keys and values");
    for (int64_t i = count; i-- > 0;) free_.push_back(blocks_.back().get() + i * shape_.bytes());
  }
  void* page = free_.back();
  free_.pop_back();
  ++taken_;
  return page;
}

void KvPagePool::Give(void* page) {
  const std::lock_guard lock(mutex_);
  free_.push_back(page);
  --taken_;
}

void KvRows::Grow(KvPagePool* pool, int64_t rows) {
  num_rows_ += rows;
  while (static_cast<int64_t>(pages_.size()) < pool->PagesFor(num_rows_))
    pages_.push_back(pool->Take());
}

void KvRows::Clear(KvPagePool* pool) {
  for (void* page : pages_) pool->Give(page);
  pages_.clear();
  num_rows_ = 0;
}

void KvRows::AppendSpans(const kernels::KvPageShape& shape,
                         std::vector<kernels::KvSpan>* spans) const {
  int64_t left = num_rows_;
  for (const void* page : pages_) {
    spans->push_back({page, static_cast<int32_t>(std::min(left, shape.rows_per_page))});
    left -= shape.rows_per_page;
  }
}

void SequenceKv::Release(KvPagePool* pool) {
  for (KvRows& rows : local) rows.Clear(pool);
  for (KvRows& rows : memory) rows.Clear(pool);
  pool->Unreserve(reserved_pages);
  reserved_pages = 0;
}

}  // namespace msa::engine
