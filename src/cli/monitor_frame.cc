#include "cli/monitor_frame.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "base/error.h"
#include "base/units.h"
#include "cli/edit_buffer.h"

namespace sluice {
namespace {

constexpr int kHeaderRows = 3, kLaneRows = 5, kLaneLabel = 9, kLaneMargin = 10;

struct Box {
  int row = 0, column = 0, rows = 0, columns = 0;
  int right() const { return column + columns - 1; }
  int bottom() const { return row + rows - 1; }
};

void draw_box(Canvas& canvas, const Box& box, std::string_view title) {
  canvas.repeat(box.row, box.column, box.columns, "─", Ink::kFrame);
  canvas.repeat(box.bottom(), box.column, box.columns, "─", Ink::kFrame);
  for (int row = box.row + 1; row < box.bottom(); ++row) {
    canvas.put(row, box.column, "│", Ink::kFrame);
    canvas.put(row, box.right(), "│", Ink::kFrame);
  }
  canvas.put(box.row, box.column, "╭", Ink::kFrame);
  canvas.put(box.row, box.right(), "╮", Ink::kFrame);
  canvas.put(box.bottom(), box.column, "╰", Ink::kFrame);
  canvas.put(box.bottom(), box.right(), "╯", Ink::kFrame);
  canvas.put(box.row, box.column + 2, " " + std::string(title) + " ", Ink::kTitle, box.right());
}

double ratio(double a, double b) { return b > 0 ? a / b : 0; }
double ratio(uint64_t a, uint64_t b) { return ratio(static_cast<double>(a), static_cast<double>(b)); }
std::string percent(double share) { return format_string("%.0f %%", 100 * share); }
std::string count(int64_t n) { return std::to_string(n); }

// Sums over some passes.
struct Passes {
  double seconds = 0, stall_seconds = 0;
  uint64_t n_prompt = 0, n_decoded = 0, hits = 0, misses = 0, bytes_read = 0;

  void add(const MonitorPass& pass) {
    seconds += pass.seconds;
    stall_seconds += pass.stall_seconds;
    n_prompt += static_cast<uint64_t>(pass.n_prompt_tokens);
    n_decoded += static_cast<uint64_t>(pass.n_decoded);
    hits += pass.hits;
    misses += pass.misses;
    bytes_read += pass.bytes_read;
  }
  double hit_rate() const { return ratio(hits, hits + misses); }
  double stall() const { return std::min(1.0, ratio(stall_seconds, seconds)); }
  double read_rate() const { return ratio(static_cast<double>(bytes_read), seconds); }
  double tok_s() const { return ratio(static_cast<double>(n_decoded), seconds); }
};

// The passes of about the last second: at least eight, as far as the engine is doing one kind of work.
Passes lately(const MonitorSnapshot& now) {
  Passes sum;
  if (now.passes.empty()) return sum;
  const bool decodes = now.last()->n_decoded > 0;
  int n = 0;
  for (auto pass = now.passes.rbegin(); pass != now.passes.rend(); ++pass) {
    if ((pass->n_decoded > 0) != decodes || (n >= 8 && sum.seconds > 1)) break;
    sum.add(*pass);
    ++n;
  }
  return sum;
}

bool has_experts(const MonitorSnapshot& now) {
  return std::any_of(now.layers.begin(), now.layers.end(),
                     [](const MonitorLayer& layer) { return layer.has_experts; });
}

// --- header ---

void draw_header(Canvas& canvas, const MonitorView& view) {
  const MonitorSnapshot& now = view.now;
  const int end = canvas.columns() - 1;
  int at = canvas.put(0, 1, "sluice ", Ink::kTitle);
  at = canvas.put(0, at, view.model, Ink::kStrong, end - 30);
  canvas.put(0, at, " · " + view.about, Ink::kDim, end - 30);
  const auto n_layers = static_cast<int64_t>(now.layers.size());
  std::string doing = view.n_generated > 0
                          ? "writing token " + count(view.n_generated + 1)
                          : "reading " + count(view.n_cached) + " of " + count(view.n_tokens);
  if (now.layer >= 0)
    doing += now.layer < n_layers ? format_string(", layer %2lld", static_cast<long long>(now.layer))
                                  : std::string(", head    ");
  canvas.put_right(0, end, doing, Ink::kStrong);

  const Passes last = lately(now);
  const uint64_t n_decoded = now.n_decoded - view.first.n_decoded;
  const uint64_t n_prompt = now.n_prompt_tokens - view.first.n_prompt_tokens;
  at = 1;
  const int hint_at = end - display_width(view.hint) - 2;
  if (n_decoded > 0 && last.n_decoded > 0) {
    at = canvas.put(1, at, format_string("%.1f tok/s", last.tok_s()), Ink::kStrong);
    at = canvas.put(1, at,
                    format_string(" now · %.1f mean", ratio(static_cast<double>(n_decoded),
                                                            now.decode_seconds - view.first.decode_seconds)),
                    Ink::kDim);
    at = canvas.put(1, at, " · ", Ink::kDim);
  }
  if (n_prompt > 0 && (n_decoded == 0 || canvas.columns() >= 100))
    at = canvas.put(
        1, at,
        format_string("prompt %.1f tok/s · ",
                      ratio(static_cast<double>(n_prompt), now.prompt_seconds - view.first.prompt_seconds)),
        Ink::kDim);
  if (const std::string context = "context " + count(view.n_tokens) + " of " + count(view.n_ctx);
      at + display_width(context) <= hint_at)
    canvas.put(1, at, context, Ink::kDim);
  canvas.put_right(1, end, view.hint, Ink::kDim);

  at = canvas.put(2, 1, "memory ", Ink::kTitle);
  std::string numbers = format_bytes(now.resident_bytes) + " of " + format_bytes(now.budget_bytes);
  if (canvas.columns() >= 110) numbers += " · weights " + format_bytes(now.pinned_bytes);
  numbers += has_experts(now) ? " · experts " + format_bytes(now.cache_bytes)
                              : " · ring " + format_bytes(now.ring_bytes);
  if (canvas.columns() >= 110) numbers += " · KV " + format_bytes(now.kv_bytes);
  const int width = end - at - 3 - display_width(numbers);
  if (width >= 8) {
    const double filled = std::min(1.0, ratio(now.resident_bytes, now.budget_bytes)) * width;
    at = canvas.put(2, at, "▕", Ink::kFrame);
    for (int i = 0; i < width; ++i) {
      const double part = filled - i;
      static constexpr std::array<const char*, 9> kLeft = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
      canvas.put(2, at + i, kLeft[static_cast<size_t>(std::clamp(part, 0.0, 1.0) * 8)], Ink::kMemory);
    }
    at = canvas.put(2, at + width, "▏ ", Ink::kFrame);
  }
  canvas.put(2, at, numbers, Ink::kPlain, end);
}

// --- layers ---

// Some parts of some layers as one character.
struct Heat {
  int n_parts = 0, n_here = 0, n_missed = 0;
  int levels = 0;  // sum over those that are here

  void add(const MonitorPart& part) {
    ++n_parts;
    n_here += part.is_here;
    if (!part.is_here) return;
    constexpr std::array<uint32_t, 4> kAges = {0, 4, 24, 128};
    for (const uint32_t age : kAges) levels += part.passes_since_use > age;
    n_missed += part.passes_since_use == 0 && part.was_missed;
  }
  size_t level() const { return static_cast<size_t>((levels + n_here / 2) / n_here); }
  bool was_missed() const { return 2 * n_missed >= n_here; }
};

void draw_heat(Canvas& canvas, int row, int column, const Heat& heat, int width, bool colour) {
  if (heat.n_parts == 0) return;
  if (heat.n_here == 0) return canvas.repeat(row, column, width, "·", Ink::kAbsent);
  constexpr std::array<Ink, 5> kInks = {Ink::kHeat0, Ink::kHeat1, Ink::kHeat2, Ink::kHeat3, Ink::kHeat4};
  constexpr std::array<const char*, 5> kGlyphs = {"█", "▓", "▒", "░", "-"};
  const size_t level = heat.level();
  const Ink ink = heat.was_missed() ? Ink::kMissed : kInks[level];
  const double share = ratio(static_cast<double>(heat.n_here), static_cast<double>(heat.n_parts));
  // The eighths end below the row's top, so that rows stand apart.
  const char* const glyph = colour ? eighth_block(share * 0.875) : heat.was_missed() ? "×" : kGlyphs[level];
  canvas.repeat(row, column, width, glyph, ink);
}

void draw_legend(Canvas& canvas, const Box& box, bool colour, bool experts) {
  struct Entry {
    const char *colour, *mono, *text;
    Ink ink;
  };
  static constexpr std::array<Entry, 6> kEntries = {{{"▇", "█", "now", Ink::kHeat0},
                                                     {"▇", "▓", "4", Ink::kHeat1},
                                                     {"▇", "▒", "24", Ink::kHeat2},
                                                     {"▇", "░", "128 ago", Ink::kHeat3},
                                                     {"·", "·", "disk", Ink::kAbsent},
                                                     {"▇", "×", "read", Ink::kMissed}}};
  int at = box.column + 2;
  for (const Entry& entry : kEntries) {
    if (!experts && entry.ink == Ink::kMissed) continue;
    if (at + 4 + display_width(entry.text) >= box.right()) break;
    at = canvas.put(box.bottom(), at, " ");
    at = canvas.put(box.bottom(), at, colour ? entry.colour : entry.mono, entry.ink);
    at = canvas.put(box.bottom(), at, std::string(" ") + entry.text, Ink::kDim);
  }
  canvas.put(box.bottom(), at, " ");
}

// Layers [begin, end) in one row, since `before`.
struct LayerRow {
  size_t begin = 0, end = 0;
  uint64_t hits = 0, misses = 0;
  double seconds = 0, stall_seconds = 0;  // a pass and layer
  int n_parts = 0, n_here = 0;
};

std::vector<LayerRow> layer_rows(const MonitorView& view, int most) {
  const std::vector<MonitorLayer>& layers = view.now.layers;
  const size_t each = (layers.size() + static_cast<size_t>(most) - 1) / static_cast<size_t>(most);
  const auto number = [](const MonitorSnapshot& s) { return s.passes.empty() ? 0 : s.last()->number; };
  const auto n_passes = static_cast<double>(std::max<uint64_t>(1, number(view.now) - number(view.before)));
  std::vector<LayerRow> rows;
  for (size_t l = 0; l < layers.size(); ++l) {
    if (l % each == 0) rows.push_back({l, std::min(l + each, layers.size())});
    LayerRow& row = rows.back();
    const MonitorLayer none;
    const MonitorLayer& before = l < view.before.layers.size() ? view.before.layers[l] : none;
    row.hits += layers[l].hits - before.hits;
    row.misses += layers[l].misses - before.misses;
    const double per = n_passes * static_cast<double>(row.end - row.begin);
    row.seconds += (layers[l].seconds - before.seconds) / per;
    row.stall_seconds += (layers[l].stall_seconds - before.stall_seconds) / per;
    row.n_parts += static_cast<int>(layers[l].parts.size());
    for (const MonitorPart& part : layers[l].parts) row.n_here += part.is_here;
  }
  return rows;
}

void draw_layers(Canvas& canvas, const MonitorView& view, const Box& box, bool colour) {
  const bool experts = has_experts(view.now);
  const std::vector<LayerRow> rows = layer_rows(view, box.rows - 2);
  uint64_t n_parts = 0, n_here = 0;
  double slowest = 0;
  size_t most_parts = 1;
  for (const LayerRow& row : rows) {
    n_parts += static_cast<uint64_t>(row.n_parts);
    n_here += static_cast<uint64_t>(row.n_here);
    slowest = std::max(slowest, row.seconds);
  }
  for (const MonitorLayer& layer : view.now.layers) most_parts = std::max(most_parts, layer.parts.size());
  const bool is_wide = box.columns >= 64;
  draw_box(canvas, box,
           percent(ratio(n_here, n_parts)) + " of " + (is_wide ? std::to_string(n_parts) + " " : "") +
               (experts ? "experts" : "blocks") + " in memory");
  draw_legend(canvas, box, colour, experts);

  // layer | heat | hits | time of a pass
  const auto label_of = [](const LayerRow& row) {
    const std::string first = count(static_cast<int64_t>(row.begin));
    return row.end - row.begin > 1 ? first + "–" + count(static_cast<int64_t>(row.end) - 1) : first;
  };
  int label_width = 3;
  for (const LayerRow& row : rows) label_width = std::max(label_width, display_width(label_of(row)) + 1);
  const int bar_width = is_wide ? 10 : 8, time_width = is_wide ? 9 : 0;
  const int heat_at = box.column + 2 + label_width;
  const int time_at = box.right() - 1 - time_width;
  const int bar_at = time_at - bar_width;
  const int hits_at = bar_at - 6;  // "100 % " ends at the bar
  const int heat_width = hits_at - heat_at - 1;
  const auto room = static_cast<size_t>(std::max(1, heat_width));
  const size_t each = (most_parts + room - 1) / room;
  const size_t n_cells = (most_parts + each - 1) / each;
  const int cell_width = std::clamp(heat_width / static_cast<int>(n_cells), 1, 4);
  canvas.put_right(box.row, bar_at, experts ? " hits " : " here ", Ink::kDim);
  canvas.put_right(box.row, box.right(), is_wide ? " time of a pass " : " time ", Ink::kDim);

  for (size_t r = 0; r < rows.size(); ++r) {
    const LayerRow& row = rows[r];
    const int y = box.row + 1 + static_cast<int>(r);
    const bool runs =
        view.now.layer >= static_cast<int64_t>(row.begin) && view.now.layer < static_cast<int64_t>(row.end);
    canvas.put_right(y, heat_at - 1, label_of(row), runs ? Ink::kStrong : Ink::kDim);
    std::vector<Heat> cells(n_cells);
    for (size_t l = row.begin; l < row.end; ++l) {
      const std::vector<MonitorPart>& parts = view.now.layers[l].parts;
      for (size_t p = 0; p < parts.size(); ++p) cells[p / each].add(parts[p]);
    }
    for (size_t c = 0; c < n_cells; ++c)
      draw_heat(canvas, y, heat_at + static_cast<int>(c) * cell_width, cells[c], cell_width, colour);

    if (!experts) {
      canvas.put_right(y, bar_at - 1, percent(ratio(static_cast<double>(row.n_here), row.n_parts)));
    } else if (row.hits + row.misses > 0) {
      canvas.put_right(y, bar_at - 1, percent(ratio(row.hits, row.hits + row.misses)));
    }
    if (slowest <= 0) continue;
    const int length = std::max(1, static_cast<int>(std::lround(row.seconds / slowest * bar_width)));
    const int waits =
        std::min(length, static_cast<int>(std::lround(row.stall_seconds / slowest * bar_width)));
    canvas.repeat(y, bar_at, length - waits, "━", Ink::kCompute);
    canvas.repeat(y, bar_at + length - waits, waits, "╍", Ink::kWait);
    if (is_wide) canvas.put_right(y, box.right() - 1, format_seconds(row.seconds), Ink::kDim);
  }
}

// --- graphs ---

// Passes in groups, one group for each column, the newest at the right. Groups begin at multiples of their
// size, so that a graph moves by whole columns.
struct Group {
  uint64_t first_pass = 0;
  Passes sum;
};

std::vector<Group> group_passes(const MonitorSnapshot& now, int columns) {
  if (now.passes.empty()) return {};
  uint64_t each = 1;
  while (now.passes.size() > each * static_cast<uint64_t>(columns - 1)) each *= 2;
  std::vector<Group> groups;
  for (const MonitorPass& pass : now.passes) {
    if (groups.empty() || pass.number / each != groups.back().first_pass / each)
      groups.push_back({pass.number});
    groups.back().sum.add(pass);
  }
  if (groups.size() > static_cast<size_t>(columns)) groups.erase(groups.begin(), groups.end() - columns);
  return groups;
}

void draw_graph(Canvas& canvas, const Box& area, const std::vector<double>& shares, Ink ink) {
  for (size_t i = 0; i < shares.size(); ++i) {
    const int column = area.column + area.columns - static_cast<int>(shares.size() - i);
    const double height = std::clamp(shares[i], 0.0, 1.0) * area.rows;
    for (int r = 0; r < area.rows; ++r) {
      const double part = height - (area.rows - 1 - r);
      const bool is_lowest = r == area.rows - 1;
      if (part > 0 || is_lowest)
        canvas.put(area.row + r, column, part > 0 ? eighth_block(std::min(1.0, part)) : "▁",
                   part > 0 ? ink : Ink::kAbsent);
    }
  }
}

void draw_rates(Canvas& canvas, const MonitorView& view, const Box& box) {
  const bool experts = has_experts(view.now);
  draw_box(canvas, box, "rates");
  const int left = box.column + 2, width = box.columns - 4, end = box.right() - 1;
  const std::vector<Group> groups = group_passes(view.now, width);
  const Passes last = lately(view.now);
  const bool has_marks = !view.marks.empty();
  const int inner = box.rows - 2 - (has_marks ? 1 : 0);
  const int rows = std::max(1, (inner - 3) / 3);
  const int rows_first = std::max(1, inner - 3 - 2 * rows);  // what is left over

  std::vector<double> first, reads, stalls;
  double fastest_read = 0, fastest = 0;
  for (const Group& group : groups) {
    fastest_read = std::max(fastest_read, group.sum.read_rate());
    fastest = std::max(fastest, group.sum.tok_s());
  }
  for (const Group& group : groups) {
    first.push_back(experts ? group.sum.hit_rate() : ratio(group.sum.tok_s(), fastest));
    reads.push_back(ratio(group.sum.read_rate(), fastest_read));
    stalls.push_back(group.sum.stall());
  }

  int y = box.row + 1;
  const auto label = [&](const char* name, const std::string& value, const std::string& more) {
    int at = canvas.put(y, left, name, Ink::kTitle);
    at = canvas.put(y, at, " " + value, Ink::kStrong, end);
    if (at + display_width(more) + 1 <= end) canvas.put_right(y, end, more, Ink::kDim);
    ++y;
  };
  const auto graph = [&](const std::vector<double>& shares, int height, Ink ink) {
    draw_graph(canvas, {y, left, height, width}, shares, ink);
    y += height;
  };

  if (experts) {
    const uint64_t hits = view.now.hits - view.first.hits, misses = view.now.misses - view.first.misses;
    label("hit rate", percent(last.hit_rate()), percent(ratio(hits, hits + misses)) + " mean");
  } else {
    label("speed", format_string("%.1f tok/s", last.tok_s()), format_string("most %.1f", fastest));
  }
  graph(first, rows_first, Ink::kHit);
  if (has_marks) {
    for (const MonitorView::Mark& mark : view.marks) {
      size_t i = 0;
      while (i + 1 < groups.size() && groups[i + 1].first_pass <= mark.after_pass + 1) ++i;
      const int column = end - static_cast<int>(groups.size() - i);
      if (!groups.empty() && mark.after_pass + 1 >= groups[0].first_pass)
        canvas.put(y, column, "╵" + mark.label + "        ", Ink::kTitle, end);
    }
    ++y;
  }

  const uint64_t n_rows = last.n_decoded + last.n_prompt;
  const std::string more = format_bytes(n_rows > 0 ? last.bytes_read / n_rows : 0) + "/token";
  const std::string speed = format_string("%.2f GB/s", last.read_rate() * 1e-9);
  label(view.now.reads_past_page_cache ? "SSD" : "reads", speed, more);
  graph(reads, rows, Ink::kRead);

  label("stalls", percent(last.stall()) + " of the time",
        format_seconds(view.now.stall_seconds - view.first.stall_seconds) + " in all");
  graph(stalls, rows, Ink::kWait);

  const MonitorSnapshot& now = view.now;
  if (now.prefetched_bytes == 0) return;
  std::string ahead = " ahead " + format_bytes(now.prefetched_bytes) + ", " +
                      percent(ratio(now.useful_prefetched_bytes, now.prefetched_bytes)) + " used";
  if (box.columns >= 50) ahead += ", " + format_bytes(now.wasted_bytes) + " wasted";
  canvas.put(box.bottom(), box.column + 2, ahead + " ", Ink::kDim, box.right());
}

// --- the last pass ---

void draw_lanes(Canvas& canvas, const MonitorView& view, const Box& box) {
  const MonitorSnapshot& now = view.now;
  const std::vector<MonitorSlice>& slices = now.slices;
  const int left = box.column + 2 + kLaneLabel;
  double computing = 0, waiting = 0, deepest = 0;
  bool all_reads = true;
  for (const MonitorSlice& slice : slices) {
    computing += slice.computing / static_cast<double>(slices.size());
    waiting += slice.waiting / static_cast<double>(slices.size());
    deepest = std::max(deepest, slice.reads_in_flight);
    all_reads &= slice.reads_in_flight >= 0;
  }
  std::string title = "last pass";
  if (const MonitorPass* last = now.last()) {
    if (last->n_prompt_tokens > 0) title += " · " + count(last->n_prompt_tokens) + " of the prompt";
    title += " · " + format_seconds(now.slices_seconds);
  }
  draw_box(canvas, box, title);
  const auto lane = [&](int row, const char* name, Ink ink, const std::string& value, const auto& share_of) {
    canvas.put(row, box.column + 2, name, Ink::kTitle);
    for (size_t i = 0; i < slices.size(); ++i) {
      const double share = share_of(slices[i]);
      canvas.put(row, left + static_cast<int>(i), share < 0 ? "?" : eighth_block(share),
                 share < 0 ? Ink::kAbsent : ink, box.right() - kLaneMargin + 1);
    }
    canvas.put_right(row, box.right() - 1, value, Ink::kDim);
  };
  lane(box.row + 1, "compute", Ink::kCompute, percent(computing),
       [](const MonitorSlice& s) { return s.computing; });
  lane(box.row + 2, "waits", Ink::kWait, percent(waiting), [](const MonitorSlice& s) { return s.waiting; });
  lane(box.row + 3, "reads", Ink::kRead, format_string("%.0f deep", deepest),
       [deepest](const MonitorSlice& s) {
         return s.reads_in_flight < 0 ? -1 : ratio(s.reads_in_flight, deepest);
       });
  if (!all_reads) canvas.put(box.row, box.right() - 34, " ? more reads than are remembered ", Ink::kDim);

  // Where layers begin.
  if (slices.empty() || now.slices_seconds <= 0) return;
  int free_from = left;
  for (size_t l = 0; l < now.layers.size(); ++l) {
    const double at = now.layers[l].begin_seconds / now.slices_seconds;
    const int column = left + static_cast<int>(at * static_cast<double>(slices.size()));
    if (column >= box.right() - kLaneMargin) continue;
    if (column < free_from) continue;
    canvas.put(box.bottom(), column, "┴", Ink::kFrame);
    const std::string number = (l == 0 ? "layer " : "") + count(static_cast<int64_t>(l));
    free_from = canvas.put(box.bottom(), column + 1, number, Ink::kDim, box.right() - 1) + 1;
  }
}

// --- text ---

// Lines of at most `width` columns, broken at spaces where there are some; the last `most` of them.
std::vector<std::string> wrap(std::string_view text, int width, size_t most) {
  std::vector<std::string> lines(1);
  int used = 0;
  const auto end_line = [&] {
    lines.emplace_back();
    used = 0;
  };
  for (size_t at = 0; at < text.size();) {
    if (text[at] == '\n') {
      end_line();
      ++at;
      continue;
    }
    size_t end = at;  // of the word with the spaces before it
    while (end < text.size() && text[end] == ' ') ++end;
    while (end < text.size() && text[end] != ' ' && text[end] != '\n') ++end;
    std::string_view word = text.substr(at, end - at);
    at = end;
    if (const int w = display_width(word); used > 0 && used + w > width) {
      end_line();
      word.remove_prefix(std::min(word.find_first_not_of(' '), word.size()));
    }
    for (size_t i = 0, next = 0; i < word.size(); i = next) {
      next = next_character(word, i);
      const std::string_view character = word.substr(i, next - i);
      const int w = display_width(character);
      if (used + w > width) end_line();
      lines.back() += character;
      used += w;
    }
  }
  if (lines.size() > most) lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(most));
  return lines;
}

void draw_text(Canvas& canvas, const MonitorView& view, const Box& box) {
  draw_box(canvas, box, "text");
  int row = box.row + 1;
  for (const std::string& line :
       wrap(view.text, box.columns - 4, static_cast<size_t>(std::max(1, box.rows - 2))))
    canvas.put(row++, box.column + 2, line, Ink::kPlain, box.right() - 1);
}

}  // namespace

const char* eighth_block(double share) {
  static constexpr std::array<const char*, 9> kBlocks = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const auto eighths = static_cast<size_t>(std::lround(std::clamp(share, 0.0, 1.0) * 8));
  return kBlocks[share > 0 ? std::max<size_t>(1, eighths) : 0];
}

size_t monitor_slices(int columns) {
  return static_cast<size_t>(std::max(0, std::max(columns, kMonitorColumns) - 3 - kLaneLabel - kLaneMargin));
}

Canvas draw_monitor(const MonitorView& view, int rows, int columns, bool colour) {
  Canvas canvas(std::max(rows, 1), std::max(columns, 1));
  if (rows < kMonitorRows || columns < kMonitorColumns) {
    canvas.put(0, 0,
               format_string("the monitor needs %d columns and %d rows", kMonitorColumns, kMonitorRows));
    canvas.put(1, 0, format_string("this terminal has %d and %d", columns, rows));
    canvas.put(2, 0, view.hint, Ink::kDim);
    return canvas;
  }
  draw_header(canvas, view);
  // What is beyond the least goes to the layers until each has a row, and then to text and graphs.
  const int spare = rows - kMonitorRows;
  const int for_layers = static_cast<int>(view.now.layers.size()) + 2;
  const int middle = std::clamp(for_layers, 11, 11 + spare * 3 / 4);
  const int left = std::min(columns * 58 / 100, columns - 34);
  draw_layers(canvas, view, {kHeaderRows, 0, middle, left}, colour);
  draw_rates(canvas, view, {kHeaderRows, left, middle, columns - left});
  draw_lanes(canvas, view, {kHeaderRows + middle, 0, kLaneRows, columns});
  const int text_row = kHeaderRows + middle + kLaneRows;
  draw_text(canvas, view, {text_row, 0, rows - text_row, columns});
  return canvas;
}

}  // namespace sluice
