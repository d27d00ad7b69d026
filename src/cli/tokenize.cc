// sluice tokenize and sluice detokenize: text to ids and back. Work on anything that has a tokenizer, also
// without weights.
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/arguments.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/model_flags.h"
#include "cli/verbs.h"
#include "engine/text_assets.h"
#include "hub/model_path.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

std::shared_ptr<const Tokenizer> tokenizer_of(const std::string& model) {
  const std::string path = resolve_model(model);
  std::shared_ptr<const Tokenizer> tokenizer = load_text_assets(path).tokenizer;
  if (!tokenizer) throw_error(ErrorKind::kNotFound, "%s brings no tokenizer", printable(path).c_str());
  return tokenizer;
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

struct TokenizeOptions {
  std::string model = "demo";
  std::string text;
  std::string file = "-";
  bool bos = false;
  bool plain = false;
  bool json = false;
};

int tokenize(const TokenizeOptions& options, bool has_text) {
  const std::shared_ptr<const Tokenizer> tokenizer = tokenizer_of(options.model);
  const std::string text = has_text ? options.text : read_text(options.file);
  EncodeOptions encode;
  encode.add_special = options.bos ? EncodeOptions::AddSpecial::kDefault : EncodeOptions::AddSpecial::kNever;
  encode.parse_special = !options.plain;
  const std::vector<int32_t> ids = tokenizer->encode(text, encode);
  if (options.json) {
    write_stdout(dump(ids));
    return kExitOk;
  }
  std::string lines;
  for (const int32_t id : ids)
    lines += format_string("%7d  %s\n", id, printable(tokenizer->token_text(id)).c_str());
  write_stdout(lines);
  return kExitOk;
}

struct DetokenizeOptions {
  std::string model = "demo";
  std::string ids_file = "-";
  std::vector<int32_t> ids;
  bool skip_special = false;
  bool json = false;
};

int detokenize(const DetokenizeOptions& options) {
  const std::shared_ptr<const Tokenizer> tokenizer = tokenizer_of(options.model);
  const std::vector<int32_t> ids = options.ids.empty() ? read_ids(options.ids_file) : options.ids;
  for (const int32_t id : ids) {
    if (id < 0 || static_cast<size_t>(id) >= tokenizer->vocab_size())
      throw_error(ErrorKind::kInvalid, "token id %d is outside the vocabulary of %zu tokens", id,
                  tokenizer->vocab_size());
  }
  const std::string text = tokenizer->decode(ids, options.skip_special);
  write_stdout(options.json ? dump({{"text", text}}) : text);
  return kExitOk;
}

}  // namespace

Action define_tokenize(Arguments& args) {
  auto options = std::make_shared<TokenizeOptions>();
  add_model_argument(args, options->model);
  const Option text = args.option("--text TEXT", options->text, "the text");
  args.option("--file FILE", options->file, "a file with the text; - for standard input, the default")
      .excludes(text);
  args.flag("--bos", options->bos, "add what the model puts around a prompt, such as a BOS token");
  args.flag("--plain", options->plain, "take <|special|> tokens in the text for text like any other");
  args.flag("--json", options->json, "print the ids as one JSON array, as --ids takes it");
  args.footer(R"(
examples:
  sluice tokenize demo --text "Once upon a time"     one token per line with its id
  sluice tokenize demo --file story.txt --json > ids.json

MODEL may also be a tokenizer.json, a tokenizer.model or a GGUF file without weights.)");
  return [options, text] { return tokenize(*options, text.given()); };
}

Action define_detokenize(Arguments& args) {
  auto options = std::make_shared<DetokenizeOptions>();
  add_model_argument(args, options->model);
  args.positional("ID", options->ids, "token ids");
  args.option("--ids IDS.json", options->ids_file,
              "a JSON array of token ids; - for standard input, the default");
  args.flag("--skip-special", options->skip_special, "leave control tokens out");
  args.flag("--json", options->json, "print {\"text\": ...}");
  args.footer(R"(
examples:
  sluice detokenize demo 574 560 259 452
  sluice detokenize demo --ids ids.json)");
  return [options] { return detokenize(*options); };
}

}  // namespace sluice
