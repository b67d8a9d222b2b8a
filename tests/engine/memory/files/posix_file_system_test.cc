#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "engine/memory/files/file_system.h"
#include "kernels/core/error_detail.h"
#include "tests/engine/memory/bank_fixture.h"

namespace msa::engine {
namespace {

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

TEST(PosixFileSystemTest, WhatIsAppendedIsReadBack) {
  const TemporaryDirectory directory;
  FileSystem* const files = PosixFileSystem();
  const std::string path = directory.path() + "/file";
  {
    const auto file = files->CreateForWrite(path).value();
    ASSERT_TRUE(file->Append(Bytes("hello ")).ok());
    ASSERT_TRUE(file->Append(Bytes("world")).ok());
    ASSERT_TRUE(file->Sync().ok());
    ASSERT_TRUE(file->Close().ok());
  }
  const auto file = files->OpenForRead(path).value();
  EXPECT_EQ(file->size(), 11u);
  std::array<std::byte, 5> out{};
  ASSERT_TRUE(file->ReadAt(6, absl::MakeSpan(out)).ok());
  EXPECT_EQ(std::memcmp(out.data(), "world", 5), 0);
  EXPECT_TRUE(absl::IsDataLoss(file->ReadAt(7, absl::MakeSpan(out))));
}

TEST(PosixFileSystemTest, FilesForUpdateAreReadAndWrittenAnywhere) {
  const TemporaryDirectory directory;
  const auto file = PosixFileSystem()->OpenForUpdate(directory.path() + "/file").value();
  ASSERT_TRUE(file->WriteAt(4, Bytes("abcd")).ok());
  EXPECT_EQ(file->Size().value(), 8u);
  std::array<std::byte, 6> out{};
  EXPECT_EQ(file->ReadAt(3, absl::MakeSpan(out)).value(), 5u);
  EXPECT_EQ(std::memcmp(out.data(), "\0abcd", 5), 0);
  ASSERT_TRUE(file->Truncate(5).ok());
  EXPECT_EQ(file->Size().value(), 5u);
  EXPECT_TRUE(file->Sync().ok());
}

TEST(PosixFileSystemTest, ErrorsNameThePath) {
  const TemporaryDirectory directory;
  FileSystem* const files = PosixFileSystem();
  const std::string absent = directory.path() + "/absent/file";
  for (const absl::Status& status :
       {files->OpenForRead(absent).status(), files->CreateForWrite(absent).status(),
        files->Rename(absent, absent + "2"), files->List(absent).status(),
        files->SyncDirectory(absent)}) {
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(absent));
  }
  EXPECT_TRUE(files->Remove(absent).ok());
  EXPECT_TRUE(files->RemoveDirectoryTree(absent).ok());
}

TEST(PosixFileSystemTest, DirectoriesAreMadeListedAndRemovedAsTrees) {
  const TemporaryDirectory directory;
  FileSystem* const files = PosixFileSystem();
  const std::string root = directory.path() + "/x";
  ASSERT_TRUE(files->CreateDirectories(root + "/y/z").ok());
  ASSERT_TRUE(files->CreateDirectories(root + "/y/z").ok());
  WriteFile(root + "/b", "1");
  WriteFile(root + "/y/z/c", "2");
  EXPECT_THAT(files->List(root).value(), ::testing::ElementsAre("b", "y"));
  EXPECT_TRUE(files->SyncDirectory(root).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(files->CreateDirectories(root + "/b")));
  ASSERT_TRUE(files->RemoveDirectoryTree(root).ok());
  EXPECT_FALSE(files->Exists(root));
}

TEST(PosixFileSystemTest, AFullDiskIsResourceExhausted) {
  if (!PosixFileSystem()->Exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  const auto file = PosixFileSystem()->CreateForWrite("/dev/full").value();
  const absl::Status status = file->Append(Bytes("x"));
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(kernels::DetailOf(status).reason, "DISK_FULL");
}

TEST(PosixFileSystemTest, ALockIsHeldOnceUntilItGoes) {
  const TemporaryDirectory directory;
  FileSystem* const files = PosixFileSystem();
  const std::string path = directory.path() + "/lock";
  auto lock = files->Lock(path);
  ASSERT_TRUE(lock.ok()) << lock.status();
  const auto second = files->Lock(path);
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status()));
  EXPECT_EQ(kernels::DetailOf(second.status()).reason, "FILE_LOCKED");
  lock->reset();
  EXPECT_TRUE(files->Lock(path).ok());
  auto range = files->LockRange(path, 100, 10);
  ASSERT_TRUE(range.ok());
  EXPECT_FALSE(files->LockRange(path, 105, 10).ok());
  EXPECT_TRUE(files->LockRange(path, 110, 10).ok());
}

}  // namespace
}  // namespace msa::engine
