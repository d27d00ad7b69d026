#include "cli/interrupt.h"

#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>

#include "cli/command_line.h"

namespace sluice {
namespace {

std::atomic<bool> g_interrupted = false;
std::atomic<const char*> g_terminal_reset = nullptr;
std::atomic<bool> g_has_settings = false;
termios g_settings = {};  // of the terminal, before anybody changed them

void on_interrupt(int) {
  if (!g_interrupted.exchange(true)) return;
  if (g_has_settings) tcsetattr(STDIN_FILENO, TCSANOW, &g_settings);
  if (const char* reset = g_terminal_reset)
    if (write(STDOUT_FILENO, reset, std::strlen(reset)) < 0) _exit(kExitInterrupted);
  _exit(kExitInterrupted);
}

// Dies of it, but not before the terminal is as it was.
void on_end(int signal) {
  if (g_has_settings) tcsetattr(STDIN_FILENO, TCSANOW, &g_settings);
  if (const char* reset = g_terminal_reset)
    if (write(STDOUT_FILENO, reset, std::strlen(reset)) < 0) _exit(128 + signal);
  raise(signal);
}

}  // namespace

void catch_interrupts() {
  g_has_settings = tcgetattr(STDIN_FILENO, &g_settings) == 0;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);  // no SA_RESTART: a blocked read returns
  action.sa_handler = on_end;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);  // nohup stays in force
  }
}

bool interrupted() noexcept { return g_interrupted; }

void rearm_interrupts() { g_interrupted = false; }

void set_terminal_reset(const char* escape_sequence) noexcept { g_terminal_reset = escape_sequence; }

void ignore_broken_pipes() { std::signal(SIGPIPE, SIG_IGN); }

}  // namespace sluice
