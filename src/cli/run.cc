// sluice run: one prompt, one answer.
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/max_loss.h"
#include "cli/model_flags.h"
#include "cli/monitor.h"
#include "cli/report.h"
#include "cli/verbs.h"
#include "platform/file.h"

namespace sluice {
namespace {

struct RunOptions {
  EngineOptions engine;
  SamplingFlags sampling;
  MaxLossFlags max_loss;
  std::string timeline_file;
  std::string prompt;
  std::string system;
  std::string ids_file;
  bool raw = false;
  bool json = false;
  bool stats = false;
  bool monitor = false;
};

constexpr const char* kExamples = R"(
examples:
  sluice run demo "Once upon a time"                 the demo model tells a story
  sluice run model.gguf "Why is the sky blue?" --ram 2G -n 200
                                                     a model larger than 2 GB, streamed from disk
  git diff | sluice run Qwen/Qwen3-8B --system "Review this change."
  sluice run model.gguf "def fib(n):" --raw --temp 0 continue text as it is, greedily
  sluice run model/ --ids ids.json --json            from token ids, with all statistics
  sluice run demo "Once upon a time" --weights 40% -n 400 --monitor
                                                     watch the cache at work

The first argument is always the model. Without a PROMPT it is read from standard input. The same model,
prompt, options and seed give the same text at every budget and thread count.)";

std::vector<int32_t> prompt_ids(const RunOptions& options, const Engine& engine, bool has_prompt) {
  if (!options.ids_file.empty()) return read_ids(options.ids_file);
  std::string prompt = options.prompt;
  if (!has_prompt) {
    if (stdin_is_terminal())
      throw UsageError("run: a PROMPT (or text on standard input, or --ids) is required");
    prompt = read_stdin();
    if (!prompt.empty() && prompt.back() == '\n') prompt.pop_back();
  }
  if (options.raw || !engine.has_chat_template()) return engine.tokenize(prompt);
  std::vector<ChatMessage> messages;
  if (!options.system.empty()) messages.push_back({"system", options.system});
  messages.push_back({"user", prompt});
  return engine.chat_tokens(messages);
}

// The tokens that memory must be there for; refuses what cannot fit the context.
int64_t tokens_to_reserve(const Engine& engine, int64_t n_prompt, int64_t max_tokens) {
  if (max_tokens < 0 && n_prompt < engine.n_ctx()) return engine.n_ctx();
  const int64_t wanted = n_prompt + std::max<int64_t>(max_tokens, 1);
  if (wanted > engine.n_ctx())
    throw_error(ErrorKind::kInvalid,
                "%lld prompt tokens and %lld new ones do not fit the context of %lld: try --ctx %lld or a "
                "smaller -n",
                static_cast<long long>(n_prompt), static_cast<long long>(wanted - n_prompt),
                static_cast<long long>(engine.n_ctx()), static_cast<long long>(wanted));
  return wanted;
}

// Returns the text that was not printed while it came.
std::string generate_text(Engine& engine, Session& session, const RunOptions& options) {
  Session* const sessions[] = {&session};
  std::string text;
  try {
    std::optional<Monitor> monitor;
    if (options.monitor) monitor.emplace(engine);
    while (session.finished() == FinishReason::kNone && !interrupted()) {
      engine.step(sessions);
      const std::string piece = session.take_text();
      if (monitor) monitor->update(session, piece);
      if (monitor || options.json) {
        text += piece;
      } else if (!piece.empty()) {
        write_stdout(piece);
      }
    }
  } catch (...) {
    if (options.monitor) write_stdout(text + "\n");
    throw;
  }
  if (options.monitor) write_stdout(std::exchange(text, ""));
  return text;
}

int run(const RunOptions& options, bool has_prompt) {
  catch_interrupts();
  EngineOptions engine_options = options.engine;
  check_max_loss(options.max_loss, engine_options);
  ask_for_timeline(options.timeline_file, engine_options);
  if (options.monitor) Monitor::check_terminal();
  engine_options.monitor = options.monitor;
  const std::unique_ptr<Engine> engine = open_engine(engine_options);
  const std::vector<int32_t> ids = prompt_ids(options, *engine, has_prompt);
  const GenerateOptions generate = generate_options(options.sampling, engine->default_sampler());
  engine->check(generate);
  const auto n_prompt = static_cast<int64_t>(ids.size());
  int64_t n_reserved = tokens_to_reserve(*engine, n_prompt, generate.max_tokens);
  if (!options.max_loss.limit.empty())
    n_reserved = std::max(n_reserved, std::min(kMostLossTokens, engine->n_ctx()));
  load_engine(*engine, n_reserved);
  const bool has_stand_in = !engine_options.stand_in.empty();
  if (const std::string chosen = apply_max_loss(options.max_loss, has_stand_in, *engine); !chosen.empty())
    write_stderr(chosen + "\n");

  const std::unique_ptr<Session> session = engine->new_session();
  session->append(ids, generate);
  const std::string text = generate_text(*engine, *session, options);

  const EngineStats stats = engine->stats();
  if (options.json) {
    nlohmann::ordered_json report = run_report(*session, stats, text, interrupted());
    report["memory"]["state"] = engine->describe_memory();
    write_stdout(report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  } else {
    if (!engine->has_tokenizer()) {
      write_stdout(
          nlohmann::json(std::vector<int32_t>(session->generated().begin(), session->generated().end()))
              .dump());
    }
    write_stdout("\n");
    if (options.stats || stderr_is_terminal()) write_stderr(stats_line(*session, stats) + "\n");
    if (options.stats)
      write_stderr(stats.io + "\ngovernor " + stats.governor + "; " + engine->describe_memory() + "\n");
  }
  save_task(*engine);
  if (!options.timeline_file.empty()) engine->write_timeline(options.timeline_file);
  return interrupted() ? kExitInterrupted : kExitOk;
}

}  // namespace

Action define_run(Arguments& args) {
  auto options = std::make_shared<RunOptions>();
  add_model_flags(args, options->engine);
  add_task_flag(args, options->engine);
  const Option prompt = args.positional("PROMPT", options->prompt, "the text to answer or continue");
  args.option("--system TEXT", options->system, "a system message for the chat template");
  args.flag("--raw", options->raw, "continue the prompt as it is, without the chat template");
  args.option("--ids IDS.json", options->ids_file,
              "the prompt as token ids, a JSON array; - for standard input");
  const Option json =
      args.flag("--json", options->json, "print one JSON object with text, tokens and statistics");
  add_timeline_flag(args, options->timeline_file);
  args.flag("--stats", options->stats, "print the line of statistics also where it is not a terminal");
  args.flag("--monitor", options->monitor,
            "watch it at work, full screen: experts in memory, hits, reads, waits, each layer's time")
      .excludes(json);
  add_max_loss_flags(args, options->max_loss);
  add_sampling_flags(args, options->sampling);
  args.footer(kExamples);
  return [options, prompt] { return run(*options, prompt.given()); };
}

}  // namespace sluice
