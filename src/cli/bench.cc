// sluice bench: measured speed beside measured peaks of the machine.
//
// The limit of a pass is max(bytes that must come from the SSD / its bandwidth, bytes that must be read from
// memory / its bandwidth, operations / peak). What must come from the SSD follows from the budget: dense
// weights that do not fit, and the experts that even the best possible eviction (Belady's, on the routes that
// were really taken) would have had to read again.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/units.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/peaks.h"
#include "cli/report.h"
#include "cli/verbs.h"
#include "engine/sampler.h"
#include "format/checkpoint.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

struct BenchOptions {
  EngineOptions engine;
  int64_t n_prompt = 256;
  int64_t n_decode = 64;
  int repeats = 5;
  bool json = false;
};

// Several measurements of one thing.
struct Spread {
  std::vector<double> values;

  void add(double value) { values.insert(std::upper_bound(values.begin(), values.end(), value), value); }
  double median() const {
    const size_t n = values.size();
    return n == 0 ? 0 : (values[(n - 1) / 2] + values[n / 2]) / 2;
  }
  double low() const { return values.empty() ? 0 : values.front(); }
  double high() const { return values.empty() ? 0 : values.back(); }
  Json json() const { return {{"median", median()}, {"min", low()}, {"max", high()}, {"n", values.size()}}; }
};

using Trace = std::vector<uint64_t>;  // experts in the order in which they were asked for, layer << 32 | id

struct Measured {
  Spread prefill_tok_s, decode_tok_s;
  Spread prefill_pass_s, decode_pass_s;  // seconds of one whole prompt, of one token
  double disk_bytes_per_token = 0;       // counted while decoding
  double stall_s_per_token = 0;
  uint64_t hits = 0, misses = 0;
  Trace trace;  // of the last repetition's decoding
};

struct Limit {
  double disk_s = 0, memory_s = 0, compute_s = 0;
  double seconds() const { return std::max({disk_s, memory_s, compute_s}); }
  const char* bound() const {
    if (seconds() == disk_s && disk_s > 0) return "ssd";
    return seconds() == memory_s ? "memory" : "compute";
  }
};

// How many accesses miss when always the one that is needed last is given up, the first fill for free.
uint64_t best_possible_misses(const Trace& trace, size_t n_slots) {
  if (n_slots == 0) return trace.size();
  std::vector<size_t> next(trace.size());
  std::map<uint64_t, size_t> seen;
  for (size_t i = trace.size(); i-- > 0;) {
    const auto found = seen.find(trace[i]);
    next[i] = found == seen.end() ? trace.size() + i : found->second;
    seen[trace[i]] = i;
  }
  std::map<uint64_t, size_t> held;                // expert: its next use
  std::set<std::pair<size_t, uint64_t>> by_next;  // the same, ordered
  uint64_t misses = 0;
  for (size_t i = 0; i < trace.size(); ++i) {
    const auto found = held.find(trace[i]);
    if (found != held.end()) {
      by_next.erase({found->second, trace[i]});
    } else if (held.size() < n_slots) {
      held[trace[i]] = 0;
    } else {
      ++misses;
      const auto last = std::prev(by_next.end());
      if (last->first < next[i]) continue;  // needed later than all that is held: read and dropped
      held.erase(last->second);
      by_next.erase(last);
    }
    held[trace[i]] = next[i];
    by_next.insert({next[i], trace[i]});
  }
  return misses;
}

std::vector<int32_t> random_prompt(int64_t n, int64_t vocab) {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(counter_random(1, i) * static_cast<double>(vocab));
  return ids;
}

// Prefills and decodes `repeats` times after one round that only warms up. Nothing if interrupted.
Measured measure(Engine& engine, const BenchOptions& options) {
  Measured measured;
  const std::vector<int32_t> prompt = random_prompt(options.n_prompt, engine.info().vocab);
  GenerateOptions generate;
  generate.sampler.temperature = 0;
  generate.ignore_eos = true;
  generate.max_tokens = options.n_decode + 1;  // the first one comes out of the prompt
  const std::unique_ptr<Session> session = engine.new_session();
  Session* const sessions[] = {session.get()};
  uint64_t n_decoded = 0;
  uint64_t disk_bytes = 0;
  double stall = 0;
  ProgressBar bar("measuring", "rounds");
  for (int round = 0; round <= options.repeats && !interrupted(); ++round) {
    session->truncate(0);
    session->append(prompt, generate);
    const EngineStats start = engine.stats();
    while (session->generated().empty() && !interrupted()) engine.step(sessions);
    measured.trace.clear();
    engine.set_route_sink(
        [&measured](int64_t layer, int64_t, std::span<const int32_t> experts, std::span<const float>) {
          for (const int32_t expert : experts)
            measured.trace.push_back(static_cast<uint64_t>(layer) << 32 | static_cast<uint32_t>(expert));
        });
    const EngineStats middle = engine.stats();
    while (session->finished() == FinishReason::kNone && !interrupted()) engine.step(sessions);
    const EngineStats end = engine.stats();
    engine.set_route_sink({});
    bar.update(static_cast<uint64_t>(round), static_cast<uint64_t>(options.repeats));
    if (round == 0 || interrupted()) continue;
    const double prefill_s = middle.prefill_seconds - start.prefill_seconds;
    const double decode_s = end.decode_seconds - middle.decode_seconds;
    const uint64_t n = end.decode_tokens - middle.decode_tokens;
    measured.prefill_tok_s.add(per_second(prompt.size(), prefill_s));
    measured.prefill_pass_s.add(prefill_s);
    measured.decode_tok_s.add(per_second(n, decode_s));
    measured.decode_pass_s.add(decode_s / static_cast<double>(n));
    measured.hits += end.hits - middle.hits;
    measured.misses += end.misses - middle.misses;
    disk_bytes += end.bytes_read - middle.bytes_read;
    stall += end.stall_seconds - middle.stall_seconds;
    n_decoded += n;
  }
  if (n_decoded > 0) {
    measured.disk_bytes_per_token = static_cast<double>(disk_bytes) / static_cast<double>(n_decoded);
    measured.stall_s_per_token = stall / static_cast<double>(n_decoded);
  }
  return measured;
}

struct Peaks {
  double memory = 0, disk = 0, int8 = 0;  // bytes/s, bytes/s (0: not measured), operations/s
};

// Bytes that the budget forces to come from the SSD for one decoded token.
double forced_disk_bytes(const ModelInfo& info, uint64_t weight_bytes, const Trace& trace, int64_t n_tokens) {
  const uint64_t experts_per_token =
      info.expert_bytes == 0 ? 0 : trace.size() / static_cast<uint64_t>(std::max<int64_t>(n_tokens, 1));
  const uint64_t dense = info.bytes_per_token - experts_per_token * info.expert_bytes;
  if (weight_bytes < dense)
    return static_cast<double>(dense - weight_bytes + experts_per_token * info.expert_bytes);
  if (experts_per_token == 0) return 0;
  const auto n_slots = static_cast<size_t>((weight_bytes - dense) / info.expert_bytes);
  return static_cast<double>(best_possible_misses(trace, n_slots) * info.expert_bytes) /
         static_cast<double>(n_tokens);
}

Json limit_json(const Limit& limit, double measured_s) {
  return {{"ssd_s", limit.disk_s},        {"memory_s", limit.memory_s},
          {"compute_s", limit.compute_s}, {"bound", limit.bound()},
          {"measured_s", measured_s},     {"fraction", measured_s > 0 ? limit.seconds() / measured_s : 0}};
}

int bench(const BenchOptions& options) {
  catch_interrupts();
  std::unique_ptr<Engine> engine = open_engine(options.engine);
  const int64_t n_tokens = options.n_prompt + options.n_decode + 1;
  if (n_tokens > engine->n_ctx())
    throw_error(ErrorKind::kInvalid,
                "%lld tokens do not fit the context of %lld: try --prompt %lld or a larger --ctx",
                static_cast<long long>(n_tokens), static_cast<long long>(engine->n_ctx()),
                static_cast<long long>(std::max<int64_t>(1, engine->n_ctx() - options.n_decode - 1)));
  load_engine(*engine, n_tokens);
  const Measured measured = measure(*engine, options);
  if (interrupted()) return kExitInterrupted;
  const EngineStats stats = engine->stats();
  const ModelInfo info = engine->info();
  const MemoryOutlook outlook = engine->outlook(stats.budget_bytes, n_tokens);
  const std::vector<std::string> files = Checkpoint::open(info.path)->files();
  engine.reset();  // the peaks need memory too

  Peaks peaks;
  peaks.memory =
      measure_memory_bandwidth(stats.n_threads, std::min(uint64_t{512} << 20, stats.budget_bytes / 2));
  peaks.int8 = measure_int8_peak(stats.n_threads, stats.kernels);
  const bool streams = stats.bytes_read > 0;
  if (streams) peaks.disk = measure_disk_bandwidth(files);

  const uint64_t weight_bytes = stats.pinned_bytes + stats.cache_bytes + stats.ring_bytes;
  const double forced =
      forced_disk_bytes(info, std::max(weight_bytes, outlook.weight_bytes), measured.trace, options.n_decode);
  const double mean_context =
      static_cast<double>(options.n_prompt) + static_cast<double>(options.n_decode) / 2;
  const double kv_per_token = mean_context * static_cast<double>(info.kv_bytes_per_token);
  const double operations = 2.0 * static_cast<double>(info.n_active_parameters);
  Limit decode;
  decode.disk_s = peaks.disk > 0 ? forced / peaks.disk : 0;
  decode.memory_s = (static_cast<double>(info.bytes_per_token) + kv_per_token) / peaks.memory;
  decode.compute_s = operations / peaks.int8;
  Limit prefill;  // of the whole prompt; every pass reads at least what one token reads
  const int64_t chunk = std::max<int64_t>(outlook.prefill_chunk, 1);
  const int64_t whole_passes = (options.n_prompt + chunk - 1) / chunk;
  const auto n_passes = static_cast<double>(whole_passes);
  prefill.disk_s = peaks.disk > 0 ? n_passes * forced / peaks.disk : 0;
  prefill.memory_s = n_passes * static_cast<double>(info.bytes_per_token) / peaks.memory;
  prefill.compute_s = static_cast<double>(options.n_prompt) * operations / peaks.int8;
  const double decode_s = measured.decode_pass_s.median();
  const double prefill_s = measured.prefill_pass_s.median();

  if (options.json) {
    const Json report = {{"model", info.path},
                         {"kernels", stats.kernels},
                         {"threads", stats.n_threads},
                         {"io", stats.io},
                         {"budget_bytes", stats.budget_bytes},
                         {"peak_rss_bytes", stats.peak_resident_bytes},
                         {"decode_tok_s", measured.decode_tok_s.json()},
                         {"prefill_tok_s", measured.prefill_tok_s.json()},
                         {"prompt_tokens", options.n_prompt},
                         {"decode_tokens", options.n_decode},
                         {"bytes_per_token",
                          {{"memory_weights", info.bytes_per_token},
                           {"memory_kv", kv_per_token},
                           {"ssd_counted", measured.disk_bytes_per_token},
                           {"ssd_forced_by_budget", forced}}},
                         {"stall_s_per_token", measured.stall_s_per_token},
                         {"cache", {{"hits", measured.hits}, {"misses", measured.misses}}},
                         {"peaks",
                          {{"memory_bytes_s", peaks.memory},
                           {"ssd_bytes_s", streams && peaks.disk > 0 ? Json(peaks.disk) : Json()},
                           {"int8_operations_s", peaks.int8}}},
                         {"decode_limit", limit_json(decode, decode_s)},
                         {"prefill_limit", limit_json(prefill, prefill_s)}};
    write_stdout(report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    return kExitOk;
  }
  const auto speed = [&](const char* label, const Spread& s, int64_t n) {
    return format_string("%-9s %9.1f tok/s   (%.1f to %.1f, %zu rounds of %lld tokens)\n", label, s.median(),
                         s.low(), s.high(), s.values.size(), static_cast<long long>(n));
  };
  const auto fraction = [](const char* label, const Limit& limit, double measured_s) {
    return format_string("%-9s limit %s, measured %s: %.2f of the limit (%s)\n", label,
                         format_seconds(limit.seconds()).c_str(), format_seconds(measured_s).c_str(),
                         measured_s > 0 ? limit.seconds() / measured_s : 0, limit.bound());
  };
  const auto bytes = [](double n) { return format_bytes(static_cast<uint64_t>(n)); };
  std::string text = speed("decode", measured.decode_tok_s, options.n_decode) +
                     speed("prefill", measured.prefill_tok_s, options.n_prompt);
  text += format_string(
      "per token %s of weights and %s of KV cache from memory, %s from the SSD (counted; the "
      "budget forces %s)\n",
      format_bytes(info.bytes_per_token).c_str(), bytes(kv_per_token).c_str(),
      bytes(measured.disk_bytes_per_token).c_str(), bytes(forced).c_str());
  text += format_string(
      "peaks     memory %s/s, SSD %s, int8 %.0f G operations/s (%s, %d threads; measured now)\n",
      bytes(peaks.memory).c_str(), peaks.disk > 0 ? (bytes(peaks.disk) + "/s").c_str() : "not measured",
      peaks.int8 * 1e-9, stats.kernels.c_str(), stats.n_threads);
  text += "reads     " + stats.io + "\n";
  text += fraction("decode", decode, decode_s) + fraction("prefill", prefill, prefill_s);
  write_stdout(text);
  return kExitOk;
}

}  // namespace

Action define_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  add_model_flags(app, options->engine);
  app.add_option("-p,--prompt", options->n_prompt, "tokens to read")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20).description(""))
      ->capture_default_str();
  app.add_option("-n,--max-tokens", options->n_decode, "tokens to make")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 20).description(""))
      ->capture_default_str();
  app.add_option("-r,--repeat", options->repeats, "rounds, after one that only warms up")
      ->type_name("N")
      ->check(CLI::Range(1, 1000).description(""))
      ->capture_default_str();
  app.add_flag("--json", options->json, "print one JSON object");
  app.footer(R"(
examples:
  sluice bench model.gguf
  sluice bench model.gguf --ram 2G -n 32 --json

The prompt is random tokens. Memory bandwidth, the SSD's (where weights are streamed) and the int8 peak of
the kernels are measured in the same run; the fraction of the limit is limit time / measured time.)");
  return [options] { return bench(*options); };
}

}  // namespace sluice
