#include "cli/model_flags.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/units.h"
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

uint64_t parse_seed(const std::string& text) {
  if (text == "random") return std::random_device()() | uint64_t{std::random_device()()} << 32;
  uint64_t seed = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    throw_error(ErrorKind::kInvalid, "--seed %s: write a whole number or random", printable(text).c_str());
  return seed;
}

// An option that takes one of some names. CLI11's own transformer prints the bytes of our enumerators.
template <typename T>
CLI::Option* add_choice(CLI::App& app, const char* name, T& into, std::map<std::string, T> choices,
                        const char* what) {
  std::vector<std::string> names;
  for (const auto& choice : choices) names.push_back(choice.first);
  const auto choose = [&into, choices = std::move(choices)](const std::string& text) {
    into = choices.at(text);
  };
  return app.add_option_function<std::string>(name, choose, what)
      ->type_name("FORMAT")
      ->check(CLI::IsMember(std::move(names)).description(""));
}

}  // namespace

std::string check_size(const std::string& text, const char* word, const char* what) {
  if (text == word) return {};
  try {
    parse_bytes_or_percent(text, uint64_t{1} << 40, what);
  } catch (const Error& error) {
    const std::string message = error.what();
    return message.substr(message.find(": ") + 2);  // CLI11 names the option itself
  }
  return {};
}

void add_model_argument(CLI::App& app, std::string& model) {
  app.add_option("MODEL", model,
                 "a Hugging Face directory, a GGUF file, a name in the Hugging Face cache, or demo")
      ->capture_default_str();
}

void add_model_flags(CLI::App& app, EngineOptions& options) {
  add_model_argument(app, options.model);
  const auto size = [](const char* word, const char* what) {
    return [word, what](const std::string& text) { return check_size(text, word, what); };
  };
  const char* const memory = "Memory and machine";
  app.add_option("--ram", options.ram, "ceiling on the whole process: 6G, 512M, 50% of the machine, auto")
      ->type_name("SIZE")
      ->check(size("auto", "--ram"))
      ->capture_default_str()
      ->group(memory);
  app.add_option("--weights", options.weights,
                 "bound on the weights alone: 4G, 40% of them, min for the least that works")
      ->type_name("SIZE")
      ->check(size("min", "--weights"))
      ->group(memory);
  app.add_option("--ctx", options.n_ctx, "context in tokens; 0: as trained, at most 4096")
      ->type_name("N")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24).description(""))
      ->group(memory);
  app.add_option("--threads,-t", options.n_threads, "0: the CPUs that this process may use")
      ->type_name("N")
      ->check(CLI::Range(0, 1024).description(""))
      ->group(memory);
  app.add_option("--chunk", options.prefill_chunk, "prompt tokens per pass; 0: chosen from the budget")
      ->type_name("N")
      ->check(CLI::Range(0, 65536).description(""))
      ->group(memory);
  add_choice(app, "--kv", options.kv,
             {{"f32", KvFormat::kF32},
              {"f16", KvFormat::kF16},
              {"bf16", KvFormat::kBF16},
              {"int8", KvFormat::kInt8}},
             "format of the KV cache: f32, f16, bf16, int8; by default f16")
      ->group(memory);
  add_choice(app, "--activations", options.activations,
             {{"int8", ActivationFormat::kDefault}, {"f32", ActivationFormat::kF32}},
             "what quantised weights are multiplied with: int8 (default), or f32")
      ->group(memory);
  app.add_option("--io", options.io, "how weights are read: auto, direct, buffered")
      ->type_name("MODE")
      ->check(CLI::IsMember({"auto", "direct", "buffered"}).description(""))
      ->capture_default_str()
      ->group(memory);
  app.add_option("--ssd-limit", options.ssd_limit,
                 "read no faster than this, for instance 2G/s, also while loading")
      ->type_name("RATE")
      ->group(memory);
  app.add_option("--max-slowdown", options.max_slowdown,
                 "slow reads that nobody waits for yet while the arithmetic beside them loses more of its "
                 "speed than this, for instance 5%; by default they never are")
      ->type_name("PERCENT")
      ->group(memory);
  app.add_option("--ssd-max-temp", options.ssd_max_temp,
                 "read slower while the drive is warmer than this, where the system shows it")
      ->type_name("CELSIUS")
      ->check(CLI::Range(20.0, 120.0).description(""))
      ->capture_default_str()
      ->group(memory);
  app.add_option(
         "--mirror", options.mirrors,
         "a directory on another drive with copies of the model's files, to read from both; repeatable")
      ->type_name("DIR")
      ->allow_extra_args(false)
      ->group(memory);
  const auto name_of = [](std::span<const std::string_view> names) {
    return CLI::IsMember(std::vector<std::string>(names.begin(), names.end())).description("");
  };
  app.add_option("--cache-policy", options.cache_policy,
                 "which expert is given up: " + joined(cache_policy_names()))
      ->type_name("NAME")
      ->check(name_of(cache_policy_names()))
      ->capture_default_str()
      ->group(memory);
  app.add_option("--cache-split", options.cache_split,
                 "one pool of slots for all layers (shared), or divided by what they miss (measured)")
      ->type_name("NAME")
      ->check(name_of(cache_split_names()))
      ->capture_default_str()
      ->group(memory);
  app.add_option(
         "--expert-split", options.expert_split,
         "cache experts whole (1, default) or in halves of their rows (2), each read and given up alone")
      ->type_name("N")
      ->check(CLI::Range(1, 2).description(""))
      ->group(memory);
  app.add_option("--prefetch", options.prefetch,
                 "experts to read before they are asked for: auto (if it pays), off, study (none, but count "
                 "how often each predictor is right), or what one predictor says: router, linear, shadow, "
                 "cooccurrence, previous, frequency; linear:N reads at most N of a layer ahead")
      ->type_name("MODE")
      ->capture_default_str()
      ->group(memory);
  app.add_option("--speculate-experts", options.speculate_experts,
                 "compute a token's N likeliest experts, where they are in memory, beside the router and use "
                 "those that it confirms; 0 (default): none")
      ->type_name("N")
      ->check(CLI::Range(0, 256).description(""))
      ->group(memory);
  app.add_option(
         "--lossy", options.lossy,
         "give up exactness: topk:T leaves out experts that weigh less than T of a token's first, "
         "bias:B prefers experts in memory by B of the logits' range, skip leaves out those on disk, "
         "stand-in:T (T by default 1) takes the --stand-in of those on disk that weigh less than T of "
         "a token's first, stand-in-all:T of all such; "
         "`sluice perplexity` with the same flags measures the cost")
      ->type_name("MODE")
      ->allow_extra_args(false)
      ->group(memory);
  app.add_option(
         "--stand-in", options.stand_in,
         "for --lossy stand-in: the same model with smaller experts, kept in memory; for instance what "
         "`sluice compress MODEL --to affine2` made")
      ->type_name("PATH")
      ->group(memory);
  add_choice(app, "--governor", options.governor, {{"on", true}, {"off", false}},
             "give cached experts back while other programs need the memory: on (default), off")
      ->type_name("on|off")
      ->group(memory);
  app.add_option("--isa", options.isa, "instruction set of the kernels; by default the best of this CPU")
      ->type_name("NAME")
      ->group(memory);
}

void add_task_flag(CLI::App& app, EngineOptions& options) {
  app.add_option(
         "--task", options.task,
         "a name for this kind of work, such as coding: begin with the experts that it used most, and "
         "learn from it (sluice profile)")
      ->type_name("NAME")
      ->group("Memory and machine");
}

void save_task(Engine& engine) {
  try {
    engine.learn_task();
  } catch (const Error& error) {
    print_warning(std::string("the task profile did not learn from this: ") + error.what());
  }
}

void add_sampling_flags(CLI::App& app, SamplingFlags& flags) {
  const char* const group = "Sampling (by default as the model recommends)";
  app.add_option("-n,--max-tokens", flags.max_tokens, "new tokens at most; -1: until the context is full")
      ->type_name("N")
      ->check(CLI::Range(int64_t{-1}, int64_t{1} << 24).description(""))
      ->group(group);
  app.add_option("--temp,--temperature", flags.temperature, "0: always the likeliest token (greedy)")
      ->type_name("T")
      ->check(CLI::Range(0.0, 100.0).description(""))
      ->group(group);
  app.add_option("--top-k", flags.top_k, "only the K likeliest tokens; 0: off")
      ->type_name("K")
      ->check(CLI::Range(0, std::numeric_limits<int32_t>::max()).description(""))
      ->group(group);
  app.add_option("--top-p", flags.top_p, "the likeliest tokens that sum up to P; 1: off")
      ->type_name("P")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->group(group);
  app.add_option("--min-p", flags.min_p, "tokens with P times the likeliest one's probability; 0: off")
      ->type_name("P")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->group(group);
  app.add_option("--typical-p", flags.typical_p, "locally typical tokens that sum up to P; 1: off")
      ->type_name("P")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->group(group);
  app.add_option("--repeat-penalty", flags.repetition_penalty, "of tokens in the window; 1: off")
      ->type_name("R")
      ->group(group);
  app.add_option("--presence-penalty", flags.presence_penalty, "once per token in the window; 0: off")
      ->type_name("R")
      ->group(group);
  app.add_option("--frequency-penalty", flags.frequency_penalty, "per occurrence in the window; 0: off")
      ->type_name("R")
      ->group(group);
  app.add_option("--penalty-window", flags.penalty_window, "last tokens that penalties look at; -1: all")
      ->type_name("N")
      ->check(CLI::Range(-1, std::numeric_limits<int32_t>::max()).description(""))
      ->group(group);
  app.add_option("--logit-bias", flags.logit_bias, "ID:BIAS, added to a token's logit; -inf forbids it")
      ->type_name("ID:BIAS")
      ->allow_extra_args(false)
      ->group(group);
  app.add_option("--seed", flags.seed, "a number, the same gives the same text; or random")
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
  app.add_option("--stop", flags.stop, "text that ends the answer; may be given several times")
      ->type_name("TEXT")
      ->allow_extra_args(false)
      ->group(group);
  app.add_flag("--ignore-eos", flags.ignore_eos, "go on after the model's end token")->group(group);
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

void add_timeline_flag(CLI::App& app, std::string& file) {
  app.add_option("--timeline", file,
                 "write when what was computed, waited for and read, for Perfetto or chrome://tracing")
      ->type_name("FILE");
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
