#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/memory/acknowledgements.h"
#include "engine/memory/bank_parts.h"
#include "engine/memory/encoding_queue.h"
#include "engine/memory/segments/segment_reader.h"

namespace msa::engine {

// The last stage of a bank's thread: encoded documents into a segment, the segment into the
// catalog, the documents into the shards at one revision. Also what becomes of documents that fail
// or are found damaged, and of rows that nobody may see.
class SegmentCommit {
 public:
  SegmentCommit(BankParts* parts, EncodingQueue* queue, Acknowledgements* acknowledgements)
      : parts_(parts), queue_(queue), acknowledgements_(acknowledgements) {}

  // How long until Run has something to do: not positive when it has, infinite when that depends on
  // others.
  absl::Duration TimeUntilDue() const;

  // Writes what is encoded. After a failure the documents wait for the next attempt, or for the
  // next start of the server where the bank has become read-only.
  void Run();

  // The document's state becomes FAILED, or it stays ACCEPTED until the next start.
  void Fail(const EncodingQueue::Failure& failure);

  // Takes a document whose content is damaged from queries and has it encoded again from its text;
  // nothing where it is in another segment by now.
  void EncodeAgain(const DamagedDocument& damaged);

  // Removes rows of deleted documents that no query may see any more. True: there are more.
  bool Purge();

 private:
  struct Activation {
    EncodingQueue::Encoded encoded;
    DocumentRow row;  // as committed: ACTIVE, or DELETED where a newer version was first
    std::vector<DocumentRow> removed;  // older versions, as they were
  };

  // Rows of what is encoded, in ascending number.
  absl::StatusOr<std::vector<Activation>> FindRows(std::vector<EncodingQueue::Encoded> encoded);
  absl::StatusOr<std::shared_ptr<const SegmentReader>> Write(
      uint64_t segment_id, const std::vector<Activation>& activations);
  absl::Status Commit(const SegmentReader& segment, uint64_t revision,
                      std::vector<Activation>* activations);
  absl::Status Activate(uint64_t revision, Activation* activation);
  void TakeEffect(std::shared_ptr<const SegmentReader> segment, uint64_t revision,
                  std::vector<Activation> activations);
  void Retry(const absl::Status& status, std::vector<EncodingQueue::Encoded> encoded);
  // One transaction around `change`. An error is noted.
  template <class Change>
  absl::Status InTransaction(Change change);

  BankParts* const parts_;
  EncodingQueue* const queue_;
  Acknowledgements* const acknowledgements_;
  absl::Duration not_before_ = -absl::InfiniteDuration();  // after a failure
};

}  // namespace msa::engine
