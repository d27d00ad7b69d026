// The monitor's picture, from fixed numbers.
#include "cli/monitor_frame.h"

#include <gtest/gtest.h>

#include "cli/edit_buffer.h"

namespace sluice {
namespace {

// 40 tokens of a small MoE model: three topics' worth of nothing in particular, but the same every time.
MonitorView some_view(size_t n_layers, size_t n_experts) {
  MonitorView view;
  view.model = "small-moe";
  view.about = "qwen3_moe, q4_0";
  view.hint = "Ctrl-C stops";
  view.n_tokens = 48;
  view.n_cached = 47;
  view.n_ctx = 512;
  view.n_generated = 39;
  view.text =
      "Once upon a time there was a little girl who lived in a house.\nShe said: \"日本語\x1b[2J\" and "
      "laughed.";
  MonitorSnapshot& now = view.now;
  now.budget_bytes = 64 << 20;
  now.resident_bytes = 48 << 20;
  now.pinned_bytes = 4 << 20;
  now.cache_bytes = 24 << 20;
  now.ring_bytes = 1 << 20;
  now.kv_bytes = 1 << 20;
  now.layer = 2;
  for (uint64_t i = 1; i <= 40; ++i) {
    MonitorPass pass;
    pass.number = i;
    (i == 1 ? pass.n_prompt_tokens : pass.n_decoded) = i == 1 ? 9 : 1;
    pass.seconds = 0.05;
    pass.stall_seconds = i < 20 ? 0.025 : 0.005;
    pass.hits = i;
    pass.misses = 40 - i;
    pass.bytes_read = (40 - i) << 20;
    now.passes.push_back(pass);
    now.hits += pass.hits;
    now.misses += pass.misses;
    now.bytes_read += pass.bytes_read;
    now.stall_seconds += pass.stall_seconds;
  }
  now.n_prompt_tokens = 9;
  now.prompt_seconds = 0.05;
  now.n_decoded = 39;
  now.decode_seconds = 39 * 0.05;
  now.slices_seconds = 0.05;
  now.slices.resize(monitor_slices(80));
  for (size_t i = 0; i < now.slices.size(); ++i) {
    const bool waits = i % 10 >= 7;
    now.slices[i] = {waits ? 0.0 : 1.0, waits ? 1.0 : 0.0, static_cast<double>(i % 10) / 2};
  }
  for (size_t l = 0; l < n_layers; ++l) {
    MonitorLayer layer;
    layer.has_experts = true;
    layer.hits = 70 + l;
    layer.misses = 30 - l % 30;
    layer.seconds = 0.4 + 0.1 * static_cast<double>(l % 4);
    layer.stall_seconds = 0.1 * static_cast<double>(l % 4);
    layer.begin_seconds = 0.05 * static_cast<double>(l) / static_cast<double>(n_layers + 1);
    for (size_t e = 0; e < n_experts; ++e) {
      MonitorPart part;
      part.is_here = (e + l) % 3 != 0;
      constexpr uint32_t kAges[] = {0, 3, 20, 100, 200, MonitorPart::kNever};
      if (part.is_here) part.passes_since_use = kAges[(e + 2 * l) % 6];
      part.was_missed = e % 5 == 0;
      layer.parts.push_back(part);
    }
    now.layers.push_back(layer);
  }
  view.marks = {{0, "coding"}, {20, "novel"}};
  return view;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

TEST(MonitorFrame, IsThisPictureOnTheSmallestTerminal) {
  const std::string picture = joined(draw_monitor(some_view(4, 16), 24, 80, false).lines(false));
  EXPECT_EQ(picture, R"( sluice small-moe · qwen3_moe, q4_0                  writing token 40, layer  2
 20.0 tok/s now · 20.0 mean · context 48 of 512                    Ctrl-C stops
 memory ▕█████████████████████▊       ▏ 48.0 MiB of 64.0 MiB · experts 24.0 MiB
╭─ 66 % of experts in memory ─ hits ─── time ╮╭─ rates ────────────────────────╮
│  0 ·▓▒·--·▓▒·--·▓▒·          70 % ━━━━━    ││ hit rate 76 %        51 % mean │
│  1 ▒░·-█·▒░·-×·▒░·-          71 % ━━━━━╍   ││                        ▁▂▄▅▆▇█ │
│  2 -·█▓·░-·█▓·░-·█▓          72 % ━━━━━╍╍  ││                 ▁▂▃▄▆▇████████ │
│  3 ·▓▒·--·▓▒·--·▓▒·          73 % ━━━━━╍╍╍ ││          ▁▂▃▄▅▆███████████████ │
│                                            ││          ╵coding   ╵novel      │
│                                            ││ reads 0.20 GB/s 9.50 MiB/token │
│                                            ││          ██▇▇▆▆▆▅▅▄▄▄▃▃▂▂▂▁▁▁▁ │
│                                            ││ stalls 10 % of the time        │
│                                            ││          ▄▄▄▄▄▄▄▄▄▄▁▁▁▁▁▁▁▁▁▁▁ │
╰─ █ now ▓ 4 ▒ 24 ░ 128 ago · disk × read ───╯╰────────────────────────────────╯
╭─ last pass · 50.0 ms ────────────────────────────────────────────────────────╮
│ compute  ███████   ███████   ███████   ███████   ███████   ███████      72 % │
│ waits           ███       ███       ███       ███       ███       █     28 % │
│ reads     ▁▂▃▄▄▅▆▇█ ▁▂▃▄▄▅▆▇█ ▁▂▃▄▄▅▆▇█ ▁▂▃▄▄▅▆▇█ ▁▂▃▄▄▅▆▇█ ▁▂▃▄▄▅▆   4 deep │
╰──────────┴layer 0───┴1──────────┴2─────────┴3────────────────────────────────╯
╭─ text ───────────────────────────────────────────────────────────────────────╮
│ Once upon a time there was a little girl who lived in a house.               │
│ She said: "日本語[2J" and laughed.                                           │
│                                                                              │
╰──────────────────────────────────────────────────────────────────────────────╯
)");
}

TEST(MonitorFrame, HasTheSizeOfTheTerminalAndNoControlCharacters) {
  using Pair = std::pair<int, int>;
  for (const auto& [layers, experts] : {Pair(4, 16), Pair(48, 128), Pair(1, 8), Pair(94, 512)}) {
    const MonitorView view = some_view(static_cast<size_t>(layers), static_cast<size_t>(experts));
    for (const auto& [rows, columns] : {Pair(24, 80), Pair(25, 81), Pair(50, 132), Pair(70, 300)}) {
      const std::vector<std::string> lines = draw_monitor(view, rows, columns, false).lines(false);
      ASSERT_EQ(lines.size(), static_cast<size_t>(rows));
      for (const std::string& line : lines) {
        EXPECT_LE(display_width(line), columns);
        EXPECT_EQ(line.find('\x1b'), std::string::npos) << line;
      }
      EXPECT_EQ(lines.back().rfind("╰", 0), 0U) << lines.back();
      EXPECT_NE(joined(lines).find("日本語"), std::string::npos);
    }
  }
}

TEST(MonitorFrame, GivesEveryLayerARowWhereThereAreEnough) {
  const std::string tall = joined(draw_monitor(some_view(48, 128), 90, 200, false).lines(false));
  EXPECT_NE(tall.find("│ 47 "), std::string::npos) << tall;
  const std::string low = joined(draw_monitor(some_view(48, 128), 24, 80, false).lines(false));
  EXPECT_NE(low.find("│ 42–47 "), std::string::npos) << low;
}

TEST(MonitorFrame, ColourSaysWhatGlyphsSayWithoutIt) {
  const Canvas coloured = draw_monitor(some_view(4, 16), 24, 80, true);
  const std::string with = joined(coloured.lines(true));
  // Used by the last pass, and just read: in the legend and somewhere else.
  for (const char* const ink : {"\x1b[0;38;5;229m", "\x1b[0;38;5;207m"})
    EXPECT_NE(with.find(ink), with.rfind(ink)) << with;
  const std::string without = joined(draw_monitor(some_view(4, 16), 24, 80, false).lines(false));
  EXPECT_NE(without.find("×"), without.rfind("×")) << without;
  EXPECT_EQ(joined(coloured.lines(false)).find("×"), std::string::npos);
}

TEST(MonitorFrame, SaysWhatItNeedsWhereThereIsNoRoom) {
  const MonitorView view = some_view(4, 16);
  EXPECT_EQ(draw_monitor(view, 24, 60, true).lines(false)[0], "the monitor needs 80 columns and 24 rows");
  EXPECT_EQ(draw_monitor(view, 10, 80, true).lines(false)[1], "this terminal has 80 and 10");
  EXPECT_EQ(draw_monitor(view, 1, 5, true).lines(false)[0], "the m");
}

TEST(MonitorFrame, ShowsAnEngineThatHasDoneNothingYet) {
  MonitorView view;
  view.now.layers.resize(3);
  view.now.layers[0].parts.resize(5);
  const std::string picture = joined(draw_monitor(view, 30, 100, true).lines(false));
  EXPECT_NE(picture.find("0 % of blocks in memory"), std::string::npos) << picture;
  EXPECT_NE(picture.find("reading 0 of 0"), std::string::npos) << picture;
}

TEST(MonitorFrame, SaysWhenReadsAreForgotten) {
  MonitorView view = some_view(4, 16);
  for (size_t i = 0; i < 10; ++i) view.now.slices[i].reads_in_flight = -1;
  const std::string picture = joined(draw_monitor(view, 24, 80, false).lines(false));
  EXPECT_NE(picture.find("reads    ??????????"), std::string::npos) << picture;
  EXPECT_NE(picture.find("? more reads than are remembered"), std::string::npos) << picture;
}

}  // namespace
}  // namespace sluice
