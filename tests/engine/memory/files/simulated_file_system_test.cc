#include "tests/engine/memory/files/simulated_file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "kernels/core/error_detail.h"

namespace msa::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Way = PowerLoss::Way;

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

class SimulatedFileSystemTest : public ::testing::Test {
 protected:
  SimulatedFileSystemTest() {
    EXPECT_TRUE(files_.CreateDirectories("/d").ok());
    EXPECT_TRUE(files_.SyncDirectory("/").ok());
  }

  void Put(const std::string& path, const std::string& text, bool syncs) {
    const auto file = files_.CreateForWrite(path).value();
    ASSERT_TRUE(file->Append(Bytes(text)).ok());
    if (syncs) {
      ASSERT_TRUE(file->Sync().ok());
    }
  }
  // What a disk holds, in the order of the names; of a file that is not there "(none)".
  static std::string Content(const DiskImage& image, const std::string& path) {
    const auto found = image.files.find(path);
    return found == image.files.end() ? "(none)" : *found->second;
  }
  std::string After(const PowerLoss& loss, const std::string& path) const {
    return Content(files_.AfterPowerLoss(loss), path);
  }
  std::string Read(const std::string& path) const { return Content(files_.Contents(), path); }

  SimulatedFileSystem files_;
};

TEST_F(SimulatedFileSystemTest, BytesAreDurableWithTheirFileAndNamesWithTheirDirectory) {
  Put("/d/a", "first", /*syncs=*/true);
  EXPECT_EQ(Read("/d/a"), "first");
  EXPECT_EQ(After({.way = Way::kUnsyncedLost}, "/d/a"), "(none)");
  EXPECT_EQ(After({.way = Way::kOnlyNamesKept}, "/d/a"), "first");
  ASSERT_TRUE(files_.SyncDirectory("/d").ok());
  EXPECT_EQ(After({.way = Way::kUnsyncedLost}, "/d/a"), "first");
  Put("/d/a", "other", /*syncs=*/false);
  EXPECT_EQ(After({.way = Way::kUnsyncedLost}, "/d/a"), "first");
  EXPECT_EQ(After({.way = Way::kUnsyncedKept}, "/d/a"), "other");
}

TEST_F(SimulatedFileSystemTest, RenamesAndRemovalsComeBackUntilTheDirectoryIsSynced) {
  Put("/d/a.tmp", "x", /*syncs=*/true);
  Put("/d/b", "y", /*syncs=*/true);
  ASSERT_TRUE(files_.SyncDirectory("/d").ok());
  ASSERT_TRUE(files_.Rename("/d/a.tmp", "/d/a").ok());
  ASSERT_TRUE(files_.Remove("/d/b").ok());
  EXPECT_THAT(files_.List("/d").value(), ElementsAre("a"));
  EXPECT_EQ(After({.way = Way::kUnsyncedLost}, "/d/a.tmp"), "x");
  EXPECT_EQ(After({.way = Way::kUnsyncedLost}, "/d/b"), "y");
  EXPECT_EQ(After({.way = Way::kUnsyncedKept}, "/d/a"), "x");
  std::set<std::string> either;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const PowerLoss loss = {.way = Way::kAnyBlocks, .block_bytes = 512, .seed = seed};
    either.insert(After(loss, "/d/a") + After(loss, "/d/a.tmp") + After(loss, "/d/b"));
  }
  EXPECT_THAT(either, ElementsAre("(none)x(none)", "(none)xy", "x(none)(none)", "x(none)y"));
  ASSERT_TRUE(files_.SyncDirectory("/d").ok());
  EXPECT_EQ(After({.way = Way::kUnsyncedLost}, "/d/b"), "(none)");
}

TEST_F(SimulatedFileSystemTest, TheLastWriteIsTornAtABlock) {
  Put("/d/a", std::string(1024, 'a'), /*syncs=*/true);
  ASSERT_TRUE(files_.SyncDirectory("/d").ok());
  const auto file = files_.OpenForUpdate("/d/a").value();
  ASSERT_TRUE(file->WriteAt(0, Bytes(std::string(512, 'b'))).ok());
  ASSERT_TRUE(file->WriteAt(512, Bytes(std::string(1024, 'c'))).ok());
  std::set<std::string> seen;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const std::string torn = After({Way::kLastWriteTorn, 512, seed}, "/d/a");
    ASSERT_EQ(torn.size(), 1536u);
    EXPECT_EQ(torn.substr(0, 512), std::string(512, 'b')) << "the write before is whole";
    seen.insert({torn[512], torn[1024]});
  }
  EXPECT_THAT(seen, ElementsAre(std::string("a\0", 2), std::string("c\0", 2)));
}

TEST_F(SimulatedFileSystemTest, EveryBlockIsAsItWasAtSomeTimeSinceTheLastSync) {
  Put("/d/a", std::string(1024, 'a'), /*syncs=*/true);
  ASSERT_TRUE(files_.SyncDirectory("/d").ok());
  const auto file = files_.OpenForUpdate("/d/a").value();
  ASSERT_TRUE(file->WriteAt(0, Bytes(std::string(1024, 'b'))).ok());
  ASSERT_TRUE(file->WriteAt(100, Bytes("c")).ok());
  std::set<std::string> any;
  std::set<std::string> ordered;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const std::string one = After({Way::kAnyBlocks, 512, seed}, "/d/a");
    any.insert({one[0], one[100], one[600]});
    const std::string other = After({Way::kEachFileBefore, 512, seed}, "/d/a");
    ordered.insert({other[0], other[100], other[600]});
  }
  EXPECT_THAT(any, ElementsAre("aaa", "aab", "bba", "bbb", "bca", "bcb"));
  EXPECT_THAT(ordered, ElementsAre("aaa", "bbb", "bcb"));
}

TEST_F(SimulatedFileSystemTest, AFileIsCutAsAWholeOrNotAtAll) {
  Put("/d/a", std::string(1024, 'a'), /*syncs=*/true);
  ASSERT_TRUE(files_.SyncDirectory("/d").ok());
  const auto file = files_.OpenForUpdate("/d/a").value();
  ASSERT_TRUE(file->Truncate(0).ok());
  ASSERT_TRUE(file->WriteAt(0, Bytes(std::string(1024, 'b'))).ok());
  std::set<std::string> any;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const std::string bytes = After({Way::kAnyBlocks, 512, seed}, "/d/a");
    any.insert(bytes.empty() ? "" : std::string({bytes[0], bytes[1023]}));
  }
  const std::string zero(1, '\0');
  EXPECT_THAT(any, ElementsAre("", zero + zero, zero + "b", "aa", "b" + zero, "bb"));
}

TEST_F(SimulatedFileSystemTest, WhatAFailedSyncLeftIsNeverDurable) {
  Put("/d/a", "old", /*syncs=*/true);
  ASSERT_TRUE(files_.SyncDirectory("/d").ok());
  const auto file = files_.OpenForUpdate("/d/a").value();
  ASSERT_TRUE(file->WriteAt(0, Bytes("new")).ok());
  files_.InjectFault(FileFault{FileFault::Kind::kIoError, files_.num_calls(), false});
  EXPECT_TRUE(absl::IsUnavailable(file->Sync()));
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_EQ(Read("/d/a"), "new");
  EXPECT_EQ(After({.way = Way::kUnsyncedKept}, "/d/a"), "old");
}

TEST_F(SimulatedFileSystemTest, ATraceGivesTheDiskAtEveryOperation) {
  files_.Record();
  Put("/d/a", "one", /*syncs=*/true);
  ASSERT_TRUE(files_.SyncDirectory("/d").ok());
  const auto trace = files_.trace();
  ASSERT_EQ(trace.size(), 4u);  // made, written, synced, its directory synced
  DiskModel disk = files_.trace_start();
  std::vector<std::string> kept;
  std::vector<std::string> durable;
  for (const auto& operation : trace) {
    disk.Apply(operation);
    kept.push_back(Content(disk.After({.way = Way::kUnsyncedKept}), "/d/a"));
    durable.push_back(Content(disk.After({.way = Way::kUnsyncedLost}), "/d/a"));
  }
  EXPECT_THAT(kept, ElementsAre("", "one", "one", "one"));
  EXPECT_THAT(durable, ElementsAre("(none)", "(none)", "(none)", "one"));
}

TEST_F(SimulatedFileSystemTest, FaultsComeAtTheirCallOnceOrFromThenOn) {
  Put("/d/a", "12345678", /*syncs=*/true);
  const auto file = files_.OpenForUpdate("/d/a").value();
  std::array<std::byte, 4> out{};
  files_.InjectFault(FileFault{FileFault::Kind::kIoError, files_.num_calls() + 1, false});
  EXPECT_TRUE(file->ReadAt(0, absl::MakeSpan(out)).ok());
  EXPECT_TRUE(absl::IsUnavailable(file->ReadAt(0, absl::MakeSpan(out)).status()));
  EXPECT_TRUE(file->ReadAt(0, absl::MakeSpan(out)).ok());
  EXPECT_EQ(files_.num_faults(), 1);

  files_.InjectFault(FileFault{FileFault::Kind::kShortWrite, files_.num_calls(), true});
  EXPECT_TRUE(file->ReadAt(0, absl::MakeSpan(out)).ok());
  const absl::Status status = file->WriteAt(0, Bytes("abcd"));
  EXPECT_EQ(kernels::DetailOf(status).reason, "DISK_FULL") << status;
  EXPECT_EQ(Read("/d/a"), "ab345678");
  EXPECT_TRUE(absl::IsResourceExhausted(file->WriteAt(0, Bytes("AB"))));

  files_.InjectFault(FileFault{FileFault::Kind::kProcessEnds, files_.num_calls(), true});
  EXPECT_FALSE(files_.Remove("/d/a").ok());
  EXPECT_FALSE(files_.Exists("/d/a"));
  files_.InjectFault(std::nullopt);
  EXPECT_TRUE(files_.Exists("/d/a"));
}

TEST_F(SimulatedFileSystemTest, AnImageIsADiskOfItsOwn) {
  Put("/d/a", "one", /*syncs=*/false);
  SimulatedFileSystem copy(files_.Contents());
  ASSERT_TRUE(copy.Remove("/d/a").ok());
  EXPECT_EQ(Read("/d/a"), "one");
  EXPECT_EQ(Content(copy.AfterPowerLoss({}), "/d/a"), "one") << "all of an image is durable";
  EXPECT_THAT(copy.List("/d").value(), IsEmpty());
}

TEST_F(SimulatedFileSystemTest, ALockIsHeldOnceUntilItGoes) {
  auto lock = files_.Lock("/d/lock");
  ASSERT_TRUE(lock.ok()) << lock.status();
  EXPECT_EQ(kernels::DetailOf(files_.Lock("/d/lock").status()).reason, "FILE_LOCKED");
  lock->reset();
  auto range = files_.LockRange("/d/lock", 100, 10);
  ASSERT_TRUE(range.ok());
  EXPECT_FALSE(files_.LockRange("/d/lock", 105, 10).ok());
  EXPECT_TRUE(files_.LockRange("/d/lock", 110, 10).ok());
}

}  // namespace
}  // namespace msa::engine
