#include "cli/status_line.h"

#include <algorithm>

#include "base/error.h"
#include "cli/console.h"
#include "cli/edit_buffer.h"
#include "cli/interrupt.h"
#include "platform/clock.h"

namespace sluice {
namespace {

constexpr int kMinRows = 4;
constexpr double kSecondsBetween = 0.2;

// Clears the bottom line and lets the whole screen scroll again; the cursor stays.
constexpr const char* kReset =
    "\x1b"
    "7\x1b[999;1H\x1b[2K\x1b[r\x1b"
    "8";

}  // namespace

StatusLine::StatusLine() {
  if (!stdout_has_colour() || terminal_height() < kMinRows) return;
  rows_ = terminal_height();
  reserve();
  set_terminal_reset(kReset);
}

// Makes room below the cursor, then keeps the bottom row out of what scrolls.
void StatusLine::reserve() {
  write_stdout(
      format_string("\x1b"
                    "7\x1b[r\x1b"
                    "8\x1b"
                    "D\x1b[A\x1b"
                    "7\x1b[1;%dr\x1b"
                    "8",
                    rows_ - 1));
}

StatusLine::~StatusLine() {
  if (!enabled()) return;
  set_terminal_reset(nullptr);
  try {
    write_stdout(kReset);
  } catch (...) {  // the terminal has gone: nothing to put back
  }
}

bool StatusLine::due() const { return enabled() && monotonic_seconds() - last_ >= kSecondsBetween; }

void StatusLine::show(const std::string& text) {
  if (!enabled()) return;
  last_ = monotonic_seconds();
  if (const int rows = std::max(terminal_height(), kMinRows);
      rows != rows_) {  // somebody pulled at the window
    rows_ = rows;
    reserve();
  }
  const int width = terminal_width() - 1;
  std::string cut = text;
  while (display_width(cut) > width) cut.resize(previous_character(cut, cut.size()));
  write_stdout(
      format_string("\x1b"
                    "7\x1b[%d;1H\x1b[2K\x1b[2m%s\x1b[0m\x1b"
                    "8",
                    rows_, cut.c_str()));
}

}  // namespace sluice
