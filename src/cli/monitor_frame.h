// The monitor's picture: from what the engine tells to a screenful. Draws what it is given and nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/canvas.h"
#include "sluice/monitor.h"

namespace sluice {

inline constexpr int kMonitorRows = 24, kMonitorColumns = 80;  // the least that it needs

struct MonitorView {
  std::string model;  // "Qwen3-30B-A3B"
  std::string about;  // "qwen3_moe, 4.6 bits per weight"
  std::string hint;   // "Ctrl-C stops"
  // The session's.
  int64_t n_tokens = 0, n_cached = 0, n_ctx = 0;  // tokens of the text, those that were read, the context
  int64_t n_generated = 0;
  std::string text;  // its end

  MonitorSnapshot first;   // when the picture began
  MonitorSnapshot before;  // some passes ago: layers show what happened since
  MonitorSnapshot now;
  struct Mark {
    uint64_t after_pass = 0;
    std::string label;
  };
  std::vector<Mark> marks;  // shown below the hit rate
};

// The slices of the last pass that a terminal of that width has room for.
size_t monitor_slices(int columns);

// Without `colour` the glyphs say what the ink would.
Canvas draw_monitor(const MonitorView& view, int rows, int columns, bool colour);

// One of " ▁▂▃▄▅▆▇█" for 0 to 1; above 0 never the first.
const char* eighth_block(double share);

}  // namespace sluice
