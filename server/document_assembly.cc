#include "server/document_assembly.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/text/utf8.h"
#include "kernels/core/error_detail.h"
#include "kernels/core/status_macros.h"
#include "server/request_validation.h"

namespace msa::server {
namespace {

absl::Status WrongPart(const std::string& field, const std::string& message) {
  return InvalidField(field, "INVALID_SEQUENCE", message);
}

bool IsInvalidUtf8(const absl::Status& parsed) {
  return kernels::DetailOf(parsed).reason == "INVALID_UTF8";
}

}  // namespace

absl::Status DocumentAssembly::CheckPlace(const v1::IngestPart& part) const {
  if (has_begun_ && part.sequence() != sequence()) {
    return WrongPart("part.sequence",
                     absl::StrCat("part.sequence is ", part.sequence(), " within document ",
                                  sequence(), "; the parts of a document follow each other"));
  }
  if (part.offset() != text_bytes_) {
    return WrongPart("part.offset",
                     absl::StrCat("part.offset is ", part.offset(), " in document ",
                                  part.sequence(), "; the next part starts at ", text_bytes_));
  }
  const bool has_other_id = has_begun_ && refusal_.ok() && !part.document_id().empty() &&
                            part.document_id() != document_id();
  if (has_other_id) {
    return WrongPart("part.document_id",
                     absl::StrCat("part.document_id is \"", part.document_id(),
                                  "\" within document \"", document_id(), "\""));
  }
  if (has_begun_ && !part.metadata().empty()) {
    return WrongPart("part.metadata",
                     absl::StrCat("part.metadata is set in a later part of document ", sequence(),
                                  "; it belongs into the first"));
  }
  return absl::OkStatus();
}

absl::Status DocumentAssembly::Add(v1::IngestPart part, const absl::Status& parsed) {
  if (!parsed.ok() && !IsInvalidUtf8(parsed)) return parsed;
  MSA_RETURN_IF_ERROR(CheckPlace(part));
  if (!has_begun_) {
    document_.set_sequence(part.sequence());
    document_.set_document_id(std::move(*part.mutable_document_id()));
    *document_.mutable_metadata() = std::move(*part.mutable_metadata());
    has_begun_ = true;
  }
  if (refusal_.ok()) refusal_ = parsed;
  text_bytes_ += static_cast<int64_t>(part.text().size());
  if (text_bytes_ <= max_text_bytes_ && refusal_.ok()) {
    document_.mutable_text()->append(part.text());
  } else {
    std::string().swap(*document_.mutable_text());  // gives its memory back
  }
  is_complete_ = part.last();
  return absl::OkStatus();
}

absl::StatusOr<v1::IngestDocument> DocumentAssembly::Take() {
  MSA_RETURN_IF_ERROR(refusal_);
  if (text_bytes_ > max_text_bytes_) {
    return InvalidField("document.text", "DOCUMENT_TOO_LARGE",
                        absl::StrCat("the parts of the document have ", text_bytes_,
                                     " bytes together; allowed are ", max_text_bytes_),
                        {{"limit", absl::StrCat(max_text_bytes_)},
                         {"actual", absl::StrCat(text_bytes_)},
                         {"unit", "bytes"}});
  }
  const size_t invalid = engine::FindInvalidUtf8(document_.text());
  if (invalid != std::string::npos) {
    return InvalidField("document.text", "INVALID_UTF8",
                        absl::StrCat("the parts of the document are not UTF-8 at byte ", invalid));
  }
  return std::move(document_);
}

}  // namespace msa::server
