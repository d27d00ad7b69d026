// sluice perplexity: negative log-likelihood per token of a text.
//
// With --split every document is scored alone: stripped of white space at its ends, BOS before it, cut to
// --ctx tokens. Without, the text is one sequence of tokens (separators such as <|endoftext|> become their
// tokens) read in windows of --ctx tokens that do not overlap; the token after a window is its last target,
// and a window that the text no longer fills is left out.
#include <cmath>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/report.h"
#include "cli/score.h"
#include "cli/verbs.h"

namespace sluice {
namespace {

struct PerplexityOptions {
  EngineOptions engine;
  std::string file;
  std::string split;
  int64_t skip = 0;
  int64_t max_docs = -1;
  int64_t max_tokens = -1;
  bool json = false;
};

std::string_view strip(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<std::string_view> split_text(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  for (size_t at = 0;;) {
    const size_t end = text.find(separator, at);
    parts.push_back(text.substr(at, end == std::string_view::npos ? end : end - at));
    if (end == std::string_view::npos) return parts;
    at = end + separator.size();
  }
}

// The sequences to score: all but the last token are read, all but the first are targets.
using Sequences = std::vector<std::vector<int32_t>>;

Sequences documents(const PerplexityOptions& options, const Engine& engine, std::string_view text) {
  Sequences sequences;
  int64_t index = 0;
  for (const std::string_view part : split_text(text, options.split)) {
    if (index++ < options.skip) continue;
    if (options.max_docs >= 0 && static_cast<int64_t>(sequences.size()) == options.max_docs) break;
    const std::string_view document = strip(part);
    if (document.empty()) continue;
    std::vector<int32_t> ids = engine.tokenize(document);
    if (static_cast<int64_t>(ids.size()) > engine.n_ctx()) ids.resize(static_cast<size_t>(engine.n_ctx()));
    if (ids.size() > 1) sequences.push_back(std::move(ids));
  }
  return sequences;
}

Sequences windows(const PerplexityOptions& options, const Engine& engine, std::string_view text) {
  std::vector<int32_t> ids = engine.tokenize(text);
  if (options.max_tokens >= 0 && static_cast<int64_t>(ids.size()) > options.max_tokens)
    ids.resize(static_cast<size_t>(options.max_tokens));
  const auto length = static_cast<size_t>(engine.n_ctx());
  if (ids.size() > 1 && ids.size() <= length) return {ids};  // shorter than one window: all there is
  Sequences sequences;
  for (size_t at = 0; at + length < ids.size(); at += length) {
    const auto begin = ids.begin() + static_cast<ptrdiff_t>(at);
    sequences.emplace_back(begin, begin + static_cast<ptrdiff_t>(length + 1));
  }
  return sequences;
}

int perplexity(PerplexityOptions options) {
  catch_interrupts();
  options.engine.logit_rows = 64;
  const std::unique_ptr<Engine> engine = open_engine(options.engine);
  const std::string text = read_text(options.file);
  const Sequences sequences =
      options.split.empty() ? windows(options, *engine, text) : documents(options, *engine, text);
  if (sequences.empty())
    throw_error(ErrorKind::kInvalid, "%s: no two tokens to score", printable(options.file).c_str());
  load_engine(*engine, engine->n_ctx());

  const std::unique_ptr<Session> session = engine->new_session();
  double nats = 0;
  size_t n_tokens = 0, n_done = 0;
  ProgressBar bar("scoring", "texts");
  for (const std::vector<int32_t>& ids : sequences) {
    const std::vector<double> one = score(*engine, *session, ids);
    if (interrupted()) return kExitInterrupted;
    nats = std::accumulate(one.begin(), one.end(), nats);
    n_tokens += one.size();
    bar.update(++n_done, sequences.size());
  }

  const EngineStats stats = engine->stats();
  const double mean = nats / static_cast<double>(n_tokens);
  if (options.json) {
    const nlohmann::ordered_json report = {
        {"nll_per_token", mean},
        {"perplexity", std::exp(mean)},
        {"tokens", n_tokens},
        {"exact", stats.lossy.empty()},
        {"dropped_experts", stats.dropped_experts},
        {"stand_ins_used", stats.stand_ins_used},
        {"sequences", sequences.size()},
        {"tok_s", per_second(stats.prefill_tokens, stats.prefill_seconds)}};
    write_stdout(report.dump(2) + "\n");
  } else {
    write_stdout(format_string("%.4f nats per token, perplexity %.4f (%zu tokens in %zu %s, %.1f tok/s)\n",
                               mean, std::exp(mean), n_tokens, sequences.size(),
                               options.split.empty() ? "windows" : "documents",
                               per_second(stats.prefill_tokens, stats.prefill_seconds)));
    if (!stats.lossy.empty())
      write_stdout(format_string("lossy (%s): %llu experts left out, %llu stood in for\n",
                                 stats.lossy.c_str(), static_cast<unsigned long long>(stats.dropped_experts),
                                 static_cast<unsigned long long>(stats.stand_ins_used)));
  }
  return kExitOk;
}

}  // namespace

Action define_perplexity(Arguments& args) {
  auto options = std::make_shared<PerplexityOptions>();
  add_model_flags(args, options->engine);
  constexpr double kMost = std::numeric_limits<double>::max();
  args.option("--file FILE", options->file, "the text; - for standard input").required();
  const Option split = args.option("--split TEXT", options->split,
                                   "what separates documents, which are then scored one by one");
  args.option("--skip N:NONNEGATIVE", options->skip, "documents to leave out at the beginning")
      .range(0.0, kMost)
      .needs(split);
  args.option("--max-docs N:NONNEGATIVE", options->max_docs, "documents to score at most")
      .range(0.0, kMost)
      .needs(split);
  args.option("--max-tokens N:NONNEGATIVE", options->max_tokens, "of the text at most, without --split")
      .range(0.0, kMost)
      .excludes(split);
  args.flag("--json", options->json, "print nll_per_token, perplexity and tokens as one JSON object");
  args.footer(R"(
examples:
  sluice perplexity model.gguf --file wiki.test.raw --ctx 512
  sluice perplexity demo --file stories.txt --ctx 256 --split '<|endoftext|>' --skip 1 --max-docs 40

With --split each document is stripped, begun with BOS and cut to --ctx tokens. Without, the text is read in
windows of --ctx tokens side by side; the token after each window is its last target, and an incomplete
window at the end is left out. What --lossy topk and stand-in-all cost shows here as it is; skip, bias and stand-in
depend on what is in memory, so give them the budget of the run, and --chunk 1 for the cost while generating.)");
  return [options] { return perplexity(*options); };
}

}  // namespace sluice
