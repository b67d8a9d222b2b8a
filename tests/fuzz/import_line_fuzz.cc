// msactl's reading of JSON Lines, any bytes: every line is a document that can be written and read
// again, or an error that says where.
#include <sstream>
#include <string>

#include "client/cli/document_reader.h"
#include "client/cli/source_document.h"
#include "client/cli/utf8.h"
#include "kernels/core/check.h"
#include "tests/fuzz/fuzz_target.h"

namespace msa::client {
namespace {

void CheckSame(const absl::StatusOr<SourceDocument>& read, const SourceDocument& document) {
  MSA_CHECK(read.ok() && read->id == document.id && read->text == document.text &&
                read->metadata == document.metadata,
            "what is written reads back");
}

void Check(const std::string& bytes) {
  std::istringstream stream(bytes);
  auto reader = DocumentReader::Open({"-"}, &stream);
  MSA_CHECK(reader.ok(), "standard input is always there");
  while (true) {
    auto next = (*reader)->Next();
    MSA_CHECK(next.ok(), "a stream in memory does not fail");
    if (!next->has_value()) break;
    const DocumentReader::Item& item = **next;
    if (item.document.ok()) {
      const SourceDocument& document = *item.document;
      CheckSame(ParseDocumentLine(DocumentLine(document), ""), document);
      CheckSame(ParseDocumentLine(RejectedDocumentLine(document, absl::UnknownError("why")), ""),
                document);
    } else {
      const absl::Status& status = item.document.status();
      MSA_CHECK(absl::IsInvalidArgument(status), "an error of the line");
      const std::string message(status.message());
      MSA_CHECK(message.starts_with(item.where + ": "), "errors say where");
      MSA_CHECK(FirstInvalidUtf8Byte(message) == std::string::npos, "messages are UTF-8");
      const std::string line = RejectedRawLine(item.line, item.where, status);
      MSA_CHECK(FirstInvalidUtf8Byte(line) == std::string::npos, "rejects are UTF-8");
    }
  }
}

}  // namespace
}  // namespace msa::client

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  msa::client::Check(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}
