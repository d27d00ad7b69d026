#include "cli/line_editor.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "cli/console.h"
#include "cli/keys.h"

namespace sluice {
namespace {

constexpr size_t kMaxHistory = 1000;

std::string escape_line(const std::string& line) {
  std::string out;
  for (const char c : line) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\') {
      out += "\\\\";
    } else {
      out += c;
    }
  }
  return out;
}

std::string unescape_line(const std::string& line) {
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size()) {
      ++i;
      out += line[i] == 'n' ? '\n' : line[i];
    } else {
      out += line[i];
    }
  }
  return out;
}

// Raw mode with bracketed paste, for as long as it lives.
class RawMode {
 public:
  RawMode() {
    tcgetattr(STDIN_FILENO, &before_);
    termios raw = before_;
    raw.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
    raw.c_cflag |= CS8;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    write_stdout("\x1b[?2004h");
  }
  ~RawMode() {
    try {
      write_stdout("\x1b[?2004l");
    } catch (...) {  // the terminal is gone; its settings no longer matter
    }
    tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;

 private:
  termios before_ = {};
};

int next_byte(bool patient) {
  pollfd ready = {STDIN_FILENO, POLLIN, 0};
  if (!patient && poll(&ready, 1, 50) <= 0) return -1;
  unsigned char byte = 0;
  for (;;) {
    const ssize_t n = read(STDIN_FILENO, &byte, 1);
    if (n == 1) return byte;
    if (n < 0 && errno == EINTR) continue;
    return -1;
  }
}

std::string move_up(size_t rows) { return rows > 0 ? "\x1b[" + std::to_string(rows) + "A" : ""; }
std::string move_right(int columns) { return columns > 0 ? "\x1b[" + std::to_string(columns) + "C" : ""; }

}  // namespace

History::History(std::string path) : path_(std::move(path)) {
  std::ifstream file(path_);
  for (std::string line; std::getline(file, line);) lines_.push_back(unescape_line(line));
  if (lines_.size() <= kMaxHistory) return;
  lines_.erase(lines_.begin(), lines_.end() - static_cast<ptrdiff_t>(kMaxHistory));
  file.close();
  std::ofstream shorter(path_, std::ios::trunc);
  for (const std::string& line : lines_) shorter << escape_line(line) << '\n';
}

void History::add(const std::string& line) {
  if (line.empty() || (!lines_.empty() && lines_.back() == line)) return;
  lines_.push_back(line);
  if (path_.empty()) return;
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), ignored);
  const bool is_new = !std::filesystem::exists(path_, ignored);
  std::ofstream(path_, std::ios::app) << escape_line(line) << '\n';
  if (is_new)  // what one says is one's own
    std::filesystem::permissions(
        path_, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write, ignored);
}

QuietInput::QuietInput() {
  termios quiet = {};
  if (tcgetattr(STDIN_FILENO, &quiet) != 0) return;
  before_ = quiet;
  quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
  quiet.c_cc[VSUSP] = _POSIX_VDISABLE;  // as at the prompt
  tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet);
}

QuietInput::~QuietInput() {
  if (before_) tcsetattr(STDIN_FILENO, TCSADRAIN, &*before_);
}

// Prints prompt and text anew over what was drawn before and leaves the cursor where it belongs. What is
// taller than the screen shows the part around the cursor; `whole`, for what stays, shows it all.
void LineEditor::draw(bool whole) {
  const ScreenLayout layout =
      lay_out(buffer_.text(), buffer_.cursor(), prompt_, continuation_, terminal_width());
  const size_t height = whole ? layout.rows.size() : static_cast<size_t>(terminal_height());
  const size_t cursor = layout.cursor_row;
  const size_t n_above = layout.rows.size() - std::min(height, layout.rows.size());
  first_row_ = std::min(std::clamp(first_row_, cursor - std::min(cursor, height - 1), cursor), n_above);
  const size_t end = std::min(first_row_ + height, layout.rows.size());
  std::string out = move_up(cursor_row_) + "\r\x1b[J";
  for (size_t row = first_row_; row < end; ++row) out += (row == first_row_ ? "" : "\r\n") + layout.rows[row];
  out += move_up(end - 1 - cursor) + "\r" + move_right(layout.cursor_column);
  cursor_row_ = cursor - first_row_;
  write_stdout(out);
}

void LineEditor::recall(int direction) {
  const std::vector<std::string>& lines = history_.lines();
  if (direction < 0 ? recalled_ == 0 : recalled_ == lines.size()) return;
  if (recalled_ == lines.size()) new_line_ = buffer_.text();
  recalled_ = direction < 0 ? recalled_ - 1 : recalled_ + 1;
  buffer_.set(recalled_ == lines.size() ? new_line_ : lines[recalled_]);
}

LineEditor::Result LineEditor::read(std::string_view prompt, std::string_view continuation,
                                    std::string& line) {
  const RawMode raw;
  prompt_ = prompt;
  continuation_ = continuation;
  buffer_.set("");
  recalled_ = history_.lines().size();
  first_row_ = cursor_row_ = 0;
  for (;;) {
    draw();
    const Key key = read_key(next_byte);
    switch (key.kind) {
      case KeyKind::kText:
        buffer_.insert(key.text);
        break;
      case KeyKind::kEnter:
        buffer_.set(buffer_.text());  // the cursor to the end, so that what follows goes below
        draw(/*whole=*/true);
        write_stdout("\r\n");
        line = buffer_.text();
        return Result::kLine;
      case KeyKind::kInterrupt:
        buffer_.set(buffer_.text());
        draw(/*whole=*/true);
        write_stdout("^C\r\n");
        return Result::kInterrupted;
      case KeyKind::kEndOfInput:
        if (buffer_.text().empty()) {
          write_stdout("\r\n");
          return Result::kEnd;
        }
        buffer_.erase();
        break;
      case KeyKind::kBackspace:
        buffer_.backspace();
        break;
      case KeyKind::kDelete:
        buffer_.erase();
        break;
      case KeyKind::kLeft:
        buffer_.left();
        break;
      case KeyKind::kRight:
        buffer_.right();
        break;
      case KeyKind::kUp:
        recall(-1);
        break;
      case KeyKind::kDown:
        recall(+1);
        break;
      case KeyKind::kWordLeft:
        buffer_.word_left();
        break;
      case KeyKind::kWordRight:
        buffer_.word_right();
        break;
      case KeyKind::kHome:
        buffer_.home();
        break;
      case KeyKind::kEnd:
        buffer_.end();
        break;
      case KeyKind::kKillToEnd:
        buffer_.kill_to_end();
        break;
      case KeyKind::kKillToStart:
        buffer_.kill_to_start();
        break;
      case KeyKind::kKillWord:
        buffer_.kill_word();
        break;
      case KeyKind::kClearScreen:
        write_stdout("\x1b[H\x1b[2J");
        cursor_row_ = 0;
        break;
      case KeyKind::kOther:
        break;
    }
  }
}

}  // namespace sluice
