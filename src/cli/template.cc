// sluice template: renders a chat template exactly.
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/model_flags.h"
#include "cli/verbs.h"
#include "engine/text_assets.h"
#include "format/json.h"
#include "hub/model_path.h"
#include "text/chat_template.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

struct TemplateOptions {
  std::string model = "demo";
  std::string template_file;
  std::string context_file;
  std::string now;
};

// BOS and EOS by name, where the context does not bring its own.
void add_token_names(const Tokenizer& tokenizer, Json& context) {
  const auto add = [&](const char* key, std::optional<int32_t> id) {
    if (id && !context.contains(key)) context[key] = std::string(tokenizer.token_text(*id));
  };
  add("bos_token", tokenizer.bos());
  add("eos_token", tokenizer.eos());
}

int render(const TemplateOptions& options) {
  Json context = parse_json(read_text(options.context_file), printable(options.context_file), {},
                            "write the template's variables as a JSON object");
  if (!context.is_object())
    throw_error(ErrorKind::kInvalid, "%s: not a JSON object of variables",
                printable(options.context_file).c_str());
  RenderOptions render_options;
  if (!options.now.empty()) render_options.now = parse_now(options.now);

  std::optional<ChatTemplate> chat_template;
  if (!options.template_file.empty()) {
    chat_template.emplace(read_text(options.template_file), options.template_file);
  } else {
    const std::string path = resolve_model(options.model);
    TextAssets assets = load_text_assets(path);
    if (!assets.chat_template)
      throw_error(ErrorKind::kNotFound, "%s has no chat template; name one with --template FILE",
                  printable(path).c_str());
    chat_template = std::move(assets.chat_template);
    if (assets.tokenizer) add_token_names(*assets.tokenizer, context);
  }
  write_stdout(chat_template->render(context, render_options));
  return kExitOk;
}

}  // namespace

Action define_template(Arguments& args) {
  auto options = std::make_shared<TemplateOptions>();
  add_model_argument(args, options->model);
  args.option("--template FILE", options->template_file, "a Jinja file instead of a model's template");
  args.option("--context FILE.json", options->context_file,
              "a JSON object of variables: messages, tools, add_generation_prompt, ...; - for standard input")
      .required();
  args.option("--now TIME", options->now, "what strftime_now sees, for instance 2025-07-10T12:00:00");
  args.footer(R"(
examples:
  echo '{"messages": [{"role": "user", "content": "Hi"}]}' | sluice template model.gguf --context -
  sluice template --template chat_template.jinja --context conversation.json --now 2025-07-10T12:00:00

Prints the rendering and nothing else, not even a line break. bos_token and eos_token come from the model
unless the context has them.)");
  return [options] { return render(*options); };
}

}  // namespace sluice
