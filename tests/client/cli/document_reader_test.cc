#include "client/cli/document_reader.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace msa::client {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class DocumentReaderTest : public testing::Test {
 protected:
  DocumentReaderTest() : folder_(testing::TempDir() + "document_reader_" + TestName()) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~DocumentReaderTest() override { fs::remove_all(folder_); }

  static std::string TestName() {
    return testing::UnitTest::GetInstance()->current_test_info()->name();
  }

  std::string Write(const std::string& name, const std::string& content) {
    const fs::path path = fs::path(folder_) / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }

  // "id=text" of documents, "error: message" of others.
  std::vector<std::string> ReadAll(const std::vector<std::string>& paths,
                                   const std::string& input = "") {
    std::istringstream standard_input(input);
    absl::StatusOr<std::unique_ptr<DocumentReader>> reader =
        DocumentReader::Open(paths, &standard_input);
    if (!reader.ok()) return {"open: " + std::string(reader.status().message())};
    std::vector<std::string> seen;
    while (true) {
      absl::StatusOr<std::optional<DocumentReader::Item>> item = (*reader)->Next();
      if (!item.ok()) {
        seen.push_back("input: " + std::string(item.status().message()));
        break;
      }
      if (!item->has_value()) break;
      const absl::StatusOr<SourceDocument>& document = (*item)->document;
      seen.push_back(document.ok() ? document->id + "=" + document->text
                                   : "error: " + std::string(document.status().message()));
    }
    bytes_read_ = (*reader)->num_bytes_read();
    bytes_ = (*reader)->num_bytes();
    return seen;
  }

  const std::string folder_;
  int64_t bytes_read_ = 0;
  int64_t bytes_ = 0;
};

TEST_F(DocumentReaderTest, ReadsJsonLinesAndGoesOnAfterBadOnes) {
  const std::string path = Write("d.jsonl",
                                 "{\"id\":\"a\",\"text\":\"1\"}\r\n"
                                 "\n"
                                 "nonsense\n"
                                 "  \n"
                                 "{\"id\":\"b\",\"text\":\"2\"}");
  EXPECT_THAT(ReadAll({path}), ElementsAre("a=1", HasSubstr(path + ":3: not JSON at byte"), "b=2"));
  EXPECT_EQ(bytes_, static_cast<int64_t>(fs::file_size(path)));
  EXPECT_GE(bytes_read_, bytes_);
}

TEST_F(DocumentReaderTest, ReadsStandardInput) {
  EXPECT_THAT(ReadAll({"-"}, "{\"id\":\"a\",\"text\":\"1\"}\nx\n"),
              ElementsAre("a=1", HasSubstr("standard input:2: not JSON")));
  EXPECT_EQ(bytes_, 0);
}

TEST_F(DocumentReaderTest, TextFilesAreOneDocumentEachWithTheirPathAsId) {
  const std::string path = Write("note.txt", "line one\nline two\n");
  EXPECT_THAT(ReadAll({path}), ElementsAre(path + "=line one\nline two\n"));
}

TEST_F(DocumentReaderTest, FoldersAreReadRecursivelyInOrderWithRelativeIds) {
  Write("b.txt", "B");
  Write("a/x.md", "X");
  Write("a/d.jsonl", "{\"id\":\"j\",\"text\":\"J\"}\n");
  Write("picture.png", "not a document");
  Write(".hidden.txt", "H");
  Write(".git/c.txt", "C");
  EXPECT_THAT(ReadAll({folder_}), ElementsAre("j=J", "a/x.md=X", "b.txt=B"));
}

TEST_F(DocumentReaderTest, SeveralPathsAreReadInTheirOrder) {
  const std::string z = Write("z.jsonl", "{\"id\":\"z\",\"text\":\"1\"}\n");
  const std::string a = Write("a.jsonl", "{\"id\":\"a\",\"text\":\"1\"}\n");
  EXPECT_THAT(ReadAll({z, a}), ElementsAre("z=1", "a=1"));
}

TEST_F(DocumentReaderTest, ByteOrderMarksAreDropped) {
  const std::string lines = Write("d.jsonl", "\xEF\xBB\xBF{\"id\":\"a\",\"text\":\"1\"}\n");
  const std::string text = Write("t.txt", "\xEF\xBB\xBFtext");
  EXPECT_THAT(ReadAll({lines, text}), ElementsAre("a=1", text + "=text"));
}

TEST_F(DocumentReaderTest, BadTextFilesAreErrorsOfThatFileOnly) {
  Write("a.txt", "");
  Write("b.txt", "ab\xFF");
  Write("c.txt", "fine");
  EXPECT_THAT(ReadAll({folder_}),
              ElementsAre(HasSubstr("a.txt: is empty"), HasSubstr("b.txt: not UTF-8 at byte 3"),
                          "c.txt=fine"));
}

TEST_F(DocumentReaderTest, MissingPathsAndEmptyFoldersAreErrorsAtOnce) {
  EXPECT_THAT(ReadAll({folder_ + "/none"}),
              ElementsAre("open: " + folder_ + "/none: no such file or folder"));
  EXPECT_THAT(ReadAll({folder_}),
              ElementsAre(HasSubstr("holds no documents; allowed: .jsonl, .txt and .md files")));
}

TEST_F(DocumentReaderTest, TheFingerprintIsThatOfPathsSizesAndTimes) {
  const std::string path = Write("a.jsonl", "x\n");
  const std::string other = Write("b.jsonl", "x\n");
  const auto fingerprint = [](const std::vector<std::string>& paths) {
    std::istringstream standard_input;
    return (*DocumentReader::Open(paths, &standard_input))->Fingerprint();
  };
  const std::string first = fingerprint({path});
  EXPECT_EQ(first.size(), DocumentReader::kFingerprintBytes);
  EXPECT_EQ(fingerprint({path}), first);
  EXPECT_EQ(fingerprint({"-", path}), first);
  EXPECT_EQ(fingerprint({"-"}), "");
  EXPECT_NE(fingerprint({other}), first);
  EXPECT_NE(fingerprint({path, other}), fingerprint({other, path}));
  EXPECT_EQ(fingerprint({folder_}), fingerprint({path, other}));
  fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(1));
  const std::string touched = fingerprint({path});
  EXPECT_NE(touched, first);
  const auto time = fs::last_write_time(path);
  Write("a.jsonl", "xy\n");
  fs::last_write_time(path, time);
  EXPECT_NE(fingerprint({path}), touched);
}

}  // namespace
}  // namespace msa::client
