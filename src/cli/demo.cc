// sluice demo: what Sluice does, shown on the small model that comes with it. Everything told is counted in
// the run that tells it.
#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/monitor.h"
#include "cli/table.h"
#include "cli/verbs.h"

namespace sluice {
namespace {

struct DemoOptions {
  std::string what;
  std::string weights = "50%";
  std::string seed = "1";
  int64_t n_tokens = 192;
  double pace = 24;
  bool json = false;
};

constexpr const char* kOffers =
    "sluice demo warmup    the expert cache fills, and what it makes of a change of topic\n";

constexpr const char* kDemoExamples = R"(
examples:
  sluice demo                      what there is
  sluice demo warmup               full screen on a terminal
  sluice demo warmup --weights 40% --json

warmup starts with an empty cache, in which the demo model's experts do not all fit, and writes code, then a
novel, then arithmetic. Nothing is read before it is asked for, and prompts are read token by token, so that a
hit is an expert that an earlier token left in the cache. On a terminal it is held to a pace at which eyes can
follow; hits do not depend on that.)";

struct Topic {
  const char* name;
  const char* prompt;
};

// The demo model continues text: these begin what it was trained on.
constexpr std::array<Topic, 3> kTopics = {
    {{"coding", "import os\nimport re\n\nclass Reader:\n    def __init__(self, path, mode=None):\n        "},
     {"novel",
      "Prince Andrew looked at the old count with a smile of contempt. \"My dear fellow,\" said he, "},
     {"maths",
      "Question: Tom buys 5 boxes of pencils with 12 pencils each. He gives 8 pencils to each of his 4 "
      "friends. "
      "How many pencils does he have left?\nAnswer: "}}};

constexpr size_t kFirst = 16, kLast = 64;  // tokens whose hit rates are compared

// What one topic did, token by token.
struct TopicResult {
  const Topic* topic = nullptr;
  int64_t n_prompt = 0;
  std::string text;
  std::vector<MonitorPass> tokens;  // one pass each, the prompt's included

  uint64_t sum(uint64_t MonitorPass::*what) const {
    uint64_t n = 0;
    for (const MonitorPass& token : tokens) n += token.*what;
    return n;
  }
  // Of tokens [begin, end).
  double hit_rate(size_t begin, size_t end) const {
    uint64_t hits = 0, all = 0;
    for (size_t i = begin; i < std::min(end, tokens.size()); ++i) {
      hits += tokens[i].hits;
      all += tokens[i].hits + tokens[i].misses;
    }
    return all > 0 ? static_cast<double>(hits) / static_cast<double>(all) : 0;
  }
  double first_rate() const { return hit_rate(0, kFirst); }
  double last_rate() const { return hit_rate(tokens.size() - std::min(tokens.size(), kLast), tokens.size()); }
};

TopicResult write_topic(Engine& engine, const Topic& topic, const DemoOptions& options, Monitor* monitor) {
  SamplingFlags flags;
  flags.seed = options.seed;
  flags.temperature = 0.7F;
  flags.ignore_eos = true;
  const std::vector<int32_t> ids = engine.tokenize(topic.prompt);
  // The last one is written and not read again, so that it costs no pass.
  flags.max_tokens = std::max<int64_t>(1, options.n_tokens - static_cast<int64_t>(ids.size()) + 1);
  TopicResult result;
  result.topic = &topic;
  result.n_prompt = static_cast<int64_t>(ids.size());
  const std::unique_ptr<Session> session = engine.new_session();
  session->append(ids, generate_options(flags, engine.default_sampler()));
  if (monitor) {
    monitor->mark(topic.name);
    monitor->update(*session, (engine.stats().decode_tokens > 0 ? "\n\n" : "") + std::string(topic.prompt));
  }
  Session* const sessions[] = {session.get()};
  const auto begin = std::chrono::steady_clock::now();
  while (session->finished() == FinishReason::kNone && !interrupted()) {
    engine.step(sessions);
    result.tokens.push_back(*engine.monitor(0).last());
    const std::string piece = session->take_text();
    result.text += piece;
    if (!monitor) continue;
    monitor->update(*session, piece);
    std::this_thread::sleep_until(
        begin + std::chrono::duration<double>(static_cast<double>(result.tokens.size()) / options.pace));
  }
  return result;
}

nlohmann::ordered_json to_json(const TopicResult& result) {
  nlohmann::ordered_json hits = nlohmann::ordered_json::array(), misses = hits;
  for (const MonitorPass& token : result.tokens) {
    hits.push_back(token.hits);
    misses.push_back(token.misses);
  }
  return {{"topic", result.topic->name},
          {"prompt", result.topic->prompt},
          {"text", result.text},
          {"prompt_tokens", result.n_prompt},
          {"tokens", result.tokens.size()},
          {"hit_rate_first_16", result.first_rate()},
          {"hit_rate_last_64", result.last_rate()},
          {"hits", result.sum(&MonitorPass::hits)},
          {"misses", result.sum(&MonitorPass::misses)},
          {"evictions", result.sum(&MonitorPass::evictions)},
          {"bytes_read", result.sum(&MonitorPass::bytes_read)},
          {"hits_of_tokens", hits},
          {"misses_of_tokens", misses}};
}

std::string table(const std::vector<TopicResult>& results, int64_t n_tokens) {
  const auto percent = [](double share) { return format_string("%.0f %%", 100 * share); };
  std::vector<TableRow> rows = {
      {"topic", "tokens", "first 16", "last 64", "misses", "evictions", "read", "hit rate over time"}};
  const auto each = static_cast<size_t>(std::max<int64_t>(4, (n_tokens + 31) / 32));  // tokens a block
  for (const TopicResult& result : results) {
    std::string graph;
    for (size_t i = 0; i < result.tokens.size(); i += each)
      graph += eighth_block(std::max(1e-9, result.hit_rate(i, i + each)));
    rows.push_back({result.topic->name, std::to_string(result.tokens.size()), percent(result.first_rate()),
                    percent(result.last_rate()), std::to_string(result.sum(&MonitorPass::misses)),
                    std::to_string(result.sum(&MonitorPass::evictions)),
                    format_bytes(result.sum(&MonitorPass::bytes_read)), graph});
  }
  return aligned_table(rows);
}

int warm_up(const DemoOptions& options) {
  catch_interrupts();
  EngineOptions engine_options;
  engine_options.model = "demo";
  engine_options.weights = options.weights;
  engine_options.prefill_chunk = 1;
  engine_options.prefetch = "off";
  engine_options.governor = false;  // what is given up is given up for other experts
  engine_options.monitor = true;
  const std::unique_ptr<Engine> engine = open_engine(engine_options);
  if (options.n_tokens >= engine->n_ctx())
    throw_error(ErrorKind::kInvalid, "-n %lld: the demo model has a context of %lld tokens",
                static_cast<long long>(options.n_tokens), static_cast<long long>(engine->n_ctx()));
  load_engine(*engine, options.n_tokens + 1);

  std::optional<Monitor> monitor;
  if (!options.json && Monitor::can_be_shown()) monitor.emplace(*engine);
  std::vector<TopicResult> results;
  for (const Topic& topic : kTopics) {
    if (interrupted()) break;
    results.push_back(write_topic(*engine, topic, options, monitor ? &*monitor : nullptr));
  }
  size_t n_here = 0, n_experts = 0;
  const MonitorSnapshot end = engine->monitor(0);
  for (const MonitorLayer& layer : end.layers) {
    n_experts += layer.parts.size();
    n_here += static_cast<size_t>(std::count_if(layer.parts.begin(), layer.parts.end(),
                                                [](const MonitorPart& part) { return part.is_here; }));
  }
  monitor.reset();

  if (options.json) {
    nlohmann::ordered_json topics = nlohmann::ordered_json::array();
    for (const TopicResult& result : results) topics.push_back(to_json(result));
    const nlohmann::ordered_json report = {{"weights", options.weights},
                                           {"experts", n_experts},
                                           {"experts_in_memory", n_here},
                                           {"cache_bytes", end.cache_bytes},
                                           {"topics", topics}};
    write_stdout(report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  } else {
    write_stdout(
        format_string("The demo model with --weights %s: %zu of %zu experts in memory at the end, none at "
                      "the start.\nHit rates of each topic's first 16 tokens and last 64:\n\n",
                      options.weights.c_str(), n_here, n_experts));
    write_stdout(table(results, options.n_tokens));
  }
  return interrupted() ? kExitInterrupted : kExitOk;
}

int demo(const DemoOptions& options) {
  if (options.what.empty()) {
    write_stdout(kOffers);
    return kExitOk;
  }
  return warm_up(options);
}

}  // namespace

Action define_demo(Arguments& args) {
  auto options = std::make_shared<DemoOptions>();
  args.positional("WHAT", options->what, "warmup; without it, a list").one_of({"warmup"});
  args.option("--weights SIZE", options->weights, "bound on the weights: 50% of them, 4M, min")
      .size("min")
      .show_default();
  args.option("-n,--max-tokens N", options->n_tokens, "tokens of each topic, its prompt included")
      .range(64, 4096)
      .show_default();
  args.option("--pace RATE", options->pace, "tokens a second at most, on a terminal")
      .range(1.0, 1e6)
      .show_default();
  args.option("--seed N", options->seed, "a number, or random").show_default();
  args.flag("--json", options->json, "print one JSON object, with every token's hits and misses");
  args.footer(kDemoExamples);
  return [options] { return demo(*options); };
}

}  // namespace sluice
