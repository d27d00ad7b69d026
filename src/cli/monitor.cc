#include "cli/monitor.h"

#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <utility>

#include "base/environment.h"
#include "base/error.h"
#include "cli/console.h"
#include "cli/interrupt.h"

namespace sluice {
namespace {

constexpr auto kBetweenFrames = std::chrono::milliseconds(110);
constexpr uint64_t kWindow = 48;  // passes, of which layers show what happened: once to twice as many
constexpr size_t kMostText = size_t{16} << 10;

// The other screen and no cursor; and back.
constexpr const char* kEnter = "\x1b[?1049h\x1b[?25l\x1b[2J";
constexpr const char* kLeave = "\x1b[?25h\x1b[?1049l";

std::atomic<bool> g_stop_asked = false;  // Ctrl-Z

void on_stop(int) { g_stop_asked = true; }

uint64_t last_pass(const MonitorSnapshot& snapshot) {
  return snapshot.passes.empty() ? 0 : snapshot.last()->number;
}

bool decodes(const MonitorSnapshot& snapshot) {
  return !snapshot.passes.empty() && snapshot.last()->n_decoded > 0;
}

}  // namespace

bool Monitor::can_be_shown() {
  return stdout_is_terminal() && read_environment(Variable::kTerm).value_or("dumb") != "dumb";
}

void Monitor::check_terminal() {
  if (can_be_shown()) return;
  throw_error(ErrorKind::kInvalid, "--monitor: %s; --stats tells the numbers anywhere",
              stdout_is_terminal() ? "TERM says that this terminal cannot be drawn on"
                                   : "standard output is no terminal to draw on");
}

Monitor::Monitor(const Engine& engine) : engine_(engine), colour_(stdout_has_colour()) {
  const ModelInfo& info = engine.info();
  view_.model = printable(std::filesystem::path(info.path).filename().string());
  view_.about = info.architecture;
  if (!info.encodings.empty()) view_.about += ", " + info.encodings[0].name;
  view_.hint = "Ctrl-C stops";
  view_.n_ctx = engine.n_ctx();
  view_.first = view_.before = newer_ = engine.monitor(0);
  if (stdin_is_terminal()) quiet_.emplace();
  set_terminal_reset(kLeave);
  g_stop_asked = false;
  std::signal(SIGTSTP, on_stop);
  enter();
  thread_ = std::thread([this] { draw_loop(); });
}

Monitor::~Monitor() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  end_.notify_one();
  thread_.join();
  std::signal(SIGTSTP, SIG_DFL);
  set_terminal_reset(nullptr);
  leave();
}

void Monitor::update(const Session& session, std::string_view text) {
  const std::lock_guard lock(mutex_);
  view_.n_tokens = session.n_tokens();
  view_.n_cached = session.n_cached();
  view_.n_generated = static_cast<int64_t>(session.generated().size());
  view_.text += text;
  // Seldom, and at a line's end where there is one, so that lines stay as they were broken.
  if (view_.text.size() > kMostText) {
    size_t cut = view_.text.find('\n', kMostText / 2);
    if (cut == std::string::npos) cut = view_.text.find(' ', kMostText / 2);
    if (cut == std::string::npos) cut = kMostText / 2;
    view_.text.erase(0, cut + 1);
  }
}

void Monitor::mark(const std::string& label) {
  const uint64_t after_pass = last_pass(engine_.monitor(0));
  const std::lock_guard lock(mutex_);
  view_.marks.push_back({after_pass, label});
}

void Monitor::enter() {
  shown_.clear();
  write_stdout(kEnter);
}

void Monitor::leave() {
  try {
    write_stdout(kLeave);
  } catch (...) {  // the terminal has gone: nothing to put back
  }
}

void Monitor::draw_loop() {
  std::unique_lock lock(mutex_);
  try {
    for (;;) {
      lock.unlock();
      if (g_stop_asked.exchange(false)) stop_and_go_on();
      draw();
      lock.lock();
      if (end_.wait_for(lock, kBetweenFrames, [this] { return ends_; })) return;
    }
  } catch (...) {  // the terminal has gone; the text goes on without a picture
  }
}

// Ctrl-Z and fg: the shell gets its screen and its settings, and we ours again.
void Monitor::stop_and_go_on() {
  termios settings = {};
  const bool has_settings = tcgetattr(STDIN_FILENO, &settings) == 0;
  leave();
  raise(SIGSTOP);  // to this thread, so that it goes no further; it stops them all
  if (has_settings) tcsetattr(STDIN_FILENO, TCSADRAIN, &settings);
  enter();
}

void Monitor::draw() {
  const int rows = terminal_height(), columns = terminal_width();
  MonitorSnapshot now = engine_.monitor(monitor_slices(columns));
  MonitorView view;
  {
    const std::lock_guard lock(mutex_);
    // Reading a prompt and writing differ too much to be taken together.
    if (decodes(now) != decodes(newer_)) {
      view_.before = newer_ = now;
    } else if (last_pass(now) >= last_pass(newer_) + kWindow) {
      view_.before = std::exchange(newer_, now);
    }
    view = view_;
  }
  view.now = std::move(now);
  const Canvas canvas = draw_monitor(view, rows, columns, colour_);
  std::vector<std::string> lines = canvas.lines(colour_);

  // All at once where the terminal can hold a picture back until it is whole, and only what has changed.
  std::string out = "\x1b[?2026h";
  if (shown_.size() != lines.size() || columns_ != columns) {
    out += "\x1b[2J";
    shown_.assign(lines.size(), "");
    columns_ = columns;
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i] != shown_[i]) out += format_string("\x1b[%zu;1H", i + 1) + lines[i] + "\x1b[K";
  }
  write_stdout(out + "\x1b[?2026l");
  shown_ = std::move(lines);
}

}  // namespace sluice
