// sluice simulate: what each cache policy would have hit at each budget, on recorded routing.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/simulate_report.h"
#include "cli/verbs.h"
#include "engine/task_profiles.h"
#include "platform/file.h"
#include "store/cache_simulator.h"

namespace sluice {
namespace {

struct SimulateOptions {
  std::string trace;
  std::vector<std::string> budgets, ram;
  std::vector<std::string> policies = {"all"}, splits = {"all"};
  std::string ssd;
  double token_ms = 0;
  std::string svg;
  std::string task;
  bool json = false;
};

std::vector<std::string> chosen_names(const std::vector<std::string>& asked,
                                      std::span<const std::string_view> all) {
  if (std::find(asked.begin(), asked.end(), "all") == asked.end()) return asked;
  return {all.begin(), all.end()};
}

SimulatedBudget budget_of(const RoutingTrace& trace, const std::string& name, uint64_t bytes) {
  const size_t n_slots = std::min<uint64_t>(bytes / trace.shape.unit_bytes, trace.n_slots_of_all());
  if (n_slots == 0)
    throw_error(ErrorKind::kInvalid, "%s leaves no room for one expert of %s", printable(name).c_str(),
                format_bytes(trace.shape.unit_bytes).c_str());
  return {name, n_slots, static_cast<double>(n_slots) / static_cast<double>(trace.n_slots_of_all())};
}

std::vector<SimulatedBudget> budgets_of(const SimulateOptions& options, const RoutingTrace& trace) {
  const uint64_t all = trace.n_slots_of_all() * trace.shape.unit_bytes;
  std::vector<SimulatedBudget> budgets;
  for (const std::string& name : options.budgets)
    budgets.push_back(budget_of(trace, name, parse_bytes_or_percent(name, all, "--budgets")));
  for (const std::string& name : options.ram) {
    const uint64_t bytes = parse_bytes(name, "--ram");
    if (bytes <= trace.shape.fixed_bytes)
      throw_error(ErrorKind::kInvalid,
                  "--ram %s: %s are taken by everything but experts, and less than that is not simulated",
                  printable(name).c_str(), format_bytes(trace.shape.fixed_bytes).c_str());
    budgets.push_back(budget_of(trace, "--ram " + name, bytes - trace.shape.fixed_bytes));
  }
  if (budgets.empty()) {
    for (int percent = 10; percent <= 90; percent += 10)
      budgets.push_back(
          budget_of(trace, std::to_string(percent) + "%", all / 100 * static_cast<uint64_t>(percent)));
  }
  std::stable_sort(budgets.begin(), budgets.end(),
                   [](const SimulatedBudget& a, const SimulatedBudget& b) { return a.n_slots < b.n_slots; });
  return budgets;
}

// Tokens per second of the passes of one token, 0 if there are none or nothing was measured. In each layer
// the experts that are there compute while the others are read, the rest of a token's time waits for both:
//
//   time of a pass = time without experts + sum over layers of max(experts' time, misses · bytes / SSD)
double predict(const RoutingTrace& trace, const CacheCounts& counts, double disk_bytes_s,
               double token_seconds, double expert_seconds) {
  if (disk_bytes_s <= 0 || token_seconds <= 0) return 0;
  const size_t n_groups = trace.shape.groups.size();
  const double layer_seconds = expert_seconds / static_cast<double>(n_groups);
  const double read_seconds = static_cast<double>(trace.shape.unit_bytes) / disk_bytes_s;
  double seconds = 0;
  size_t n = 0;
  for (size_t pass = 0; pass < trace.passes.size(); ++pass) {
    if (trace.passes[pass].n_tokens != 1) continue;
    ++n;
    seconds += token_seconds - expert_seconds;
    for (size_t group = 0; group < n_groups; ++group)
      seconds += std::max(layer_seconds, read_seconds * counts.misses_of[pass * n_groups + group]);
  }
  return n > 0 ? static_cast<double>(n) / seconds : 0;
}

// The one profile of the task that fits the trace's model: a trace knows a name and a shape, no weights.
TaskProfile profile_of(const std::string& task, const TraceShape& shape) {
  check_task_name(task);
  std::optional<TaskProfile> found;
  for (const StoredProfile& stored : list_task_profiles()) {
    const TaskProfile& profile = stored.profile;
    if (stored.task != task || profile.model != shape.model || profile.groups != shape.groups ||
        profile.n_units != shape.n_units)
      continue;
    if (found)
      throw_error(ErrorKind::kInvalid,
                  "there are several profiles of the task %s for models called %s: delete one", task.c_str(),
                  printable(shape.model).c_str());
    found = profile;
  }
  if (!found)
    throw_error(
        ErrorKind::kNotFound,
        "there is no profile of the task %s for a model called %s with %zu layers of %u experts: sluice "
        "profile list shows what there is",
        task.c_str(), printable(shape.model).c_str(), shape.groups.size(), shape.n_units);
  return std::move(*found);
}

// A cache that holds everything is read while the model is loaded.
CacheCounts all_hits(CacheCounts counts) {
  counts.hits += std::exchange(counts.misses, 0);
  std::fill(counts.misses_of.begin(), counts.misses_of.end(), 0);
  return counts;
}

SimulationReport simulate_all(const SimulateOptions& options, const RoutingTrace& trace) {
  const TraceShape& shape = trace.shape;
  SimulationReport report = {.shape = shape, .n_tokens = trace.n_tokens(), .n_passes = trace.passes.size()};
  report.budgets = budgets_of(options, trace);
  report.disk_bytes_s = shape.disk_bytes_s;
  if (!options.ssd.empty()) {
    std::string text = options.ssd;
    if (text.ends_with("/s")) text.resize(text.size() - 2);
    report.disk_bytes_s = static_cast<double>(parse_bytes(text, "--ssd"));
  }
  report.token_seconds = options.token_ms > 0 ? options.token_ms * 1e-3 : shape.token_seconds;
  const double expert_seconds = std::min(shape.unit_seconds, report.token_seconds);

  const std::vector<std::string> splits = chosen_names(options.splits, cache_split_names());
  for (const std::string& split : splits) {
    for (const std::string& policy : chosen_names(options.policies, cache_policy_names())) {
      make_cache_policy(policy, split);  // refuses unknown names now
      report.curves.push_back({policy, split, {}});
    }
  }
  report.best.policy = "Belady (the bound)";
  std::vector<float> rates;
  if (!options.task.empty()) {
    const TaskProfile profile = profile_of(options.task, shape);
    rates = profile.rates();
    report.task = options.task;
    report.task_tokens = profile.n_tokens;
  }
  ProgressBar bar("simulating", "runs");
  uint64_t n_done = 0;
  const uint64_t n_runs = report.budgets.size() * (report.curves.size() + 1);
  for (const SimulatedBudget& budget : report.budgets) {
    const bool holds_all = budget.n_slots == trace.n_slots_of_all();
    const auto add = [&](SimulatedCurve& curve, CacheCounts counts) {
      if (holds_all) counts = all_hits(std::move(counts));
      if (interrupted()) throw_error(ErrorKind::kCancelled, "interrupted while simulating");
      curve.points.push_back(
          {counts.hits, counts.misses,
           predict(trace, counts, report.disk_bytes_s, report.token_seconds, expert_seconds)});
      bar.update(++n_done, n_runs);
    };
    add(report.best, simulate_best(trace, budget.n_slots, rates));
    for (SimulatedCurve& curve : report.curves)
      add(curve, simulate_cache(trace, budget.n_slots, make_cache_policy(curve.policy, curve.split), rates));
  }
  return report;
}

int simulate(const SimulateOptions& options) {
  catch_interrupts();
  const SimulationReport report = simulate_all(options, read_trace(options.trace));
  if (!options.svg.empty()) {
    FileWriter file(options.svg);
    const std::string svg = simulation_svg(report);
    file.write(std::as_bytes(std::span(svg)));
    file.commit();
  }
  write_stdout(options.json ? simulation_json(report).dump(2) + "\n" : simulation_text(report));
  return kExitOk;
}

}  // namespace

Action define_simulate(Arguments& args) {
  auto options = std::make_shared<SimulateOptions>();
  args.positional("TRACE", options->trace, "what sluice trace has written").required();
  const Option budgets = args.option("--budgets SIZE,SIZE", options->budgets,
                                     "memory for experts: 25%,2G,...; by default 10% to 90%")
                             .separated();
  args.option("--ram SIZE,SIZE", options->ram,
              "memory of the whole process, of which experts get what the rest leaves")
      .separated()
      .excludes(budgets);
  args.option("--policy NAME,NAME", options->policies, "all, or some of --cache-policy").separated();
  args.option("--split NAME,NAME", options->splits, "all, or some of --cache-split").separated();
  args.option("--task NAME", options->task, "begin with the experts of this task's profile (sluice profile)");
  args.option("--ssd SIZE/s", options->ssd, "bytes per second to predict with; by default as traced");
  args.option("--token-ms MS", options->token_ms, "time of a token without waiting; by default as traced")
      .range(std::numeric_limits<double>::min(), std::numeric_limits<double>::max());
  args.option("--svg FILE", options->svg, "draw the curves of one split, the shared one if it is there");
  args.flag("--json", options->json, "print one JSON object");
  args.footer(R"(
examples:
  sluice simulate story.trace
  sluice simulate story.trace --budgets 25%,50%,75% --policy lru,lfu --split shared
  sluice simulate story.trace --ram 4G,6G,8G --ssd 3.5G/s --svg hits.svg
  sluice simulate story.trace --task stories         what a profile saves

Replays the recorded passes from an empty cache, or from the one that --task fills, under every policy, with the
engine's own rules: the counts are those of a run without prefetch. "of Belady" is the fewest misses that any
eviction could have / the policy's.
The speed is predicted for passes of one token: in each layer the larger of the experts' time and the time to
read what missed, and the rest of a token's time beside that. The knee is the budget beyond which another 10 %
of the experts never gain 5 % of speed.)");
  return [options] { return simulate(*options); };
}

}  // namespace sluice
