// sluice trace: which experts a model really chooses, in a file that `sluice simulate` replays.
#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/verbs.h"
#include "format/checkpoint.h"
#include "plan/disk.h"
#include "store/trace.h"

namespace sluice {
namespace {

struct TraceOptions {
  EngineOptions engine;
  std::string prompt;
  std::vector<std::string> files;
  std::string ids_file;
  std::string out;
  int64_t n_new = 0;
  int64_t limit = 4096;
};

// Sequences that are read one after another, each from an empty context.
std::vector<std::vector<int32_t>> texts_to_read(const TraceOptions& options, const Engine& engine,
                                                bool has_prompt) {
  std::vector<std::vector<int32_t>> texts;
  const auto room = static_cast<size_t>(engine.n_ctx());
  for (const std::string& file : options.files) {
    std::vector<int32_t> ids = engine.tokenize(read_text(file));
    ids.resize(std::min(ids.size(), static_cast<size_t>(options.limit)));
    for (size_t at = 0; at < ids.size(); at += room) {
      const size_t n = std::min(room, ids.size() - at);
      texts.emplace_back(ids.begin() + static_cast<ptrdiff_t>(at),
                         ids.begin() + static_cast<ptrdiff_t>(at + n));
    }
  }
  if (!options.ids_file.empty()) texts.push_back(read_ids(options.ids_file));
  if (has_prompt) texts.push_back(engine.tokenize(options.prompt));
  if (texts.empty()) throw UsageError("trace: a PROMPT, --file or --ids is required");
  const int64_t n_wanted = static_cast<int64_t>(texts.back().size()) + options.n_new;
  if (n_wanted > engine.n_ctx())
    throw_error(
        ErrorKind::kInvalid,
        "the last text and its %lld new tokens are %lld and do not fit the context of %lld: try --ctx %lld "
        "or a smaller -n",
        static_cast<long long>(options.n_new), static_cast<long long>(n_wanted),
        static_cast<long long>(engine.n_ctx()), static_cast<long long>(n_wanted));
  return texts;
}

// Time of passes of one token, from what the engine counts.
class SingleTokens {
 public:
  explicit SingleTokens(const Engine& engine) : engine_(engine) {}

  void begin() { before_ = engine_.stats(); }
  void end(uint64_t n_tokens) {
    const EngineStats after = engine_.stats();
    seconds_ += spent(after) - spent(before_);
    expert_seconds_ += experts(after) - experts(before_);
    n_tokens_ += n_tokens;
  }
  double seconds() const { return n_tokens_ > 0 ? seconds_ / static_cast<double>(n_tokens_) : 0; }
  double expert_seconds() const {
    return n_tokens_ > 0 ? std::min(expert_seconds_, seconds_) / static_cast<double>(n_tokens_) : 0;
  }

 private:
  static double spent(const EngineStats& stats) {
    return stats.prefill_seconds + stats.decode_seconds - stats.stall_seconds;
  }
  // A model of experts has its gates, ups and downs in them, or nearly all.
  static double experts(const EngineStats& stats) {
    double seconds = 0;
    for (const OperatorStats& op : stats.operators) {
      if (op.name == "gate, up" || op.name == "activation" || op.name == "down") seconds += op.seconds;
    }
    return seconds;
  }

  const Engine& engine_;
  EngineStats before_;
  double seconds_ = 0, expert_seconds_ = 0;
  uint64_t n_tokens_ = 0;
};

TraceShape shape_of(const Engine& engine) {
  const ModelInfo& info = engine.info();
  TraceShape shape;
  shape.model = std::filesystem::path(info.path).filename().string();
  shape.n_units = static_cast<uint32_t>(info.n_experts);
  shape.n_chosen = static_cast<uint32_t>(info.n_experts_per_token);
  shape.unit_bytes = info.expert_bytes;
  const MemoryOutlook all = engine.outlook(UINT64_MAX / 2);
  shape.fixed_bytes = all.process_bytes + all.kv_bytes + all.scratch_bytes + all.pinned_bytes;
  return shape;
}

int trace(const TraceOptions& options, bool has_prompt) {
  catch_interrupts();
  const std::unique_ptr<Engine> engine = open_engine(options.engine);
  if (engine->info().n_experts == 0)
    throw_error(ErrorKind::kUnsupported, "%s has no experts: a dense model reads the same for every token",
                printable(engine->info().path).c_str());
  const auto texts = texts_to_read(options, *engine, has_prompt);
  int64_t longest = 0;
  size_t n_all = static_cast<size_t>(options.n_new);
  for (const std::vector<int32_t>& text : texts) {
    longest = std::max(longest, static_cast<int64_t>(text.size()));
    n_all += text.size();
  }

  // Before the engine measures what the process uses: --ram holds the record, too.
  TraceRecorder recorder(shape_of(*engine), n_all, static_cast<size_t>(engine->info().n_layers));
  load_engine(*engine, std::max(longest, static_cast<int64_t>(texts.back().size()) + options.n_new));
  engine->set_route_sink(
      [&recorder](int64_t layer, int64_t, std::span<const int32_t> experts, std::span<const float> weights) {
        recorder.add(static_cast<uint32_t>(layer), experts, weights);
      });

  SingleTokens single(*engine);
  const std::unique_ptr<Session> session = engine->new_session();
  Session* const sessions[] = {session.get()};
  ProgressBar bar("recording", "tokens");
  size_t n_done = 0;
  for (const std::vector<int32_t>& text : texts) {
    session->truncate(0);
    GenerateOptions generate;
    generate.sampler = engine->default_sampler();
    generate.ignore_eos = true;
    generate.max_tokens = &text == &texts.back() ? options.n_new : 0;
    session->append(text, generate);
    const bool one_by_one = options.engine.prefill_chunk == 1;
    if (one_by_one) single.begin();
    const auto n_prompt = static_cast<int64_t>(text.size());
    while (session->n_cached() < n_prompt && !interrupted() && engine->step(sessions) > 0) {
      recorder.end_pass(true);
      bar.update(n_done + static_cast<size_t>(session->n_cached()), n_all);
    }
    if (one_by_one) single.end(text.size());
    n_done += text.size();
    if (generate.max_tokens == 0) continue;
    single.begin();
    while (session->finished() == FinishReason::kNone && !interrupted() && engine->step(sessions) > 0) {
      recorder.end_pass(false);
      bar.update(n_done + session->generated().size(), n_all);
    }
    single.end(std::max<size_t>(session->generated().size(), 1) - 1);  // the last one is not read any more
  }
  if (interrupted()) return kExitInterrupted;

  RoutingTrace& result = recorder.trace();
  result.shape.token_seconds = single.seconds();
  result.shape.unit_seconds = single.expert_seconds();
  result.shape.disk_bytes_s = measure_disk_bandwidth(Checkpoint::open(engine->info().path)->files());
  write_trace(options.out, result);
  write_stdout(format_string("%s: %zu tokens in %zu passes, %zu layers of %u experts, %u a token\n",
                             printable(options.out).c_str(), result.n_tokens(), result.passes.size(),
                             result.shape.groups.size(), result.shape.n_units, result.shape.n_chosen));
  return kExitOk;
}

}  // namespace

Action define_trace(Arguments& args) {
  auto options = std::make_shared<TraceOptions>();
  options->engine.prefill_chunk = 1;
  add_model_flags(args, options->engine);
  const Option prompt = args.positional("PROMPT", options->prompt, "text to read as it is");
  args.option("--file FILE", options->files,
              "text to read in contexts side by side; may be given several times");
  args.option("--ids IDS.json", options->ids_file, "token ids to read, a JSON array; - for standard input");
  args.option("--limit N", options->limit, "tokens of each --file at most")
      .range(int64_t{1}, int64_t{1} << 32)
      .show_default();
  args.option("-n,--max-tokens N", options->n_new, "new tokens to make after the last text")
      .range(0, 1 << 24)
      .show_default();
  args.option("-o,--out FILE", options->out, "the file to write, once all is recorded").required();
  args.footer(R"(
examples:
  sluice trace moe.gguf "Once upon a time" -n 200 -o story.trace
  sluice trace moe.gguf --file novel.txt --file code.py -o topics.trace      topics that switch
  sluice trace moe.gguf --file novel.txt --chunk 256 -o prompts.trace        as prompts are read
  sluice simulate story.trace

Records the experts and router weights of every token and layer. A text is read token by token, each a pass of
its own, as if it was being made; with --chunk N in passes of N tokens, as prompts are. The order is --file,
--ids, PROMPT; new tokens follow the last. The file also keeps the time that a token took and the speed of the
drive, measured in this run; it is described in docs/formats.md.)");
  return [options, prompt] { return trace(*options, prompt.given()); };
}

}  // namespace sluice
