// sluice bench: measured speed beside measured peaks of the machine, and beside another engine.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/align.h"
#include "base/error.h"
#include "cli/arguments.h"
#include "cli/bench_limit.h"
#include "cli/bench_measure.h"
#include "cli/bench_peer.h"
#include "cli/bench_report.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/verbs.h"
#include "format/checkpoint.h"
#include "plan/disk.h"
#include "platform/clock.h"
#include "platform/memory_info.h"

namespace sluice {
namespace {

constexpr int64_t kDefaultPrompt = 256;
constexpr int64_t kDefaultDecode = 64;

struct BenchOptions {
  EngineOptions engine;
  std::optional<int64_t> n_prompt, n_decode;
  std::vector<int64_t> contexts;
  std::vector<int64_t> batches;
  std::string peer;
  std::string timeline_file;
  int repeats = 5;
  bool profile = false;
  bool json = false;
};

// What is run, and how much room it needs.
struct Plan {
  std::vector<BenchTest> tests;  // ascending in depth
  std::vector<int64_t> batches;  // ascending, 1 among them; empty: none
  BenchTest batch_test;
  int64_t n_sequences = 1;
  int64_t longest = 0;  // tokens of the longest sequence
  int64_t reserve = 0;  // tokens per sequence, so that all of them together have room for either part
};

std::vector<BenchTest> own_tests(const BenchOptions& options) {
  const int64_t n_prompt = options.n_prompt.value_or(kDefaultPrompt);
  const int64_t n_decode = options.n_decode.value_or(kDefaultDecode);
  if (options.contexts.empty())
    return {{.prefill = true, .tokens = n_prompt}, {.tokens = n_decode, .depth = n_prompt}};
  std::vector<BenchTest> tests;
  for (const int64_t depth : std::set<int64_t>(options.contexts.begin(), options.contexts.end())) {
    tests.push_back({.prefill = true, .tokens = n_prompt, .depth = depth});
    tests.push_back({.tokens = n_decode, .depth = depth});
  }
  return tests;
}

// The peer's tests, of which flags that were given pick some.
std::vector<BenchTest> peers_tests(const BenchOptions& options, const PeerRun& peer) {
  std::vector<BenchTest> tests;
  std::string names;
  for (const PeerTest& one : peer.tests) {
    const BenchTest& test = one.test;
    names += (names.empty() ? "" : ", ") + test.name();
    const std::optional<int64_t>& wanted = test.prefill ? options.n_prompt : options.n_decode;
    const std::vector<int64_t>& depths = options.contexts;
    if (wanted && *wanted != test.tokens) continue;
    if (!depths.empty() && std::find(depths.begin(), depths.end(), test.depth) == depths.end()) continue;
    if (std::find(tests.begin(), tests.end(), test) == tests.end()) tests.push_back(test);
  }
  if (tests.empty())
    throw_error(ErrorKind::kInvalid,
                "--peer: the peer ran %s; none of that is what -p, -n or --contexts ask for",
                names.empty() ? "nothing that can be compared" : names.c_str());
  std::stable_sort(tests.begin(), tests.end(),
                   [](const BenchTest& a, const BenchTest& b) { return a.depth < b.depth; });
  return tests;
}

Plan make_plan(const BenchOptions& options, std::vector<BenchTest> tests) {
  Plan plan = {.tests = std::move(tests)};
  for (const BenchTest& test : plan.tests) plan.longest = std::max(plan.longest, test.end());
  plan.reserve = plan.longest;
  if (options.batches.empty()) return plan;
  std::set<int64_t> batches(options.batches.begin(), options.batches.end());
  batches.insert(1);  // what the others are compared with
  plan.batches.assign(batches.begin(), batches.end());
  plan.n_sequences = plan.batches.back();
  const auto decode =
      std::find_if(plan.tests.begin(), plan.tests.end(), [](const BenchTest& test) { return !test.prefill; });
  plan.batch_test = decode != plan.tests.end() ? *decode : BenchTest{.tokens = kDefaultDecode};
  plan.longest = std::max(plan.longest, plan.batch_test.end());
  // The KV cache is one account: while a single sequence is measured it may use the room of all.
  const auto share = static_cast<int64_t>(
      div_up(static_cast<uint64_t>(plan.longest), static_cast<uint64_t>(plan.n_sequences)));
  plan.reserve = std::max(plan.batch_test.end(), share);
  return plan;
}

// All rounds of one depth before the next, so that a long context is filled once.
void measure(Workload& workload, const BenchOptions& options, std::vector<Measured>& tests) {
  ProgressBar bar("measuring", "rounds");
  uint64_t n_done = 0;
  for (size_t begin = 0, end = 0; begin < tests.size(); begin = end) {
    while (end < tests.size() && tests[end].test.depth == tests[begin].test.depth) ++end;
    for (int round = 0; round <= options.repeats; ++round) {
      for (size_t i = begin; i < end; ++i) {
        Sample sample = workload.run(tests[i].test);
        if (round > 0) tests[i].add(std::move(sample));  // the first one warms up
        bar.update(++n_done, tests.size() * static_cast<uint64_t>(options.repeats + 1));
      }
    }
  }
}

const PeerTest& peers_part(const PeerRun& run, const BenchTest& test) {
  for (const PeerTest& one : run.tests)
    if (one.test == test) return one;
  throw_error(ErrorKind::kInvalid, "--peer: the command ran %s the first time and not again",
              test.name().c_str());
}

double median_of(const std::vector<double>& values) {
  Spread spread;
  for (const double value : values) spread.add(value);
  return spread.median();
}

// Rounds of both, who begins alternating. A round of ours has as many repetitions as the peer's has.
std::vector<Comparison> measure_with_peer(Workload& workload, const BenchOptions& options,
                                          const PeerRun& warm_up, std::vector<Measured>& tests) {
  std::vector<Comparison> comparisons;
  for (const Measured& measured : tests) comparisons.push_back({.test = measured.test, .rounds = {}});
  ProgressBar bar("measuring beside the peer", "rounds");
  for (int round = 0; round <= options.repeats; ++round) {
    const bool peer_first = round % 2 == 0;
    PeerRun peer;
    if (round > 0 && peer_first) peer = run_peer(options.peer);
    std::vector<double> ours;
    for (Measured& measured : tests) {
      std::vector<double> speeds;
      for (size_t i = 0; i < peers_part(warm_up, measured.test).tok_s.size(); ++i) {
        Sample sample = workload.run(measured.test);
        speeds.push_back(static_cast<double>(sample.n_tokens) / sample.seconds);
        if (round == 0) break;  // our warm-up
        measured.add(std::move(sample));
      }
      ours.push_back(median_of(speeds));
    }
    if (round > 0 && !peer_first) peer = run_peer(options.peer);
    bar.update(static_cast<uint64_t>(round), static_cast<uint64_t>(options.repeats));
    if (round == 0) continue;
    for (size_t i = 0; i < tests.size(); ++i)
      comparisons[i].rounds.push_back(
          {peer_first, ours[i], median_of(peers_part(peer, tests[i].test).tok_s)});
  }
  return comparisons;
}

// Every size in every round, so that their ratios are of the same minute.
void measure_batches(Workload& workload, const BenchOptions& options, const Plan& plan, BenchReport& report) {
  for (const int64_t n : plan.batches) report.batches.push_back({.test = plan.batch_test, .n_sequences = n});
  report.batch_ratios.resize(plan.batches.size());
  ProgressBar bar("measuring batches", "rounds");
  for (int round = 0; round <= options.repeats; ++round) {
    double one = 0;
    for (size_t i = 0; i < plan.batches.size(); ++i) {
      Sample sample = workload.run(plan.batch_test, plan.batches[i]);
      const double speed = static_cast<double>(sample.n_tokens) / sample.seconds;
      if (i == 0) one = speed;
      if (round == 0) continue;
      report.batch_ratios[i].add(speed / one);
      report.batches[i].add(std::move(sample));
    }
    bar.update(static_cast<uint64_t>(round), static_cast<uint64_t>(options.repeats));
  }
}

std::unique_ptr<Engine> open_for(const BenchOptions& options, const Plan& plan) {
  EngineOptions engine_options = options.engine;
  ask_for_timeline(options.timeline_file, engine_options);
  engine_options.n_sequences = plan.n_sequences;
  if (engine_options.n_ctx == 0) engine_options.n_ctx = plan.longest;
  std::unique_ptr<Engine> engine = open_engine(engine_options);
  if (plan.longest > engine->n_ctx())
    throw_error(ErrorKind::kInvalid,
                "%lld tokens do not fit the context of %lld: try --ctx %lld or none, or less",
                static_cast<long long>(plan.longest), static_cast<long long>(engine->n_ctx()),
                static_cast<long long>(plan.longest));
  return engine;
}

void warn_of_threads(const PeerRun& peer, int n_threads) {
  for (const PeerTest& test : peer.tests) {
    if (test.n_threads == 0 || test.n_threads == n_threads) continue;
    print_warning(format_string("the peer runs %lld threads, sluice %d: give both the same with -t",
                                static_cast<long long>(test.n_threads), n_threads));
    return;
  }
}

void measure_peaks(BenchReport& report) {
  const EngineStats& stats = report.stats;
  const uint64_t room = std::min(stats.budget_bytes, memory_info().spare()) / 2;
  report.peaks.reads = measure_reads(stats.n_threads, read_buffer_bytes(room));
  report.peaks.arithmetic = measure_arithmetic(stats.n_threads, stats.kernels);
  if (stats.bytes_read > 0)
    report.peaks.disk = measure_disk_bandwidth(Checkpoint::open(report.info.path)->files());
}

int bench(const BenchOptions& options) {
  catch_interrupts();
  PeerRun peer;
  std::vector<BenchTest> tests;
  if (options.peer.empty()) {
    tests = own_tests(options);
  } else {
    Engine::open(options.engine);  // a model that cannot be run is told of before the peer takes its time
    peer = run_peer(options.peer);
    tests = peers_tests(options, peer);
  }
  const Plan plan = make_plan(options, std::move(tests));

  BenchReport report;
  const double start = monotonic_seconds();
  std::unique_ptr<Engine> engine = open_for(options, plan);
  report.open_s = monotonic_seconds() - start;
  load_engine(*engine, plan.reserve);
  {
    Workload workload(*engine, plan.n_sequences);
    report.first_token_s = workload.first_token();
    for (const BenchTest& test : plan.tests) report.tests.push_back({.test = test});
    if (options.peer.empty()) {
      measure(workload, options, report.tests);
    } else {
      warn_of_threads(peer, engine->stats().n_threads);
      report.peer_command = options.peer;
      report.comparisons = measure_with_peer(workload, options, peer, report.tests);
      report.left_out = peer.left_out;
      for (const PeerTest& test : peer.tests)
        if (std::find(plan.tests.begin(), plan.tests.end(), test.test) == plan.tests.end())
          report.left_out.push_back(test.test.name());
    }
    if (!plan.batches.empty()) measure_batches(workload, options, plan, report);
    report.peak_kv_bytes = workload.peak_kv_bytes();
  }
  report.info = engine->info();
  report.stats = engine->stats();
  report.profile = options.profile;
  report.f32_activations = options.engine.activations == ActivationFormat::kF32;
  const EngineStats& stats = report.stats;
  report.weight_room = std::max(stats.pinned_bytes + stats.cache_bytes + stats.ring_bytes,
                                engine->outlook(stats.budget_bytes, plan.reserve).weight_bytes);
  if (!options.timeline_file.empty()) engine->write_timeline(options.timeline_file);
  engine.reset();  // the peaks need memory too
  measure_peaks(report);
  if (interrupted()) return kExitInterrupted;

  write_stdout(
      options.json
          ? bench_json(report).dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n"
          : bench_text(report));
  return kExitOk;
}

}  // namespace

Action define_bench(Arguments& args) {
  auto options = std::make_shared<BenchOptions>();
  add_model_flags(args, options->engine);
  args.option("-p,--prompt N", options->n_prompt, "tokens to read at once; by default 256").range(1, 1 << 20);
  args.option("-n,--max-tokens N", options->n_decode, "tokens to make one by one; by default 64")
      .range(1, 1 << 20);
  args.option("--contexts N,N", options->contexts,
              "depths to measure at; by default 0 for the prompt, and its end for new tokens")
      .separated()
      .range(0, 1 << 24);
  args.option("--batch B,B", options->batches, "make tokens for B sequences at once; 1 is always measured")
      .separated()
      .range(1, 4096);
  args.option("--peer COMMAND", options->peer,
              "a command that prints llama-bench's JSON, run in turns with ours");
  args.option("-r,--repeat N", options->repeats, "rounds, after one that only warms up")
      .range(1, 1000)
      .show_default();
  args.flag("--profile", options->profile, "where the time of each test went, by operator");
  add_timeline_flag(args, options->timeline_file);
  args.flag("--json", options->json, "print one JSON object");
  args.footer(R"(
examples:
  sluice bench model.gguf
  sluice bench model.gguf --ram 2G -n 32 --json
  sluice bench model.gguf --contexts 0,8192,32768       how speed falls with the context
  sluice bench moe.gguf --batch 1,4,8                   several sequences at once
  sluice bench model.gguf -t 2 --peer 'llama-bench -m model.gguf -p 512 -n 64 -t 2 -r 1 -o json'

All tokens are random, others in each round; a long context is really read, once, and cut back after each
round. The limit of a test is what this machine's memory, SSD and arithmetic allow, each measured in the same
run; "of the limit" is limit time / measured time. GB/s counts the weights and the KV cache that a step must
read, GOP/s a multiply and an add as two. "of N experts": distinct ones that a step touches in a layer.

--peer goes through /bin/sh. Its first run and our first round warm up; then each round has one run of both,
who begins alternates, and the ratios are of pairs. The tests are the peer's; -p, -n and --contexts pick from
them. While the peer runs, our threads sleep, but our weights stay in memory: leave room for both.

What the columns mean in full: docs/performance.md.)");
  return [options] { return bench(*options); };
}

}  // namespace sluice
