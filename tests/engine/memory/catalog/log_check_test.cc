#include "engine/memory/catalog/log_check.h"

#include "engine/memory/catalog/catalog.h"
#include "tests/engine/memory/bank_fixture.h"
#include "tests/engine/memory/files/simulated_file_system.h"

namespace msa::engine {
namespace {

using ::testing::HasSubstr;

constexpr char kLog[] = "/catalog.sqlite-wal";
constexpr size_t kHeaderBytes = 32;
constexpr size_t kFrameBytes = 24 + 4096;

class LogCheckTest : public ::testing::Test {
 protected:
  // The log of three transactions, each with a document.
  LogCheckTest() {
    SimulatedFileSystem files;
    const CatalogVfs vfs(&files, "/srv");
    CatalogSettings settings;
    settings.geometry = SmallGeometry();
    EXPECT_TRUE(Catalog::Create(vfs, "/catalog.sqlite", settings).ok());
    const auto catalog = Catalog::Open(vfs, "/catalog.sqlite").value();
    for (uint32_t number = 1; number <= 3; ++number) {
      DocumentRow row;
      row.number = number;
      EXPECT_TRUE(catalog->Begin().ok());
      EXPECT_TRUE(catalog->Insert(row, "text").ok());
      EXPECT_TRUE(catalog->Commit().ok());
      ends_.push_back(files.Contents().files.at(kLog)->size());
    }
    log_ = *files.Contents().files.at(kLog);
  }

  static absl::Status Check(const std::string& log) {
    DiskImage image;
    image.files[kLog] = std::make_shared<std::string>(log);
    SimulatedFileSystem files(image);
    return CheckLog(&files, kLog);
  }
  std::string WithFlippedByte(size_t at) const {
    std::string log = log_;
    log[at] = static_cast<char>(log[at] ^ 1);
    return log;
  }

  std::vector<size_t> ends_;  // of the transactions
  std::string log_;
};

TEST_F(LogCheckTest, WholeLogsAndNoLogsAreFine) {
  SimulatedFileSystem files;
  EXPECT_TRUE(CheckLog(&files, kLog).ok());
  EXPECT_TRUE(Check("").ok());
  EXPECT_TRUE(Check(log_).ok());
  EXPECT_TRUE(Check(std::string(log_.size(), '\0')).ok()) << "made and never written";
}

TEST_F(LogCheckTest, WhatAPowerLossLeavesOfTheLastTransactionIsFine) {
  for (size_t size = ends_[1]; size < log_.size(); size += 512) {
    EXPECT_TRUE(Check(log_.substr(0, size)).ok()) << size;
    std::string torn = log_;
    torn.replace(size, std::min<size_t>(512, log_.size() - size), 512, '\0');
    EXPECT_TRUE(Check(torn).ok()) << size;
  }
}

// The disk was full: a transaction is given up before its last frame, and the next one cannot write
// more than a part of its first frame's header over it.
TEST_F(LogCheckTest, ATransactionThatWasGivenUpUnderOneThatWasCutShortIsFine) {
  std::string log = log_.substr(0, ends_[2] - kFrameBytes);
  ASSERT_GE(log.size(), ends_[1] + 2 * kFrameBytes);
  log.replace(ends_[1] + 4, 4, std::string("\0\0\0\x09", 4));  // it ends a transaction
  EXPECT_TRUE(Check(log).ok()) << Check(log);
}

TEST_F(LogCheckTest, DamageInAnEarlierTransactionIsNamed) {
  for (size_t at = kHeaderBytes; at < ends_[1] - kFrameBytes; at += 97) {
    const absl::Status status = Check(WithFlippedByte(at));
    EXPECT_TRUE(absl::IsDataLoss(status)) << at << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("catalog.sqlite-wal"));
  }
  // Its last frame too, where the end of the transaction can be believed.
  EXPECT_TRUE(absl::IsDataLoss(Check(WithFlippedByte(ends_[1] - 100))));
}

TEST_F(LogCheckTest, DamageInTheHeaderIsNamed) {
  for (size_t at = 0; at < kHeaderBytes; ++at) {
    EXPECT_TRUE(absl::IsDataLoss(Check(WithFlippedByte(at)))) << at;
  }
}

}  // namespace
}  // namespace msa::engine
