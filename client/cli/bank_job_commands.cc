#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/commands.h"
#include "client/cli/message_json.h"
#include "client/cli/number_format.h"
#include "client/cli/progress_bar.h"
#include "client/cli/table.h"

namespace msa::client {
namespace {

// Shows how far a job has come, and clears it away before the result.
class JobProgress {
 public:
  explicit JobProgress(CommandContext* context)
      : bar_(&context->err(), context->shows_progress()) {}

  Client::OnProgress callback() {
    return [this](const v1::JobProgress& progress) { bar_.Update(progress); };
  }
  void Clear() { bar_.Clear(); }

 private:
  ProgressBar bar_;
};

ExitCode CompactBank(CommandContext* context) {
  JobProgress progress(context);
  const auto result = context->client().CompactBank(context->options.bank, progress.callback());
  progress.Clear();
  if (!result.ok()) return context->Report(result.status());
  if (context->json()) {
    context->PrintJson(MessageToJson(*result));
    return kExitOk;
  }
  context->Remark(absl::StrCat("Dropped ",
                               FormatNoun(result->dropped_documents(), "document", "documents"),
                               ", ", FormatBytes(result->freed_bytes()), "; ",
                               FormatNoun(result->segments(), "segment", "segments"), " now."));
  if (result->pinned_documents() > 0) {
    context->Remark(absl::StrCat(
        FormatNoun(result->pinned_documents(), "deleted document", "deleted documents"),
        " still seen by running queries; compact again later."));
  }
  return kExitOk;
}

ExitCode VerifyBank(CommandContext* context) {
  JobProgress progress(context);
  const auto on_damage = [&](const v1::Damage& damage) {
    progress.Clear();
    if (context->json()) {
      context->PrintJson({{"damage", MessageToJson(damage)}});
      return;
    }
    context->out() << damage.file() << ": "
                   << (damage.document_id().empty()
                           ? std::string()
                           : absl::StrCat("document ", damage.document_id(), ": "))
                   << damage.message() << std::endl;
  };
  const auto result =
      context->client().VerifyBank(context->options.bank, on_damage, progress.callback());
  progress.Clear();
  if (!result.ok()) return context->Report(result.status());
  if (context->json()) {
    context->PrintJson({{"result", MessageToJson(*result)}});
  } else {
    context->Remark(
        absl::StrCat("Checked ", FormatNoun(result->documents(), "document", "documents"), " in ",
                     FormatNoun(result->segments(), "segment", "segments"), ", ",
                     FormatBytes(result->checked_bytes()), ": ",
                     result->damages() == 0
                         ? std::string("no damage")
                         : FormatNoun(result->damages(), "place is damaged", "places are damaged"),
                     "."));
  }
  return result->damages() == 0 ? kExitOk : kExitFailed;
}

std::string DescribeBackup(const v1::Backup& backup) {
  return absl::StrCat(FormatNoun(backup.documents(), "document", "documents"), ", ",
                      FormatBytes(backup.bytes()), ", revision ", backup.revision());
}

// Leaves room for the date in a backup's name, which has at most 64 characters.
constexpr size_t kMaxBankBytesInBackupName = 48;

ExitCode BackupBank(const std::string& given_name, CommandContext* context) {
  const std::string name =
      given_name.empty()
          ? absl::StrCat(context->options.bank.substr(0, kMaxBankBytesInBackupName),
                         absl::FormatTime("-%Y%m%d-%H%M%S", absl::Now(), absl::UTCTimeZone()))
          : given_name;
  JobProgress progress(context);
  const auto backup =
      context->client().BackupBank(context->options.bank, name, progress.callback());
  progress.Clear();
  if (!backup.ok()) return context->Report(backup.status());
  if (context->json()) {
    context->PrintJson(MessageToJson(*backup));
    return kExitOk;
  }
  context->out() << backup->name() << std::endl;
  context->Remark(absl::StrCat("Backed up ", DescribeBackup(*backup), "."));
  return kExitOk;
}

ExitCode RestoreBank(const std::string& backup, const std::string& bank_name,
                     CommandContext* context) {
  JobProgress progress(context);
  const auto bank = context->client().RestoreBank(backup, bank_name, progress.callback());
  progress.Clear();
  if (!bank.ok()) return context->Report(bank.status());
  PrintBank(*bank, context);
  return kExitOk;
}

ExitCode ReencodeBank(CommandContext* context) {
  JobProgress progress(context);
  const auto bank = context->client().ReencodeBank(context->options.bank, progress.callback());
  progress.Clear();
  if (!bank.ok()) return context->Report(bank.status());
  PrintBank(*bank, context);
  const auto stats = context->client().GetBankStats(context->options.bank);
  if (stats.ok() && stats->failed_documents() > 0) {
    context->Remark(absl::StrCat(FormatNoun(stats->failed_documents(), "document", "documents"),
                                 " could not be encoded: doc list shows them as failed."));
  }
  return kExitOk;
}

ExitCode ListBackups(CommandContext* context) {
  const auto backups = context->client().ListBackups();
  if (!backups.ok()) return context->Report(backups.status());
  using Align = Table::Align;
  Table table({{"backup"},
               {"bank"},
               {"created"},
               {"documents", Align::kRight},
               {"size", Align::kRight},
               {"revision", Align::kRight}});
  for (const v1::Backup& backup : *backups) {
    if (context->json()) context->PrintJson(MessageToJson(backup));
    if (!backup.problem().empty()) {
      table.AddRow({backup.name(), "damaged", "-", "-", "-", "-"});
      if (!context->json()) context->Remark(absl::StrCat(backup.name(), ": ", backup.problem()));
      continue;
    }
    table.AddRow({backup.name(), backup.bank(), FormatDate(backup.create_time()),
                  FormatCount(backup.documents()), FormatBytes(backup.bytes()),
                  absl::StrCat(backup.revision())});
  }
  if (!context->json()) table.Print(context->out());
  return kExitOk;
}

ExitCode DeleteBackup(const std::string& backup, CommandContext* context) {
  const absl::Status status = context->client().DeleteBackup(backup);
  if (!status.ok()) return context->Report(status);
  if (context->json()) {
    context->PrintJson({{"deleted", backup}});
  } else {
    context->Remark(absl::StrCat("Deleted backup ", backup, "."));
  }
  return kExitOk;
}

void AddBackupCommands(CLI::App* bank, CommandContext* context) {
  CLI::App* backup = AddBankVerb(
      bank, "backup", "copy a bank as it is now below the server's --backup-dir; prints the name");
  auto name = std::make_shared<std::string>();
  backup
      ->add_option(
          "--name", *name,
          "of the backup (default BANK-YYYYMMDD-HHMMSS, in UTC; of BANK at most 48 characters)")
      ->type_name("BACKUP");
  SetCommand(backup, context, /*needs_bank=*/true, [=] { return BackupBank(*name, context); });

  CLI::App* restore = bank->add_subcommand("restore", "make a bank from a backup");
  auto from = std::make_shared<std::string>();
  auto as = std::make_shared<std::string>();
  restore->add_option("BACKUP", *from, "the backup")->required()->type_name("");
  restore->add_option("--as", *as, "the bank to make (default: the one that was backed up)")
      ->type_name("BANK");
  SetCommand(restore, context, /*needs_bank=*/false,
             [=] { return RestoreBank(*from, *as, context); });

  CLI::App* list = bank->add_subcommand("backups", "all backups");
  SetCommand(list, context, /*needs_bank=*/false, [=] { return ListBackups(context); });

  CLI::App* remove = bank->add_subcommand("delete-backup", "delete a backup");
  auto removed = std::make_shared<std::string>();
  remove->add_option("BACKUP", *removed, "the backup")->required()->type_name("");
  SetCommand(remove, context, /*needs_bank=*/false,
             [=] { return DeleteBackup(*removed, context); });
}

}  // namespace

void AddBankJobCommands(CLI::App* bank, CommandContext* context) {
  CLI::App* compact =
      AddBankVerb(bank, "compact", "drop what was deleted from memory and disk, and wait for it");
  SetCommand(compact, context, /*needs_bank=*/true, [=] { return CompactBank(context); });

  CLI::App* verify = AddBankVerb(
      bank, "verify", "read and check everything that is stored; exit code 1 if some is damaged");
  SetCommand(verify, context, /*needs_bank=*/true, [=] { return VerifyBank(context); });

  AddBackupCommands(bank, context);

  CLI::App* reencode = AddBankVerb(
      bank, "reencode",
      "encode a bank again from its texts, for the model and dtype that the server runs");
  SetCommand(reencode, context, /*needs_bank=*/true, [=] { return ReencodeBank(context); });
}

}  // namespace msa::client
