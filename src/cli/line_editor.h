// Reads a line from a terminal in raw mode: editing, wide characters, pastes of several lines, history.
#pragma once

#include <termios.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/edit_buffer.h"

namespace sluice {

// Lines of before, kept in a file (one line each, line breaks and backslashes escaped). A file that cannot be
// read or written is no reason to stop talking: history is then of this session only.
class History {
 public:
  explicit History(std::string path);

  void add(const std::string& line);  // unless empty or equal to the last one
  const std::vector<std::string>& lines() const noexcept { return lines_; }

 private:
  std::string path_;
  std::vector<std::string> lines_;
};

// While it lives, what is typed is not shown but kept for the next line; Ctrl-C is a signal as always. For a
// terminal on standard input, nothing elsewhere.
class QuietInput {
 public:
  QuietInput();
  ~QuietInput();
  QuietInput(const QuietInput&) = delete;
  QuietInput& operator=(const QuietInput&) = delete;

 private:
  std::optional<termios> before_;
};

class LineEditor {
 public:
  enum class Result { kLine, kInterrupted, kEnd };

  explicit LineEditor(std::string history_path) : history_(std::move(history_path)) {}

  // `prompt` is printed first, with `continuation` before further lines of a paste; both without escape
  // sequences. Ctrl-C gives kInterrupted, Ctrl-D on an empty line kEnd.
  Result read(std::string_view prompt, std::string_view continuation, std::string& line);

  // What was sent, for the arrow keys of later.
  void remember(const std::string& line) { history_.add(line); }

 private:
  void draw(bool whole = false);
  void recall(int direction);

  History history_;
  EditBuffer buffer_;
  std::string_view prompt_, continuation_;
  size_t recalled_ = 0;    // index into the history; its size for the new line
  std::string new_line_;   // while older ones are looked at
  size_t first_row_ = 0;   // of the layout, the first one on the screen
  size_t cursor_row_ = 0;  // of the terminal cursor, from the first row drawn
};

}  // namespace sluice
