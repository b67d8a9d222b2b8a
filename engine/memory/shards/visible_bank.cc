#include "engine/memory/shards/visible_bank.h"

#include <algorithm>

namespace msa::engine {

class VisibleBank::RevisionPin : public BankPin {
 public:
  RevisionPin(std::shared_ptr<VisibleBank> bank, uint64_t revision)
      : bank_(std::move(bank)), revision_(revision) {}
  ~RevisionPin() override { bank_->Unpin(revision_); }
  uint64_t revision() const override { return revision_; }

 private:
  const std::shared_ptr<VisibleBank> bank_;
  const uint64_t revision_;
};

VisibleBank::VisibleBank(const MemoryGeometry& geometry, RouterKeyScan scan, int num_shards,
                         uint64_t revision, std::function<void()> changed)
    : changed_(std::move(changed)),
      key_bytes_per_chunk_(geometry.resident_key_bytes_per_chunk(scan)),
      revision_(revision) {
  for (int rank = 0; rank < num_shards; ++rank) shards_.emplace_back(geometry, scan);
}

void VisibleBank::Publish(Publication publication) {
  // An engine that is stopping may run a late change in its caller while earlier ones still run.
  const std::lock_guard publishing(publish_mutex_);
  for (size_t rank = 0; rank < publication.additions.size(); ++rank) {
    shards_[rank].Add(std::move(publication.additions[rank]));
  }
  for (const auto& [rank, number] : publication.retired) {
    shards_[static_cast<size_t>(rank)].Retire(number, publication.revision);
  }
  for (const Publication::Relocation& relocation : publication.relocations) {
    for (Shard& shard : shards_) {
      shard.Relocate(relocation.number, relocation.from_segment, publication.segment,
                     relocation.document_in_segment);
    }
  }
  {
    const std::lock_guard lock(mutex_);
    revision_ = std::max(revision_, publication.revision);
    if (!publication.replaced_segments.empty()) freed_.boundary_has_passed = true;
    freed_.segments.insert(freed_.segments.end(), publication.replaced_segments.begin(),
                           publication.replaced_segments.end());
  }
  changed_();
}

void VisibleBank::CompactShards(uint64_t revision, double least_share) {
  const std::lock_guard publishing(publish_mutex_);
  const uint64_t oldest = std::min(revision, oldest_revision());
  int64_t num_chunks = 0;
  for (Shard& shard : shards_) {
    num_chunks = shard.Compact(oldest, least_share);
    if (num_chunks > 0) break;
  }
  {
    const std::lock_guard lock(mutex_);
    freed_.num_chunks += num_chunks;
    freed_.boundary_has_passed = true;
  }
  changed_();
}

Freed VisibleBank::TakeFreed() {
  const std::lock_guard lock(mutex_);
  return std::exchange(freed_, {});
}

uint64_t VisibleBank::revision() const {
  const std::lock_guard lock(mutex_);
  return revision_;
}

uint64_t VisibleBank::oldest_revision() const {
  const std::lock_guard lock(mutex_);
  return pinned_.empty() ? revision_ : *pinned_.begin();
}

std::unique_ptr<BankPin> VisibleBank::Pin() {
  const std::lock_guard lock(mutex_);
  pinned_.insert(revision_);
  return std::make_unique<RevisionPin>(shared_from_this(), revision_);
}

void VisibleBank::Unpin(uint64_t revision) {
  bool oldest_has_changed = false;
  {
    const std::lock_guard lock(mutex_);
    pinned_.erase(pinned_.find(revision));
    oldest_has_changed = pinned_.empty() ? revision < revision_ : revision < *pinned_.begin();
  }
  if (oldest_has_changed) changed_();
}

}  // namespace msa::engine
