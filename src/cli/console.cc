#include "cli/console.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/environment.h"
#include "base/error.h"
#include "base/units.h"
#include "platform/clock.h"

namespace sluice {
namespace {

// 0, or the errno of a write that failed for good.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n >= 0) {
      text.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {  // somebody made the pipe non-blocking
      pollfd ready = {fd, POLLOUT, 0};
      poll(&ready, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

bool has_colour(int fd) {
  if (!isatty(fd) || read_environment(Variable::kNoColor)) return false;
  return read_environment(Variable::kTerm).value_or("dumb") != "dumb";
}

winsize terminal_size() {
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0) size = {};
  return size;
}

}  // namespace

void write_stdout(std::string_view text) {
  const int error = write_all(STDOUT_FILENO, text);
  if (error == EPIPE) throw OutputClosed();
  if (error != 0) throw_errno(error, "cannot write to", "standard output");
}

void write_stderr(std::string_view text) { write_all(STDERR_FILENO, text); }

void print_error(const std::string& message) { write_stderr("sluice: " + message + "\n"); }
void print_warning(const std::string& message) { write_stderr("sluice: note: " + message + "\n"); }

bool stdin_is_terminal() { return isatty(STDIN_FILENO); }
bool stdout_is_terminal() { return isatty(STDOUT_FILENO); }
bool stderr_is_terminal() { return isatty(STDERR_FILENO); }
bool stdout_has_colour() { return has_colour(STDOUT_FILENO); }
bool stderr_has_colour() { return has_colour(STDERR_FILENO); }

int terminal_width() {
  if (const int columns = terminal_size().ws_col) return columns;
  const int columns = std::atoi(read_environment(Variable::kColumns).value_or("").c_str());
  return columns > 0 ? columns : 80;
}

int terminal_height() {
  const int rows = terminal_size().ws_row;
  return rows > 0 ? rows : 24;
}

std::string read_stdin(uint64_t max_bytes) {
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    if (n == 0) return text;
    if (n < 0 && errno == EINTR) throw_error(ErrorKind::kCancelled, "interrupted");
    if (n < 0) throw_errno(errno, "cannot read", "standard input");
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > max_bytes)
      throw_error(ErrorKind::kInvalid, "standard input is longer than %s", format_bytes(max_bytes).c_str());
  }
}

ProgressBar::ProgressBar(std::string label, const char* unit)
    : label_(std::move(label)), unit_(unit), start_(monotonic_seconds()) {}

std::string ProgressBar::amount(uint64_t n) const {
  return unit_ ? std::to_string(n) + " " + unit_ : format_bytes(n);
}

ProgressBar::~ProgressBar() {
  if (drawn_ && stderr_is_terminal()) write_stderr("\r\x1b[K");
}

void ProgressBar::update(uint64_t done, uint64_t total) {
  if (total == 0 || done == 0) return;
  const double now = monotonic_seconds();
  const double elapsed = now - start_;
  const double part = static_cast<double>(done) / static_cast<double>(total);
  const bool terminal = stderr_is_terminal();
  if (!drawn_ && (elapsed < 0.3 || elapsed < 2 * part)) return;  // on the way to less than two seconds
  if (drawn_ && now - last_ < (terminal ? 0.1 : 5.0)) return;
  drawn_ = true;
  last_ = now;
  const double rate = static_cast<double>(done) / std::max(elapsed, 1e-9);
  std::string numbers = amount(done) + "/" + amount(total);
  if (!unit_) numbers += "  " + format_bytes(static_cast<uint64_t>(rate)) + "/s";
  numbers += "  " + format_seconds(static_cast<double>(total - done) / std::max(rate, 1e-9)) + " left";
  if (!terminal) {
    write_stderr(format_string("%s: %.0f %%  %s\n", label_.c_str(), 100 * part, numbers.c_str()));
    return;
  }
  const int room = terminal_width() - static_cast<int>(label_.size() + numbers.size()) - 14;
  const int width = std::clamp(room, 0, 40);
  const int filled = static_cast<int>(part * width);
  std::string bar;
  for (int i = 0; i < width; ++i) bar += i < filled ? "█" : " ";
  write_stderr(
      format_string("\r\x1b[K%s: %3.0f%% ▕%s▏ %s", label_.c_str(), 100 * part, bar.c_str(), numbers.c_str()));
}

}  // namespace sluice
