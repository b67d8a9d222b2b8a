// The power goes at any operation of a trace, and the disk keeps what it likes of what was not
// synced. A sample runs always; MSA_LONG_TESTS=1 tries every operation.
#include <iostream>
#include <map>
#include <optional>
#include <set>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "engine/memory/files/checksum.h"
#include "tests/engine/memory/bank_fixture.h"
#include "tests/engine/memory/client_journal.h"
#include "tests/engine/memory/files/simulated_file_system.h"
#include "tests/engine/memory/long_form.h"
#include "tests/engine/memory/random_client.h"

namespace msa::engine {
namespace {

using ::testing::IsEmpty;
using Way = PowerLoss::Way;

// What is tried at an operation.
std::vector<PowerLoss> PowerLossesAt(uint64_t operation) {
  std::vector<PowerLoss> losses = {{.way = Way::kUnsyncedLost},
                                   {.way = Way::kUnsyncedKept},
                                   {.way = Way::kOnlyNamesKept},
                                   {.way = Way::kOnlyBytesKept}};
  for (const uint64_t block_bytes : {512, 4096}) {
    losses.push_back({Way::kLastWriteTorn, block_bytes, operation});
    losses.push_back({Way::kEachFileBefore, block_bytes, operation});
    losses.push_back({Way::kAnyBlocks, block_bytes, 2 * operation});
    losses.push_back({Way::kAnyBlocks, block_bytes, 2 * operation + 1});
  }
  return losses;
}

uint64_t Fingerprint(const DiskImage& image) {
  RunningChecksum sum;
  const auto add = [&](const std::string& bytes) {
    sum.Add({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
  };
  for (const std::string& path : image.directories) add(path);
  for (const auto& [path, bytes] : image.files) {
    add(path);
    add(*bytes);
  }
  return sum.Value();
}

class PowerLossTest : public BankTest {
 protected:
  PowerLossTest() {
    encoder_ = std::make_unique<ScriptedEncoder>(options_.geometry, /*max_document_tokens=*/2000);
    options_.data_dir = "/srv/data";
    options_.segment_interval = absl::Milliseconds(1);
    options_.compaction_share = 0.4;
    options_.compaction_merge = 6;
    options_.segment_target_bytes = 32 << 10;
  }

  // Opens the store on `files`; where the bank is not there, it is made.
  void Open(SimulatedFileSystem* files) {
    OpenStore(files);
    if (store_ == nullptr) return;
    auto bank = store_->Get("a");
    if (absl::IsNotFound(bank.status())) bank = store_->Create("a", {});
    ASSERT_TRUE(bank.ok()) << bank.status();
    bank_ = *bank;
  }

  // Starts the store and makes the bank, and is killed on the way.
  void OpenAndKill(SimulatedFileSystem* files, int64_t calls) {
    files->InjectFault(FileFault{FileFault::Kind::kProcessEnds, files->num_calls() + calls,
                                 /*is_sticky=*/true});
    auto store = BankStore::Open(options_, encoder_.get(), files, SystemClock(), &observer_);
    if (store.ok()) (*store)->Create("a", {}).status().IgnoreError();
    store = absl::CancelledError();  // closed before it may use its files again
    files->InjectFault(std::nullopt);
  }

  // As if the process were killed: nothing of what closing does reaches the disk.
  void Kill(SimulatedFileSystem* files) {
    files->InjectFault(FileFault{FileFault::Kind::kProcessEnds, 0, /*is_sticky=*/true});
    CloseStore();
    files->InjectFault(std::nullopt);
  }

  // The same at some call of the next steps.
  void KillWithin(SimulatedFileSystem* files, RandomClient* client) {
    files->InjectFault(FileFault{FileFault::Kind::kProcessEnds,
                                 files->num_calls() + client->Random(150), /*is_sticky=*/true});
    const int64_t num_faults = files->num_faults();
    while (files->num_faults() == num_faults) client->Step(*bank_);
  }

  // Until the trace has so many operations. The store is closed and killed now and then.
  void RunWorkload(SimulatedFileSystem* files, int64_t num_operations, uint32_t seed) {
    RandomClient client(seed, &journal_, [files] { return files->num_operations(); });
    files->Record();
    for (int i = 0; i < 8; ++i) OpenAndKill(files, client.Random(250));
    Open(files);
    bank_acknowledged_at_ = files->num_operations();
    while (files->num_operations() < num_operations) {
      ASSERT_NE(bank_, nullptr);
      client.Step(*bank_);
      const int end = client.Random(30);
      if (end > 1) continue;
      if (end == 1) KillWithin(files, &client);
      client.DropPin();
      CloseStore();
      files->InjectFault(std::nullopt);
      Open(files);
      client.Retry(*bank_);
    }
    client.DropPin();
    Kill(files);
  }

  std::map<std::string, ClientJournal::Document> Held() {
    std::map<std::string, ClientJournal::Document> held;
    const auto page = bank_->List("", 1'000'000, /*with_text=*/true, /*filter=*/nullptr);
    EXPECT_TRUE(page.ok()) << page.status();
    if (!page.ok()) return held;
    for (const DocumentInfo& info : page->documents) held[info.id] = {info.text, info.metadata};
    return held;
  }

  void Check(const DiskImage& image, int64_t time) {
    SimulatedFileSystem files(image);
    const absl::Cleanup end = [&] { Kill(&files); };
    const size_t num_problems = observer_.problems().size();
    OpenStore(&files);
    if (store_ == nullptr) return;
    auto bank = store_->Get("a");
    if (absl::IsNotFound(bank.status()) && time < bank_acknowledged_at_) {
      bank = store_->Create("a", {});
    }
    ASSERT_TRUE(bank.ok()) << bank.status();
    bank_ = *bank;
    EXPECT_THAT(journal_.Violations(Held(), time), IsEmpty());
    ASSERT_TRUE(Settles(*bank_));
    EXPECT_THAT(journal_.Violations(Held(), time), IsEmpty());
    ExpectServesExactlyWhatIsActive(*bank_);
    EXPECT_GE(bank_->Info().revision, journal_.HighestRevision(time));
    const IngestResult more = Ingest(*bank_, "more", "text");
    EXPECT_TRUE(more.status.ok()) << more.status;
    EXPECT_GT(more.number, journal_.HighestNumber(time));
    const auto problems = observer_.problems();
    EXPECT_EQ(problems.size(), num_problems) << "a power loss damages nothing: " << problems.back();
  }

  ClientJournal journal_;
  int64_t bank_acknowledged_at_ = 0;
};

class SeededPowerLossTest : public PowerLossTest, public ::testing::WithParamInterface<uint32_t> {};

TEST_P(SeededPowerLossTest, AtAnyOperationNothingAcknowledgedIsLostOrComesBack) {
  SimulatedFileSystem files;
  ASSERT_NO_FATAL_FAILURE(RunWorkload(&files, 3000, GetParam()));
  const auto trace = files.trace();
  const auto num_operations = static_cast<int64_t>(trace.size());
  const int64_t stride = IsLongForm() ? 1 : 53;
  int64_t num_prefixes = 0;
  int64_t num_images = 0;
  int64_t num_violations = 0;
  std::set<uint64_t> distinct;
  DiskModel disk = files.trace_start();
  for (int64_t time = 1; time <= num_operations; ++time) {
    disk.Apply(trace[static_cast<size_t>(time - 1)]);
    if (time % stride != 0) continue;
    num_prefixes += 1;
    for (const PowerLoss& loss : PowerLossesAt(static_cast<uint64_t>(time))) {
      const DiskImage image = disk.After(loss);
      num_images += 1;
      distinct.insert(Fingerprint(image));
      const bool failed_before = HasFailure();
      Check(image, time);
      if (!HasFailure() || failed_before) continue;
      num_violations += 1;
      FAIL() << "operation " << time << ", way " << static_cast<int>(loss.way) << ", blocks of "
             << loss.block_bytes << ", seed " << loss.seed;
    }
  }
  EXPECT_GE(num_operations, 2000);
  std::cout << "operations " << num_operations << ", acknowledged changes "
            << journal_.num_acknowledged() << ", operations tried " << num_prefixes << ", images "
            << num_images << " (" << distinct.size() << " distinct), violations " << num_violations
            << "\n";
}

INSTANTIATE_TEST_SUITE_P(Seeds, SeededPowerLossTest, ::testing::Values(1, 2, 3));

}  // namespace
}  // namespace msa::engine
