// `--monitor`: a picture of the engine at work on a screen of its own, drawn by a thread of its own some
// times a second. The terminal's other screen is as it was when the monitor ends, however it ends.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "cli/line_editor.h"
#include "cli/monitor_frame.h"
#include "sluice/engine.h"
#include "sluice/session.h"

namespace sluice {

class Monitor {
 public:
  // Whether standard output is a terminal that can be drawn on.
  static bool can_be_shown();
  // Error(kInvalid) that names what would do instead, where it is not.
  static void check_terminal();

  // The engine is loaded, was opened with EngineOptions::monitor, and outlives the monitor.
  explicit Monitor(const Engine& engine);
  ~Monitor();
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  // After each step: what the session has come to, and the text that is new.
  void update(const Session& session, std::string_view text);
  void mark(const std::string& label);  // from the next pass on, below the hit rate

 private:
  void enter();
  void leave();
  void draw_loop();
  void draw();
  void stop_and_go_on();

  const Engine& engine_;
  const bool colour_;
  std::optional<QuietInput> quiet_;

  // The drawing thread's.
  std::vector<std::string> shown_;  // lines on the screen
  int columns_ = 0;                 // of it
  MonitorSnapshot newer_;           // the next MonitorView::before

  std::mutex mutex_;
  MonitorView view_;  // what the caller's thread knows; the rest of it is the drawing thread's
  bool ends_ = false;
  std::condition_variable end_;
  std::thread thread_;  // last: uses all of the above
};

}  // namespace sluice
