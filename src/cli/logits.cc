// sluice logits: every logit of every position, and which experts were chosen, for comparisons with other
// implementations.
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/verbs.h"
#include "platform/file.h"

namespace sluice {
namespace {

struct LogitsOptions {
  EngineOptions engine;
  std::string ids_file;
  std::string text;
  std::string out;
  std::string routes;
};

using Routes = std::vector<std::vector<std::vector<int32_t>>>;  // [layer][token][k]

void write_json(const std::string& path, const nlohmann::json& json) {
  FileWriter file(path);
  const std::string text = json.dump();
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

int logits(LogitsOptions options) {
  catch_interrupts();
  options.engine.logit_rows = 64;
  const std::unique_ptr<Engine> engine = open_engine(options.engine);
  const std::vector<int32_t> ids =
      options.ids_file.empty() ? engine->tokenize(options.text) : read_ids(options.ids_file);
  const auto n_tokens = static_cast<int64_t>(ids.size());
  if (n_tokens > engine->n_ctx())
    throw_error(ErrorKind::kInvalid, "%lld tokens do not fit the context of %lld: try --ctx %lld",
                static_cast<long long>(n_tokens), static_cast<long long>(engine->n_ctx()),
                static_cast<long long>(n_tokens));
  load_engine(*engine, n_tokens);

  // Dense layers have no routes: their lists stay empty.
  Routes routes(static_cast<size_t>(engine->info().n_layers));
  if (!options.routes.empty())
    engine->set_route_sink(
        [&routes](int64_t layer, int64_t, std::span<const int32_t> experts, std::span<const float>) {
          routes[static_cast<size_t>(layer)].emplace_back(experts.begin(), experts.end());
        });

  FileWriter out(options.out);
  const std::unique_ptr<Session> session = engine->new_session();
  session->set_logits_sink(
      [&out](int64_t, std::span<const float> row) { out.write(std::as_bytes(row)); });  // [vocab]
  GenerateOptions generate;
  generate.max_tokens = 0;
  session->append(ids, generate);
  Session* const sessions[] = {session.get()};
  ProgressBar bar("reading", "tokens");
  while (engine->step(sessions) > 0) {
    if (interrupted()) return kExitInterrupted;
    bar.update(static_cast<uint64_t>(session->n_cached()), static_cast<uint64_t>(n_tokens));
  }
  out.commit();
  if (!options.routes.empty()) write_json(options.routes, routes);
  return kExitOk;
}

}  // namespace

Action define_logits(Arguments& args) {
  auto options = std::make_shared<LogitsOptions>();
  add_model_flags(args, options->engine);
  Arguments input = args.exactly_one("Input", "one of these");
  input.option("--ids IDS.json", options->ids_file, "token ids, a JSON array; - for standard input");
  input.option("--text TEXT", options->text, "text, tokenized as a prompt");
  args.option("--out FILE.f32", options->out, "float32, little-endian, [n_tokens, vocab]").required();
  args.option("--routes FILE.json", options->routes, "the chosen experts, [layer][token][k] in router order");
  args.footer(R"(
examples:
  sluice logits model/ --ids ids.json --out logits.f32
  sluice logits moe/ --ids ids.json --out logits.f32 --routes routes.json --kv f32 --activations f32

Row i is what the model expects after token i. --kv f32 --activations f32 is the float path, for comparisons
with reference implementations. A dense layer's list of routes is empty.)");
  return [options] { return logits(*options); };
}

}  // namespace sluice
