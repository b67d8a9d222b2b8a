// The power goes at any operation of a trace, and the disk keeps what it likes of what was not
// synced. A sample runs always; MSA_LONG_TESTS=1 tries every operation.
#include <iostream>
#include <set>
#include <vector>

#include "engine/memory/files/checksum.h"
#include "tests/engine/memory/crash_fixture.h"
#include "tests/engine/memory/files/simulated_file_system.h"
#include "tests/engine/memory/long_form.h"

namespace msa::engine {
namespace {

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

class PowerLossTest : public CrashTest, public ::testing::WithParamInterface<uint32_t> {
 protected:
  // Until the trace has so many operations. The process ends now and then, as it is told to or at
  // any call.
  void RunWorkload(SimulatedFileSystem* files, int64_t num_operations) {
    RandomClient client(GetParam(), &journal_, [files] { return files->num_operations(); });
    files->Record();
    for (int i = 0; i < 8; ++i) {
      KillAfter(files, client.Random(250));
      TryOpen(files);
      Kill(files);
    }
    ASSERT_TRUE(TryOpen(files));
    bank_made_at_ = files->num_operations();
    while (files->num_operations() < num_operations) {
      client.Step(*bank_);
      const int end = client.Random(30);
      if (end > 1) continue;
      if (end == 0) {
        client.DropPin();
        CloseStore();
      } else {
        const int64_t num_faults = files->num_faults();
        KillAfter(files, client.Random(150));
        while (files->num_faults() == num_faults) client.Step(*bank_);
        client.DropPin();
        Kill(files);
      }
      ASSERT_TRUE(TryOpen(files));
      client.Retry(*bank_);
    }
    client.DropPin();
    Kill(files);
  }
};

TEST_P(PowerLossTest, AtAnyOperationNothingAcknowledgedIsLostOrComesBack) {
  SimulatedFileSystem files;
  ASSERT_NO_FATAL_FAILURE(RunWorkload(&files, 3000));
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
      ExpectKeepsToTheJournal(image, time);
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

INSTANTIATE_TEST_SUITE_P(Seeds, PowerLossTest, ::testing::Values(1, 2, 3));

}  // namespace
}  // namespace msa::engine
