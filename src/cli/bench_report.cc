#include "cli/bench_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/units.h"
#include "cli/table.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;
using Row = TableRow;

std::string number(double value) { return format_string(value < 99.95 ? "%.1f" : "%.0f", value); }
std::string gigabytes(double per_second) { return number(per_second * 1e-9) + " GB/s"; }
std::string operations(double per_second) { return format_string("%.0f GOP/s", per_second * 1e-9); }
std::string bytes(double n) { return format_bytes(static_cast<uint64_t>(n)); }
std::string range(const Spread& s) { return number(s.low()) + " to " + number(s.high()); }
std::string ratio(const Spread& s) { return format_string("%.2f", s.median()); }
std::string ratio_range(const Spread& s) { return format_string("%.2f to %.2f", s.low(), s.high()); }

Json spread_json(const Spread& s) {
  return {{"median", s.median()}, {"min", s.low()}, {"max", s.high()}, {"n", s.values.size()}};
}

// A test with what follows from it.
struct Judged {
  const Measured& measured;
  Work work;
  Limit limit;

  Judged(const BenchReport& report, const Measured& m)
      : measured(m),
        work(work_of(report.info, m, report.weight_room, report.f32_activations)),
        limit(limit_of(work, report.peaks)) {}
  double seconds() const { return measured.pass_s.median(); }
  double fraction() const { return limit.seconds() / seconds(); }
  std::string of_limit() const { return format_string("%.2f (%s)", fraction(), limit.bound()); }
  std::string rate() const {
    return measured.test.prefill ? operations(work.operations() / seconds())
                                 : gigabytes(work.memory_bytes() / seconds());
  }
  // Of decoding; a step of a batch makes a token of each sequence.
  double disk_bytes_per_step() const {
    return static_cast<double>(measured.total.bytes_read) / static_cast<double>(measured.total.n_steps);
  }
};

std::string machine_text(const BenchReport& report) {
  const Peaks& peaks = report.peaks;
  const int n_threads = report.stats.n_threads;
  std::vector<Row> rows = {{"machine, measured now"}};
  if (n_threads > 1) rows[0].push_back("1 thread");
  rows[0].push_back(format_string("%d %s", n_threads, n_threads > 1 ? "threads" : "thread"));
  for (const bool huge : {false, true}) {
    Row row = {huge ? "  reads, huge pages" : "  reads, 4 KiB pages"};
    for (const ReadPeak& read : peaks.reads)
      if (read.huge_pages == huge) row.push_back(gigabytes(read.bytes_per_second));
    if (row.size() > 1) rows.push_back(row);
  }
  const auto with_all = [&](const char* label, const std::string& value) {
    Row row = {label, value};
    if (n_threads > 1) row.insert(row.begin() + 1, "");
    rows.push_back(row);
  };
  if (peaks.disk > 0) with_all("  SSD", gigabytes(peaks.disk));
  with_all(("  int8 products, " + report.stats.kernels).c_str(), operations(peaks.arithmetic.int8));
  with_all("  f32 products", operations(peaks.arithmetic.f32));
  with_all("  bf16 products", peaks.arithmetic.bf16 > 0 ? operations(peaks.arithmetic.bf16) : "n/a");
  return aligned_table(rows);
}

std::string tests_text(const BenchReport& report) {
  std::vector<Row> rows = {{"model", "tok/s", "min to max", "rate", "of the limit"}};
  std::string notes;
  for (const Measured& measured : report.tests) {
    const Judged test(report, measured);
    rows.push_back({"  " + measured.test.name(), number(measured.tok_s.median()), range(measured.tok_s),
                    test.rate(), test.of_limit()});
    if (measured.test.prefill || measured.total.bytes_read == 0) continue;
    notes += format_string("  %s: %s a token from the SSD (the budget forces %s), waited %s\n",
                           measured.test.name().c_str(), bytes(test.disk_bytes_per_step()).c_str(),
                           bytes(test.work.disk_bytes).c_str(),
                           format_seconds(measured.per_token(measured.total.stall_seconds)).c_str());
  }
  return aligned_table(rows) + notes;
}

// Where the time of a test went; "other" is what no operator accounts for.
std::string profile_text(const Measured& measured) {
  const Sample& total = measured.total;
  const double n = static_cast<double>(measured.test.prefill ? total.n_tokens : total.n_steps);
  std::string name = measured.test.name();
  if (measured.n_sequences > 1)
    name += format_string(", %d sequences", static_cast<int>(measured.n_sequences));
  std::vector<Row> rows = {{name + ", by operator", "calls",
                            measured.test.prefill ? "us a token" : "us a step", "of the time", "rate"}};
  double other = total.seconds;
  const auto add = [&](const std::string& op, uint64_t calls, double seconds, uint64_t n_bytes) {
    rows.push_back({"  " + op, calls > 0 ? number(static_cast<double>(calls) / n) : "",
                    number(seconds / n * 1e6), format_string("%.1f %%", 100 * seconds / total.seconds)});
    if (n_bytes > 0 && !measured.test.prefill)
      rows.back().push_back(gigabytes(static_cast<double>(n_bytes) / seconds));
  };
  for (const OperatorStats& op : total.operators) {
    if (op.calls == 0) continue;
    add(op.name, op.calls, op.seconds, op.bytes);
    other -= op.seconds;
  }
  add("other", 0, other, 0);
  return aligned_table(rows);
}

std::string batches_text(const BenchReport& report) {
  const bool experts = report.info.n_experts > 0;
  std::vector<Row> rows = {{report.batches[0].test.name() + ", sequences", "tok/s", "min to max", "of one",
                            "min to max", "rate", "of the limit"}};
  if (experts)
    rows[0].push_back(format_string("of %lld experts", static_cast<long long>(report.info.n_experts)));
  for (size_t i = 0; i < report.batches.size(); ++i) {
    const Measured& measured = report.batches[i];
    const Judged test(report, measured);
    rows.push_back({"  " + std::to_string(measured.n_sequences), number(measured.tok_s.median()),
                    range(measured.tok_s), ratio(report.batch_ratios[i]), ratio_range(report.batch_ratios[i]),
                    test.rate(), test.of_limit()});
    if (experts) rows.back().push_back(number(test.work.experts_per_layer));
  }
  return aligned_table(rows);
}

std::string peer_text(const BenchReport& report) {
  std::vector<Row> rows = {
      {"tok/s", "sluice", "min to max", "peer", "min to max", "sluice/peer", "min to max"}};
  for (const Comparison& c : report.comparisons)
    rows.push_back({"  " + c.test.name(), number(c.ours().median()), range(c.ours()),
                    number(c.peer().median()), range(c.peer()), ratio(c.ratio()), ratio_range(c.ratio())});
  std::string text = aligned_table(rows);
  for (const std::string& name : report.left_out) text += "  not compared: " + name + "\n";
  return text + "  peer: " + printable(report.peer_command, 400) + "\n";
}

Json reads_json(const std::vector<ReadPeak>& reads) {
  Json list = Json::array();
  for (const ReadPeak& read : reads)
    list.push_back({{"threads", read.n_threads},
                    {"huge_pages", read.huge_pages},
                    {"streams_per_thread", read.n_streams},
                    {"prefetch_bytes", read.prefetch_bytes},
                    {"bytes_s", read.bytes_per_second}});
  return list;
}

Json test_json(const BenchReport& report, const Measured& measured) {
  const Judged test(report, measured);
  const Work& work = test.work;
  Json json = {{"kind", measured.test.prefill ? "prefill" : "decode"},
               {"tokens", measured.test.tokens},
               {"depth", measured.test.depth},
               {"sequences", measured.n_sequences},
               {"tok_s", spread_json(measured.tok_s)},
               {"seconds", test.seconds()}};  // of the prompt, or of one step
  json["bytes"] = {
      {"weights", work.weight_bytes}, {"kv", work.kv_bytes}, {"ssd_forced_by_budget", work.disk_bytes}};
  if (measured.test.prefill) {
    json["operations"] = work.operations();
    json["operations_s"] = work.operations() / test.seconds();
  } else {
    json["bytes"]["ssd_counted"] = test.disk_bytes_per_step();
    json["memory_bytes_s"] = work.memory_bytes() / test.seconds();
  }
  if (report.info.n_experts > 0) json["experts_per_layer"] = work.experts_per_layer;
  if (report.profile) {
    for (const OperatorStats& op : measured.total.operators)
      json["profile"].push_back(
          {{"operator", op.name}, {"calls", op.calls}, {"seconds", op.seconds}, {"bytes", op.bytes}});
    json["profile_seconds"] = measured.total.seconds;  // of all rounds, as the operators'
  }
  json["stall_s_per_token"] = measured.per_token(measured.total.stall_seconds);
  json["cache"] = {{"hits", measured.total.hits},
                   {"misses", measured.total.misses},
                   {"useful_prefetched_bytes", measured.total.useful_prefetched_bytes},
                   {"wasted_bytes", measured.total.wasted_bytes}};
  const auto per_step = [&](uint64_t n) {
    return static_cast<double>(n) / static_cast<double>(std::max<uint64_t>(measured.total.n_steps, 1));
  };
  json["speculation"] = {{"experts_per_step", per_step(measured.total.speculated)},
                         {"confirmed_per_step", per_step(measured.total.confirmed)},
                         {"wasted_bytes_per_step", per_step(measured.total.speculation_wasted_bytes)}};
  json["limit"] = {{"ssd_s", test.limit.disk_s},
                   {"memory_s", test.limit.memory_s},
                   {"compute_s", test.limit.compute_s},
                   {"bound", test.limit.bound()},
                   {"fraction", test.fraction()}};
  return json;
}

Json peer_json(const BenchReport& report) {
  Json tests = Json::array();
  for (const Comparison& c : report.comparisons) {
    Json rounds = Json::array();
    for (const PairedRound& round : c.rounds)
      rounds.push_back({{"first", round.peer_first ? "peer" : "sluice"},
                        {"sluice_tok_s", round.ours},
                        {"peer_tok_s", round.peer}});
    tests.push_back({{"kind", c.test.prefill ? "prefill" : "decode"},
                     {"tokens", c.test.tokens},
                     {"depth", c.test.depth},
                     {"ratio", spread_json(c.ratio())},
                     {"sluice_tok_s", spread_json(c.ours())},
                     {"peer_tok_s", spread_json(c.peer())},
                     {"rounds", rounds}});
  }
  return {{"command", report.peer_command}, {"tests", tests}, {"not_compared", report.left_out}};
}

}  // namespace

std::string bench_text(const BenchReport& report) {
  const EngineStats& stats = report.stats;
  std::string text =
      format_string("%s: %s, %d %s, %s\n", printable(report.info.path, 400).c_str(), stats.kernels.c_str(),
                    stats.n_threads, stats.n_threads > 1 ? "threads" : "thread", stats.io.c_str());
  text += format_string("opened in %s, loaded in %s, first token after %s\n",
                        format_seconds(report.open_s).c_str(), format_seconds(stats.load_seconds).c_str(),
                        format_seconds(report.first_token_s).c_str());
  text +=
      format_string("peak memory %s of %s; files, KV cache and 150 MB are %s\n\n",
                    format_bytes(stats.peak_resident_bytes).c_str(), format_bytes(stats.budget_bytes).c_str(),
                    format_bytes(report.resident_bound()).c_str());
  text += machine_text(report) + "\n" + tests_text(report);
  if (!report.batches.empty()) text += "\n" + batches_text(report);
  if (report.profile) {
    for (const Measured& test : report.tests) text += "\n" + profile_text(test);
    for (const Measured& batch : report.batches)
      if (batch.n_sequences > 1) text += "\n" + profile_text(batch);
  }
  if (!report.comparisons.empty()) text += "\n" + peer_text(report);
  return text;
}

Json bench_json(const BenchReport& report) {
  const EngineStats& stats = report.stats;
  const Peaks& peaks = report.peaks;
  Json json = {{"model", report.info.path},
               {"kernels", stats.kernels},
               {"threads", stats.n_threads},
               {"io", stats.io}};
  json["start"] = {
      {"open_s", report.open_s}, {"load_s", stats.load_seconds}, {"first_token_s", report.first_token_s}};
  json["memory"] = {
      {"budget_bytes", stats.budget_bytes},   {"peak_rss_bytes", stats.peak_resident_bytes},
      {"file_bytes", report.info.file_bytes}, {"expert_bytes", report.info.expert_bytes},
      {"cache_bytes", stats.cache_bytes},     {"pinned_bytes", stats.pinned_bytes},
      {"kv_bytes", report.peak_kv_bytes},     {"resident_bound_bytes", report.resident_bound()}};
  json["peaks"] = {{"memory_bytes_s", peaks.memory()},
                   {"reads", reads_json(peaks.reads)},
                   {"ssd_bytes_s", peaks.disk > 0 ? Json(peaks.disk) : Json()},
                   {"int8_operations_s", peaks.arithmetic.int8},
                   {"f32_operations_s", peaks.arithmetic.f32},
                   {"bf16_operations_s", peaks.arithmetic.bf16 > 0 ? Json(peaks.arithmetic.bf16) : Json()}};
  json["tests"] = Json::array();
  for (const Measured& measured : report.tests) json["tests"].push_back(test_json(report, measured));
  if (!report.batches.empty()) json["batches"] = Json::array();
  for (size_t i = 0; i < report.batches.size(); ++i) {
    json["batches"].push_back(test_json(report, report.batches[i]));
    json["batches"].back()["ratio_to_one"] = spread_json(report.batch_ratios[i]);
  }
  if (!report.comparisons.empty()) json["peer"] = peer_json(report);
  return json;
}

}  // namespace sluice
