#include "cli/model_flags.h"

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "format/json.h"
#include "platform/file.h"
#include "store/cache_policy.h"

namespace sluice {
namespace {

constexpr uint64_t kMaxTextFile = uint64_t{1} << 30;

std::pair<int32_t, float> parse_bias(const std::string& text) {
  const size_t colon = text.find_first_of(":=");
  int32_t id = -1;
  float bias = 0;
  bool good = colon != std::string::npos;
  if (good) {
    const char* const end = text.data() + text.size();
    const char* number = text.data() + colon + 1;
    if (number < end && *number == '+') ++number;
    const auto first = std::from_chars(text.data(), text.data() + colon, id);
    const auto second = std::from_chars(number, end, bias);
    good = first.ec == std::errc() && first.ptr == text.data() + colon && second.ec == std::errc() &&
           second.ptr == end && id >= 0;
  }
  if (!good)
    throw_error(ErrorKind::kInvalid, "--logit-bias %s: write ID:BIAS, for instance 13:-2.5 or 13:-inf",
                printable(text).c_str());
  return {id, bias};
}

std::string joined(std::span<const std::string_view> names) {
  std::string text;
  for (const std::string_view name : names) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

std::vector<std::string> strings(std::span<const std::string_view> names) {
  return {names.begin(), names.end()};
}

uint64_t parse_seed(const std::string& text) {
  if (text == "random") return std::random_device()() | uint64_t{std::random_device()()} << 32;
  uint64_t seed = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    throw_error(ErrorKind::kInvalid, "--seed %s: write a whole number or random", printable(text).c_str());
  return seed;
}

}  // namespace

void add_model_argument(Arguments& args, std::string& model) {
  args.positional("MODEL", model,
                  "a Hugging Face directory, a GGUF file, a name in the Hugging Face cache, or demo")
      .show_default();
}

void add_model_flags(Arguments& args, EngineOptions& options) {
  add_model_argument(args, options.model);
  Arguments memory = args.group(kMemoryAndMachine);
  memory.option("--ram SIZE", options.ram, "ceiling on the whole process: 6G, 512M, 50% of the machine, auto")
      .size("auto")
      .show_default();
  memory
      .option("--weights SIZE", options.weights,
              "bound on the weights alone: 4G, 40% of them, min for the least that works")
      .size("min");
  memory.option("--ctx N", options.n_ctx, "context in tokens; 0: as trained, at most 4096").range(0, 1 << 24);
  memory.option("--threads,-t N", options.n_threads, "0: the CPUs that this process may use").range(0, 1024);
  memory.option("--chunk N", options.prefill_chunk, "prompt tokens per pass; 0: chosen from the budget")
      .range(0, 65536);
  memory.choice("--kv FORMAT", options.kv,
                {{"bf16", KvFormat::kBF16},
                 {"f16", KvFormat::kF16},
                 {"f32", KvFormat::kF32},
                 {"int8", KvFormat::kInt8}},
                "format of the KV cache: f32, f16, bf16, int8; by default f16");
  memory.choice("--activations FORMAT", options.activations,
                {{"f32", ActivationFormat::kF32}, {"int8", ActivationFormat::kDefault}},
                "what quantised weights are multiplied with: int8 (default), or f32");
  memory.option("--io MODE", options.io, "how weights are read: auto, direct, buffered")
      .one_of({"auto", "direct", "buffered"})
      .show_default();
  memory.option("--ssd-limit RATE", options.ssd_limit,
                "read no faster than this, for instance 2G/s, also while loading");
  memory.option("--max-slowdown PERCENT", options.max_slowdown,
                "slow reads that nobody waits for yet while the arithmetic beside them loses more of its "
                "speed than this, for instance 5%; by default they never are");
  memory
      .option("--ssd-max-temp CELSIUS", options.ssd_max_temp,
              "read slower while the drive is warmer than this, where the system shows it")
      .range(20.0, 120.0)
      .show_default();
  memory.option(
      "--mirror DIR", options.mirrors,
      "a directory on another drive with copies of the model's files, to read from both; repeatable");
  memory
      .option("--cache-policy NAME", options.cache_policy,
              "which expert is given up: " + joined(cache_policy_names()))
      .one_of(strings(cache_policy_names()))
      .show_default();
  memory
      .option("--cache-split NAME", options.cache_split,
              "one pool of slots for all layers (shared), or divided by what they miss (measured)")
      .one_of(strings(cache_split_names()))
      .show_default();
  memory
      .option("--expert-split N", options.expert_split,
              "cache experts whole (1, default) or in halves of their rows (2), each read and given up alone")
      .range(1, 2);
  memory
      .option("--prefetch MODE", options.prefetch,
              "experts to read before they are asked for: auto (if it pays), off, study (none, but count "
              "how often each predictor is right), or what one predictor says: router, linear, shadow, "
              "cooccurrence, previous, frequency; linear:N reads at most N of a layer ahead. More than four "
              "tokens at once, as in prompts, are always predicted by router")
      .show_default();
  memory
      .option("--speculate-experts N", options.speculate_experts,
              "compute a token's N likeliest experts, where they are in memory, beside the router and use "
              "those that it confirms; 0 (default): none")
      .range(0, 256);
  memory.option("--lossy MODE", options.lossy,
                "give up exactness: topk:T leaves out experts that weigh less than T of a token's first, "
                "bias:B prefers experts in memory by B of the logits' range, skip leaves out those on disk, "
                "stand-in:T (T by default 1) takes the --stand-in of those on disk that weigh less than T of "
                "a token's first, stand-in-all:T of all such; "
                "`sluice perplexity` with the same flags measures the cost");
  memory.option(
      "--stand-in PATH", options.stand_in,
      "for --lossy stand-in: the same model with smaller experts, kept in memory; for instance what "
      "`sluice compress MODEL --to affine2` made");
  memory.choice("--governor on|off", options.governor, {{"off", false}, {"on", true}},
                "give cached experts back while other programs need the memory: on (default), off");
  memory.option("--isa NAME", options.isa, "instruction set of the kernels; by default the best of this CPU");
}

void add_task_flag(Arguments& args, EngineOptions& options) {
  args.group(kMemoryAndMachine)
      .option("--task NAME", options.task,
              "a name for this kind of work, such as coding: begin with the experts that it used most, and "
              "learn from it (sluice profile)");
}

void save_task(Engine& engine) {
  try {
    engine.learn_task();
  } catch (const Error& error) {
    print_warning(std::string("the task profile did not learn from this: ") + error.what());
  }
}

void add_sampling_flags(Arguments& args, SamplingFlags& flags) {
  constexpr int32_t kMost = std::numeric_limits<int32_t>::max();
  Arguments sampling = args.group("Sampling (by default as the model recommends)");
  sampling.option("-n,--max-tokens N", flags.max_tokens, "new tokens at most; -1: until the context is full")
      .range(-1, 1 << 24);
  sampling.option("--temp,--temperature T", flags.temperature, "0: always the likeliest token (greedy)")
      .range(0.0, 100.0);
  sampling.option("--top-k K", flags.top_k, "only the K likeliest tokens; 0: off").range(0, kMost);
  sampling.option("--top-p P", flags.top_p, "the likeliest tokens that sum up to P; 1: off").range(0.0, 1.0);
  sampling.option("--min-p P", flags.min_p, "tokens with P times the likeliest one's probability; 0: off")
      .range(0.0, 1.0);
  sampling.option("--typical-p P", flags.typical_p, "locally typical tokens that sum up to P; 1: off")
      .range(0.0, 1.0);
  sampling.option("--repeat-penalty R", flags.repetition_penalty, "of tokens in the window; 1: off");
  sampling.option("--presence-penalty R", flags.presence_penalty, "once per token in the window; 0: off");
  sampling.option("--frequency-penalty R", flags.frequency_penalty, "per occurrence in the window; 0: off");
  sampling.option("--penalty-window N", flags.penalty_window, "last tokens that penalties look at; -1: all")
      .range(-1, kMost);
  sampling.option("--logit-bias ID:BIAS", flags.logit_bias,
                  "ID:BIAS, added to a token's logit; -inf forbids it");
  sampling.option("--seed N", flags.seed, "a number, the same gives the same text; or random").show_default();
  sampling.option("--stop TEXT", flags.stop, "text that ends the answer; may be given several times");
  sampling.flag("--ignore-eos", flags.ignore_eos, "go on after the model's end token");
}

GenerateOptions generate_options(const SamplingFlags& flags, const SamplerOptions& recommended) {
  GenerateOptions options;
  SamplerOptions& s = options.sampler;
  s = recommended;
  s.temperature = flags.temperature.value_or(s.temperature);
  s.top_k = flags.top_k.value_or(s.top_k);
  s.top_p = flags.top_p.value_or(s.top_p);
  s.min_p = flags.min_p.value_or(s.min_p);
  s.typical_p = flags.typical_p.value_or(s.typical_p);
  s.repetition_penalty = flags.repetition_penalty.value_or(s.repetition_penalty);
  s.presence_penalty = flags.presence_penalty.value_or(s.presence_penalty);
  s.frequency_penalty = flags.frequency_penalty.value_or(s.frequency_penalty);
  s.penalty_window = flags.penalty_window.value_or(s.penalty_window);
  for (const std::string& bias : flags.logit_bias) s.logit_bias.push_back(parse_bias(bias));
  s.seed = parse_seed(flags.seed);
  options.max_tokens = flags.max_tokens;
  options.stop = flags.stop;
  options.ignore_eos = flags.ignore_eos;
  return options;
}

void add_timeline_flag(Arguments& args, std::string& file) {
  args.option("--timeline FILE", file,
              "write when what was computed, waited for and read, for Perfetto or chrome://tracing");
}

void ask_for_timeline(const std::string& file, EngineOptions& options) {
  if (file.empty()) return;
  const FileWriter can_be_written(file);
  options.timeline_spans = size_t{1} << 18;  // 15 MB; a token of 48 layers has about 1,000
}

std::unique_ptr<Engine> open_engine(const EngineOptions& options) {
  std::unique_ptr<Engine> engine = Engine::open(options);
  for (const std::string& warning : engine->warnings()) print_warning(warning);
  return engine;
}

void load_engine(Engine& engine, int64_t reserve_tokens) {
  const size_t n_known = engine.warnings().size();
  {
    ProgressBar bar("loading");
    engine.load(reserve_tokens, [&bar](uint64_t done, uint64_t total) {
      if (interrupted()) throw_error(ErrorKind::kCancelled, "interrupted while loading");
      bar.update(done, total);
    });
  }
  const std::vector<std::string> warnings = engine.warnings();
  for (size_t i = n_known; i < warnings.size(); ++i) print_warning(warnings[i]);
}

std::string read_text(const std::string& path) {
  return path == "-" ? read_stdin(kMaxTextFile) : read_text_file(path, kMaxTextFile);
}

std::vector<int32_t> read_ids(const std::string& path) {
  const nlohmann::ordered_json json =
      nlohmann::ordered_json::parse(read_text(path), nullptr, /*allow_exceptions=*/false);
  const nlohmann::ordered_json& list = json.is_object() && json.contains("ids") ? json["ids"] : json;
  if (!list.is_array())
    throw_error(ErrorKind::kInvalid, "%s: not a JSON array of token ids, like [1, 2, 3]",
                printable(path).c_str());
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const nlohmann::ordered_json& id : list) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<int32_t>::max())
      throw_error(
          ErrorKind::kInvalid, "%s: %s is no token id", printable(path).c_str(),
          printable(id.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace)).c_str());
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

}  // namespace sluice
