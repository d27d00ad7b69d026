// sluice plan: how fast a model will be on this machine, before it is run or even here.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/planning.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "engine/memory_plan.h"
#include "plan/cost_model.h"
#include "platform/memory_info.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

struct PlanOptions {
  EngineOptions engine;
  std::vector<std::string> ram, weights;
  PlanWorkload workload;
  std::string routing = "typical";
  bool json = false;
};

struct PlanRow {
  std::string name;  // "25 %", or the flag's value
  MemoryOutlook outlook;
  Prediction prediction;  // if the budget fits
  bool knee = false;
};

struct PlanReport {
  PlannedModel model;
  HardwareProfile machine;
  std::vector<PlanRow> rows;
  MemoryOutlook all;
  uint64_t knee = 0;  // 0: budgets were given, none was looked for
};

PlanRow row_of(const PlanReport& report, const PlanOptions& options, const Engine& engine, std::string name,
               uint64_t ram) {
  PlanRow row = {.name = std::move(name), .outlook = engine.outlook(ram)};
  if (row.outlook.fits)
    row.prediction = predict(engine.info(), row.outlook, report.machine, options.workload);
  return row;
}

// The least that works, one token's experts, quarters of all, the knee, and all.
void add_default_rows(PlanReport& report, const PlanOptions& options) {
  const Engine& engine = *report.model.engine;
  const uint64_t low = report.all.smallest_ram, high = std::max(report.all.comfortable_ram, low);
  report.knee = find_knee(low, high, [&](uint64_t ram) {
    return predict(engine.info(), engine.outlook(ram), report.machine, options.workload).decode_tok_s;
  });
  std::vector<std::pair<uint64_t, std::string>> budgets = {{low, "minimum"}};
  if (engine.info().n_experts > 0) budgets.emplace_back(report.all.one_token_ram, "one token");
  for (const int percent : {25, 50, 75}) {
    const uint64_t ram = high / 100 * static_cast<uint64_t>(percent);
    if (ram > low) budgets.emplace_back(ram, std::to_string(percent) + " %");
  }
  budgets.emplace_back(high, "all in memory");
  const auto is_knee = [&](uint64_t ram) {
    return ram > report.knee / 50 * 49 && ram < report.knee / 50 * 51;
  };
  if (std::none_of(budgets.begin(), budgets.end(), [&](const auto& b) { return is_knee(b.first); }))
    budgets.emplace_back(report.knee, "knee");
  std::stable_sort(budgets.begin(), budgets.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [ram, name] : budgets) {
    if (!report.rows.empty() && report.rows.back().outlook.ram_bytes == ram) continue;
    report.rows.push_back(row_of(report, options, engine, name, ram));
    report.rows.back().knee = is_knee(ram);
  }
}

void add_given_rows(PlanReport& report, const PlanOptions& options) {
  const Engine& engine = *report.model.engine;
  for (const std::string& ram : options.ram)
    report.rows.push_back(
        row_of(report, options, engine, ram, parse_ram(ram, memory_info(), resident_bytes())));
  for (const std::string& weights : options.weights) {
    EngineOptions bounded = options.engine;
    bounded.weights = weights;
    if (report.model.outline) bounded.model = report.model.outline->path();
    const std::unique_ptr<Engine> other = Engine::open(bounded);
    report.rows.push_back(row_of(report, options, *other, "weights " + weights,
                                 parse_ram("auto", memory_info(), resident_bytes())));
  }
}

std::string number(double value) {
  return format_string(value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f", value);
}

std::string report_text(const PlanReport& report, const PlanOptions& options) {
  const ModelInfo& info = report.model.engine->info();
  std::string text = format_string(
      "%s: %s, %s of weights, %s a token%s\ncontext %lld, prompt %lld; %s\n\n",
      printable(report.model.name).c_str(), info.architecture.c_str(), format_bytes(info.file_bytes).c_str(),
      format_bytes(info.bytes_per_token).c_str(),
      report.model.outline ? " (from its shape; it is not here)" : "",
      static_cast<long long>(report.model.engine->n_ctx()),
      static_cast<long long>(options.workload.prompt_tokens), measured_when(report.machine).c_str());
  const bool experts = info.n_experts > 0;
  std::vector<TableRow> rows = {
      {"", "--ram", "load", "first token", "prefill tok/s", "decode tok/s", "bound by", "read a token"}};
  if (experts) rows[0].push_back("expert hits");
  const uint64_t machine = memory_info().ceiling();
  for (const PlanRow& row : report.rows) {
    const MemoryOutlook& o = row.outlook;
    std::string name = row.name;
    if (row.knee && name != "knee") name += ", knee";
    if (o.ram_bytes > machine) name += " (*)";
    if (!o.fits) {
      rows.push_back({name, format_bytes(o.ram_bytes), "too small: at least " + mebibytes(o.smallest_ram)});
      continue;
    }
    const Prediction& p = row.prediction;
    rows.push_back({name, format_bytes(o.ram_bytes), format_seconds(p.load_s),
                    format_seconds(p.first_token_s), number(p.prefill_tok_s), number(p.decode_tok_s), p.bound,
                    format_bytes(static_cast<uint64_t>(p.disk_bytes))});
    if (experts) rows.back().push_back(format_string("%.0f %%", 100 * p.hit_rate));
  }
  text += aligned_table(rows);
  if (std::any_of(report.rows.begin(), report.rows.end(),
                  [&](const PlanRow& row) { return row.outlook.ram_bytes > machine; }))
    text += format_string("(*) more than this machine has (%s)\n", format_bytes(machine).c_str());
  if (report.knee > 0)
    text += format_string("knee: beyond --ram %s another 10 %% of memory buys less than 5 %% of speed\n",
                          mebibytes(report.knee).c_str());
  return text;
}

Json report_json(const PlanReport& report, const PlanOptions& options) {
  const ModelInfo& info = report.model.engine->info();
  Json rows = Json::array();
  for (const PlanRow& row : report.rows) {
    const MemoryOutlook& o = row.outlook;
    const Prediction& p = row.prediction;
    Json json = {{"name", row.name}, {"ram_bytes", o.ram_bytes}, {"fits", o.fits}};
    if (o.fits)
      json.update({{"knee", row.knee},
                   {"load_s", p.load_s},
                   {"first_token_s", p.first_token_s},
                   {"prefill_tok_s", p.prefill_tok_s},
                   {"decode_tok_s", p.decode_tok_s},
                   {"bound", p.bound},
                   {"disk_bytes_per_token", p.disk_bytes},
                   {"disk_s_per_token", p.disk_s},
                   {"arithmetic_s_per_token", p.arithmetic_s},
                   {"expert_hit_rate", info.n_experts > 0 ? Json(p.hit_rate) : Json(nullptr)},
                   {"pinned_bytes", o.pinned_bytes},
                   {"cache_bytes", o.cache_bytes},
                   {"prefill_chunk", o.prefill_chunk}});
    rows.push_back(json);
  }
  return {{"model", report.model.name},
          {"here", report.model.outline == nullptr},
          {"architecture", info.architecture},
          {"file_bytes", info.file_bytes},
          {"bytes_per_token", info.bytes_per_token},
          {"context", report.model.engine->n_ctx()},
          {"prompt_tokens", options.workload.prompt_tokens},
          {"routing", options.routing},
          {"hardware",
           {{"measured_at", report.machine.measured_at},
            {"quick", report.machine.quick},
            {"disk", report.machine.disk_facts.path}}},
          {"minimum_ram_bytes", report.all.smallest_ram},
          {"resident_ram_bytes", report.all.comfortable_ram},
          {"knee_ram_bytes", report.knee > 0 ? Json(report.knee) : Json(nullptr)},
          {"budgets", rows}};
}

int plan(PlanOptions options) {
  catch_interrupts();
  const std::optional<Routing> routing = parse_routing(options.routing);
  if (!routing)
    throw UsageError("plan: --routing " + printable(options.routing) +
                     ": write typical, uniform or zipf:A, A from 0 to 8");
  options.workload.routing = *routing;
  PlanReport report;
  report.model = open_planned(options.engine);
  for (const std::string& warning : report.model.engine->warnings()) print_warning(warning);
  report.machine = hardware_for(report.model.file);
  if (!report.model.file.empty() &&
      look_at_disk(report.model.file).device != report.machine.disk_facts.device)
    print_warning(
        format_string("the model lies on another disk than the one that was measured; `sluice doctor "
                      "--path %s` measures it",
                      printable(std::filesystem::path(report.model.file).parent_path().string()).c_str()));
  report.all = report.model.engine->outlook(UINT64_MAX / 2);
  if (options.ram.empty() && options.weights.empty()) {
    add_default_rows(report, options);
  } else {
    add_given_rows(report, options);
  }
  write_stdout(options.json
                   ? report_json(report, options).dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                   : report_text(report, options));
  return kExitOk;
}

}  // namespace

Action define_plan(Arguments& args) {
  auto options = std::make_shared<PlanOptions>();
  add_model_argument(args, options->engine.model);
  args.option("--ram SIZE,SIZE", options->ram,
              "budgets to plan for: 2G,50%,auto; by default from the least to all")
      .separated()
      .size("auto");
  args.option("--weights SIZE,SIZE", options->weights, "bounds on the weights alone: 25%,50%,min")
      .separated()
      .size("min");
  args.option("--ctx N", options->engine.n_ctx, "context in tokens; 0: as trained, at most 4096")
      .range(0, 1 << 24);
  args.option("-p,--prompt N", options->workload.prompt_tokens, "tokens of the prompt")
      .range(1, 1 << 20)
      .show_default();
  args.option("--routing KIND", options->routing,
              "which experts are chosen: typical of text, uniform, or zipf:A, the one of rank r as often as "
              "1 / r^A")
      .show_default();
  args.flag("--json", options->json, "print one JSON object");
  args.footer(R"(
examples:
  sluice plan model.gguf
  sluice plan model.gguf --ram 2G,4G,auto --ctx 8192
  sluice plan Qwen/Qwen3-30B-A3B-Instruct-2507          from the catalogue, without the file
  sluice plan "Llama 3.3 70B Instruct:q8_0" --json

load: reading what stays in memory, with nothing of it in the page cache. first token: from the start, with the
prompt. bound by: the SSD, memory, or arithmetic, whichever takes longest. The knee is the budget beyond which
another 10 % of memory buys less than 5 % of speed. No weights are read; how the budget is divided is what `run`
would do, and the speeds are predicted from what `sluice doctor` measured. `sluice bench` measures them.)");
  return [options] { return plan(*options); };
}

}  // namespace sluice
