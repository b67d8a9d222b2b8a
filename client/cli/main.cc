#include <unistd.h>

#include <csignal>
#include <ctime>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "client/cli/command_context.h"
#include "client/cli/msactl.h"

namespace {

using msa::client::CommandContext;
using msa::client::kExitInterrupted;

// After Ctrl-C the command ends what runs and says how far it came. One that does not come to an
// end, as one that waits for input, is ended here, at once by a second Ctrl-C.
void HandleInterrupts(CommandContext* context, sigset_t signals) {
  int signal = 0;
  sigwait(&signals, &signal);
  context->Interrupt();
  const timespec patience = {.tv_sec = 2, .tv_nsec = 0};
  sigtimedwait(&signals, nullptr, &patience);
  _exit(kExitInterrupted);
}

}  // namespace

int main(int argc, char** argv) {
  // A pipe that closes early, as of `head`, ends the program silently as it does others.
  std::signal(SIGPIPE, SIG_DFL);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // inherited by all threads

  msa::client::Terminal terminal;
  terminal.in = &std::cin;
  terminal.out = &std::cout;
  terminal.err = &std::cerr;
  terminal.in_is_tty = isatty(STDIN_FILENO) != 0;
  terminal.err_is_tty = isatty(STDERR_FILENO) != 0;
  std::ios::sync_with_stdio(false);
  CommandContext context(terminal);
  std::thread(HandleInterrupts, &context, signals).detach();

  const int exit_code =
      msa::client::RunMsactl(std::vector<std::string>(argv + 1, argv + argc), &context);
  std::cout.flush();
  std::cerr.flush();
  // The signal thread may use the context until the very end.
  _exit(exit_code);
}
