#include "engine/memory/visible_bank.h"

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

VisibleBank::VisibleBank(const MemoryGeometry& geometry, int num_shards, uint64_t revision,
                         std::function<void()> changed)
    : changed_(std::move(changed)), revision_(revision) {
  for (int rank = 0; rank < num_shards; ++rank) shards_.emplace_back(geometry);
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
  {
    const std::lock_guard lock(mutex_);
    revision_ = std::max(revision_, publication.revision);
  }
  changed_();
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
