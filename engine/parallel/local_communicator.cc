#include "engine/parallel/local_communicator.h"

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "kernels/core/check.h"
#include "kernels/core/status_macros.h"

namespace msa::engine {
namespace {

// What the ranks of a group share: where each one's contribution is, and a barrier.
class LocalGroup {
 public:
  explicit LocalGroup(int size) : sends_(static_cast<size_t>(size)) {}

  size_t size() const { return sends_.size(); }

  absl::Status Publish(int rank, absl::Span<const std::byte> send) {
    {
      std::lock_guard lock(mutex_);
      sends_[static_cast<size_t>(rank)] = send;
    }
    return Arrive();
  }

  // Valid between the two barriers of a collective, while no rank publishes.
  absl::Span<const std::byte> sent_by(size_t rank) const { return sends_[rank]; }

  // Returns when all ranks have arrived.
  absl::Status Arrive() {
    std::unique_lock lock(mutex_);
    if (!aborted_.ok()) return aborted_;
    const uint64_t generation = generation_;
    if (++arrived_ == sends_.size()) {
      arrived_ = 0;
      ++generation_;
      all_arrived_.notify_all();
      return absl::OkStatus();
    }
    all_arrived_.wait(lock, [&] { return generation_ != generation || !aborted_.ok(); });
    return generation_ != generation ? absl::OkStatus() : aborted_;
  }

  void Abort(const absl::Status& reason) {
    std::lock_guard lock(mutex_);
    if (aborted_.ok()) aborted_ = absl::AbortedError(reason.message());
    all_arrived_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_arrived_;
  std::vector<absl::Span<const std::byte>> sends_;
  size_t arrived_ = 0;
  uint64_t generation_ = 0;
  absl::Status aborted_;
};

class LocalCommunicator : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<LocalGroup> group, int rank)
      : group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(group_->size()); }

  absl::Status AllGather(absl::Span<const std::byte> send,
                         std::vector<absl::Span<const std::byte>>* received) override {
    MSA_RETURN_IF_ERROR(group_->Publish(rank_, send));
    // Copied, so that the senders may go on and overwrite theirs.
    buffers_.resize(group_->size());
    received->resize(group_->size());
    for (size_t r = 0; r < group_->size(); ++r) {
      const absl::Span<const std::byte> from = group_->sent_by(r);
      buffers_[r].assign(from.begin(), from.end());
      (*received)[r] = buffers_[r];
    }
    return group_->Arrive();
  }

  void Abort(const absl::Status& reason) override { group_->Abort(reason); }

 private:
  std::shared_ptr<LocalGroup> group_;
  int rank_;
  std::vector<std::vector<std::byte>> buffers_;  // [rank], kept between calls
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> MakeLocalCommunicators(int size) {
  MSA_CHECK(size > 0, "a group has at least one rank");
  auto group = std::make_shared<LocalGroup>(size);
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int rank = 0; rank < size; ++rank)
    communicators.push_back(std::make_unique<LocalCommunicator>(group, rank));
  return communicators;
}

}  // namespace msa::engine
