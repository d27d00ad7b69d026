#include "cli/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>

#include "cli/command_line.h"

namespace sluice {
namespace {

std::atomic<bool> g_interrupted = false;
std::atomic<const char*> g_terminal_reset = nullptr;

void on_interrupt(int) {
  if (!g_interrupted.exchange(true)) return;
  if (const char* reset = g_terminal_reset)
    if (write(STDOUT_FILENO, reset, std::strlen(reset)) < 0) _exit(kExitInterrupted);
  _exit(kExitInterrupted);
}

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);  // no SA_RESTART: a blocked read returns
}

bool interrupted() noexcept { return g_interrupted; }

void rearm_interrupts() { g_interrupted = false; }

void set_terminal_reset(const char* escape_sequence) noexcept { g_terminal_reset = escape_sequence; }

void ignore_broken_pipes() { std::signal(SIGPIPE, SIG_IGN); }

}  // namespace sluice
