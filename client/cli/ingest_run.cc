#include "client/cli/ingest_run.h"

#include <atomic>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/document_message.h"
#include "client/cli/number_format.h"
#include "client/cli/progress_bar.h"
#include "client/cli/rejects.h"
#include "client/cpp/error_details.h"
#include "client/cpp/ingest_stream.h"

namespace msa::client {
namespace {

// One ingest command: reads and sends on its own thread, hears of results on the stream's.
class IngestRun {
 public:
  IngestRun(const IngestRunOptions& options, DocumentReader* reader, CommandContext* context)
      : options_(options),
        reader_(reader),
        context_(context),
        bar_(&context->err(), context->shows_progress()),
        rejects_(context, &bar_) {}

  ExitCode Run() {
    if (!options_.rejects_path.empty()) {
      const absl::Status opened =
          rejects_.OpenFile(options_.rejects_path, /*append=*/!options_.session.empty());
      if (!opened.ok()) return context_->Report(opened);
    }
    IngestOptions stream_options;
    stream_options.bank = context_->options.bank;
    stream_options.mode = options_.mode;
    stream_options.acknowledge_at = options_.acknowledge_at;
    if (!options_.session.empty())
      stream_options.session_id = absl::StrCat(options_.session, reader_->Fingerprint());
    stream_options.progress_timeout = context_->timeout();
    const absl::Time start = absl::Now();
    IngestStream stream(
        &context_->client(), stream_options,
        [this](int64_t index, const v1::IngestResult& result) { OnResult(index, result); });
    absl::Status status = Resume(&stream);
    if (status.ok()) status = SendAll(&stream);
    const absl::Status finished = stream.Finish();
    if (status.ok()) status = finished;
    bar_.Clear();
    const absl::Status closed = rejects_.Close();
    if (status.ok()) status = closed;
    PrintSummary(stream.totals(), absl::Now() - start);
    if (context_->interrupted()) return kExitInterrupted;
    if (!status.ok()) return context_->Report(status);
    if (rejects_.count() == 0) return kExitOk;
    return stream.totals().stored + stream.totals().deduplicated > 0 ? kExitPartial : kExitFailed;
  }

 private:
  absl::Status Resume(IngestStream* stream) {
    if (options_.session.empty()) return absl::OkStatus();
    const absl::StatusOr<int64_t> resume_after = stream->ResumeAfter();
    if (!resume_after.ok()) return resume_after.status();
    num_before_ = *resume_after;
    return absl::OkStatus();
  }

  // The error of the input or of the stream, not of a single document.
  absl::Status SendAll(IngestStream* stream) {
    while (!context_->interrupted() && !(options_.stop_on_error && rejects_.count() > 0)) {
      absl::StatusOr<std::optional<DocumentReader::Item>> item = reader_->Next();
      if (!item.ok()) return item.status();
      if (!item->has_value()) return absl::OkStatus();
      if (reader_->num_bytes() > 0) {
        fraction_read_ = static_cast<double>(reader_->num_bytes_read()) /
                         static_cast<double>(reader_->num_bytes());
      }
      if (!(*item)->document.ok()) {
        rejects_.AddLine((*item)->line, (*item)->where, (*item)->document.status());
        continue;
      }
      const absl::Status status = SendDocument(*std::move((*item)->document), stream);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status SendDocument(SourceDocument document, IngestStream* stream) {
    std::vector<SourceDocument> pieces;
    if (options_.split_tokens > 0) {
      const SourceDocument whole = document;
      absl::StatusOr<std::vector<SourceDocument>> split =
          SplitDocument(std::move(document), options_.split_tokens, ServerTokenCounter(context_));
      if (!split.ok() && split.status().code() != absl::StatusCode::kInvalidArgument)
        return split.status();
      if (!split.ok()) {
        rejects_.Add(whole, split.status());
        return absl::OkStatus();
      }
      pieces = *std::move(split);
    } else {
      pieces.push_back(std::move(document));
    }
    for (SourceDocument& piece : pieces) {
      if (num_passed_over_ < num_before_) {
        ++num_passed_over_;
        continue;
      }
      v1::IngestDocument message = ToMessage(piece);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        sent_.emplace(num_sent_++, std::move(piece));
      }
      const absl::Status status = stream->Add(std::move(message));
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  void OnResult(int64_t index, const v1::IngestResult& result) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto found = sent_.find(index);
    const SourceDocument document = std::move(found->second);
    sent_.erase(found);
    const int64_t num_results = ++num_results_;
    lock.unlock();
    if (result.has_error()) rejects_.Add(document, ToAbslStatus(result.error()));
    bar_.Update(num_results, fraction_read_);
  }

  void PrintSummary(const IngestTotals& totals, absl::Duration elapsed) {
    // What never reached the stream, as lines that are no documents, was refused here.
    const int64_t rejected = rejects_.count();
    const int64_t documents = totals.stored + totals.deduplicated + totals.unknown + rejected;
    const double seconds = absl::ToDoubleSeconds(elapsed);
    const double rate = seconds > 0 ? static_cast<double>(documents) / seconds : 0;
    if (context_->json()) {
      nlohmann::ordered_json summary{
          {"documents", documents},           {"stored", totals.stored},
          {"unchanged", totals.deduplicated}, {"rejected", rejected},
          {"unknown", totals.unknown},        {"tokens", totals.tokens},
          {"elapsed_seconds", seconds},       {"documents_per_second", rate}};
      if (!options_.session.empty()) summary["passed_over"] = num_passed_over_;
      context_->PrintJson(summary);
      return;
    }
    if (context_->options.quiet) return;
    context_->out() << FormatNoun(documents, "document", "documents") << ": "
                    << FormatCount(totals.stored) << " stored, " << FormatCount(totals.deduplicated)
                    << " unchanged, " << FormatCount(rejected) << " rejected";
    if (totals.unknown > 0)
      context_->out() << ", " << FormatCount(totals.unknown) << " without a result";
    if (num_passed_over_ > 0)
      context_->out() << ", " << FormatCount(num_passed_over_) << " passed over";
    context_->out() << "; " << FormatNoun(totals.tokens, "token", "tokens") << " in "
                    << FormatSeconds(elapsed) << " (" << FormatCount(static_cast<int64_t>(rate))
                    << " documents/s)" << std::endl;
  }

  const IngestRunOptions& options_;
  DocumentReader* const reader_;
  CommandContext* const context_;
  ProgressBar bar_;
  Rejects rejects_;
  int64_t num_before_ = 0;  // documents of the session that have had their results
  int64_t num_passed_over_ = 0;
  std::atomic<double> fraction_read_ = -1;  // negative: not known
  std::mutex mutex_;
  std::map<int64_t, SourceDocument>
      sent_;              // without a result yet, by their place in the stream; guarded by mutex_
  int64_t num_sent_ = 0;  // guarded by mutex_
  int64_t num_results_ = 0;  // guarded by mutex_
};

}  // namespace

TokenCounter ServerTokenCounter(CommandContext* context) {
  return [context](const std::string& text) -> absl::StatusOr<int64_t> {
    const absl::StatusOr<v1::CountTokensResponse> count = context->client().CountTokens(text);
    if (!count.ok()) return count.status();
    return count->tokens();
  };
}

ExitCode RunIngest(const IngestRunOptions& options, DocumentReader* reader,
                   CommandContext* context) {
  return IngestRun(options, reader, context).Run();
}

}  // namespace msa::client
