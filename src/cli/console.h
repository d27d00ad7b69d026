// Writing to people and to pipes: whole writes, one-line errors, progress that shows itself only when it
// takes long. The only file that knows about terminals besides the line editor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice {

// Whoever read our standard output has gone.
struct OutputClosed {};

// All of it, unbuffered. Throws OutputClosed, or Error(kIo) for other failures (a full disk).
void write_stdout(std::string_view text);

// To standard error; failures are ignored.
void write_stderr(std::string_view text);

void print_error(const std::string& message);    // "sluice: message"
void print_warning(const std::string& message);  // "sluice: note: message"

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

// A terminal that takes escape sequences, and nobody set NO_COLOR.
bool stdout_has_colour();
bool stderr_has_colour();

// Of the terminal on standard output or error; $COLUMNS, then 80, where it cannot be asked.
int terminal_width();
int terminal_height();

// All of standard input. Error(kInvalid) above `max_bytes`.
std::string read_stdin(uint64_t max_bytes = uint64_t{256} << 20);

// A bar on standard error for work that will take over two seconds; plain lines, seldom, where it is not a
// terminal.
class ProgressBar {
 public:
  // Counts bytes, or `unit` ("tokens").
  explicit ProgressBar(std::string label, const char* unit = nullptr);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(uint64_t done, uint64_t total);

 private:
  std::string amount(uint64_t n) const;

  std::string label_;
  const char* unit_;
  double start_;
  double last_ = 0;  // when something was drawn
  bool drawn_ = false;
};

}  // namespace sluice
