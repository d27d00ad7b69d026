#include "compress/vocabulary.h"

#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "compress/vocabulary_json.h"
#include "compress/vocabulary_spm.h"
#include "platform/file.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kMaxTextBytes = uint64_t{256} << 20;

std::optional<std::string> read_if_there(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return std::nullopt;
  return read_text_file(path.string(), kMaxTextBytes);
}

ReadJson parse_object(const std::string& text, const std::string& where) {
  ReadJson json = ReadJson::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw_error(ErrorKind::kCorrupt, "%s: not a JSON object", where.c_str());
  return json;
}

// ---- tokenizer.json to GGUF

class JsonVocabulary {
 public:
  JsonVocabulary(const ReadJson& json, std::string where) : json_(json), where_(std::move(where)) {
    const auto model = json.find("model");
    if (model == json.end() || !model->is_object()) unsupported("it has no model");
    model_ = &*model;
    const std::string type = text(*model_, "type", "BPE");
    if (type != "BPE") unsupported("its model is " + type + ", not BPE");
    if (const auto normalizer = json.find("normalizer"); normalizer != json.end() && !normalizer->is_null()) {
      // GGUF readers know no NFC; the files of Qwen, whose tokenizer asks for it, do without too.
      if (!normalizer->is_object() || text(*normalizer, "type", "") != "NFC")
        unsupported("its normalizer is not expressible");
    }
    const auto pre = json.find("pre_tokenizer");
    if (pre == json.end() || !pre->is_object()) unsupported("it is not byte-level BPE");
    read_step(*pre, 0);
    if (!byte_level_) unsupported("it is not byte-level BPE");
  }

  std::string pre_name() const {
    const auto ignore = model_->find("ignore_merges");
    const bool ignores = ignore != model_->end() && ignore->is_boolean() && ignore->get<bool>();
    const std::string_view name = find_pretokenizer_name(patterns_, ignores);
    if (name.empty()) unsupported("no name in GGUF stands for its pre-tokenizer");
    return std::string(name);
  }

  void add_tokens(GgufWriter& writer, int64_t n_tokens) const {
    std::vector<std::string> tokens(static_cast<size_t>(n_tokens));
    std::vector<int64_t> types(static_cast<size_t>(n_tokens), kUnused);
    const auto put = [&](const std::string& token, const ReadJson& id, TokenType type) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(n_tokens)) {
        throw_error(ErrorKind::kCorrupt, "%s: token '%s' has id %s; the model has %lld tokens",
                    where_.c_str(), printable(token).c_str(), printable(id.dump()).c_str(),
                    static_cast<long long>(n_tokens));
      }
      tokens[id.get<size_t>()] = token;
      types[id.get<size_t>()] = type;
    };
    const auto vocab = model_->find("vocab");
    if (vocab == model_->end() || !vocab->is_object()) unsupported("it has no vocabulary");
    for (const auto& [token, id] : vocab->items()) put(token, id, kNormal);
    if (const auto added = json_.find("added_tokens"); added != json_.end() && added->is_array()) {
      for (const ReadJson& token : *added) {
        if (!token.is_object()) unsupported("an added token is no object");
        put(text(token, "content", ""), token.value("id", ReadJson()),
            token.value("special", ReadJson()) == true ? kControl : kUser);
      }
    }
    for (size_t i = 0; i < tokens.size(); ++i)
      if (types[i] == kUnused) tokens[i] = format_string("[PAD%zu]", i);
    writer.add("tokenizer.ggml.tokens", GgufType::kString, tokens);
    writer.add("tokenizer.ggml.token_type", GgufType::kI32, types);
    writer.add("tokenizer.ggml.merges", GgufType::kString, merges());
  }

 private:
  [[noreturn]] void unsupported(const std::string& why) const { throw_not_for_gguf(where_, why); }

  std::string text(const ReadJson& object, const char* key, const char* otherwise) const {
    return json_text(object, key, otherwise, where_);
  }

  void read_step(const ReadJson& step, int depth) {
    if (depth > 8 || !step.is_object()) unsupported("its pre-tokenizer is malformed");
    const std::string type = text(step, "type", "");
    if (type == "Sequence") {
      const auto steps = step.find("pretokenizers");
      if (steps == step.end() || !steps->is_array()) unsupported("its pre-tokenizer is malformed");
      for (const ReadJson& inner : *steps) read_step(inner, depth + 1);
    } else if (type == "Split") {
      read_split(step);
    } else if (type == "Digits" && json_flag(step, "individual_digits", false)) {
      patterns_.emplace_back("\\p{N}");
    } else if (type == "ByteLevel") {
      byte_level_ = true;
      if (json_flag(step, "add_prefix_space", true)) unsupported("it puts a space before the text");
      if (json_flag(step, "use_regex", true)) patterns_.emplace_back(gpt2_pattern());
    } else {
      unsupported("its pre-tokenizer has a step " + type);
    }
  }

  // Keeping the matches apart, or throwing away what is between matches that cover everything.
  void read_split(const ReadJson& step) {
    const auto pattern = step.find("pattern");
    const std::string behavior = text(step, "behavior", "Isolated");
    const bool inverted = json_flag(step, "invert", false);
    const bool isolates = behavior == "Isolated" || (behavior == "Removed" && inverted);
    if (!isolates || pattern == step.end() || !pattern->is_object() || !pattern->contains("Regex"))
      unsupported("its pre-tokenizer splits in a way that has no name");
    patterns_.push_back(text(*pattern, "Regex", ""));
  }

  std::vector<std::string> merges() const {
    std::vector<std::string> out;
    const auto list = model_->find("merges");
    if (list == model_->end() || !list->is_array()) unsupported("it has no merges");
    for (const ReadJson& merge : *list) out.push_back(json_merge(merge, where_));
    return out;
  }

  const ReadJson& json_;
  std::string where_;
  const ReadJson* model_ = nullptr;
  std::vector<std::string> patterns_;
  bool byte_level_ = false;
};

// chat_template.jinja, or tokenizer_config.json's own: one text, or several of which one is the default.
std::optional<std::string> template_of(const fs::path& directory, const std::string& config_text) {
  if (auto own = read_if_there(directory / "chat_template.jinja")) return own;
  if (config_text.empty()) return std::nullopt;
  const ReadJson config = parse_object(config_text, (directory / "tokenizer_config.json").string());
  const auto found = config.find("chat_template");
  if (found == config.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return std::nullopt;
  for (const ReadJson& entry : *found) {
    if (!entry.is_object() || entry.value("name", ReadJson()) != "default") continue;
    if (const auto text = entry.find("template"); text != entry.end() && text->is_string())
      return text->get<std::string>();
  }
  return std::nullopt;
}

void add_ids(GgufWriter& writer, const Tokenizer& tokenizer) {
  const auto add = [&](const char* key, const std::optional<int32_t>& id) {
    if (id) writer.add(key, GgufType::kU32, int64_t{*id});
  };
  add("tokenizer.ggml.bos_token_id", tokenizer.bos());
  add("tokenizer.ggml.eos_token_id", tokenizer.eos());
  add("tokenizer.ggml.padding_token_id", tokenizer.pad());
  add("tokenizer.ggml.unknown_token_id", tokenizer.unk());
  for (const int32_t id : tokenizer.end_ids()) {
    if (tokenizer.eos() == id) continue;
    add("tokenizer.ggml.eot_token_id", id);
    break;
  }
  writer.add("tokenizer.ggml.add_bos_token", GgufType::kBool, tokenizer.adds_bos());
  const std::vector<int32_t> around = tokenizer.encode("");  // what a text is put between
  const bool adds_eos = around.size() > (tokenizer.adds_bos() ? 1U : 0U) && around.back() == tokenizer.eos();
  writer.add("tokenizer.ggml.add_eos_token", GgufType::kBool, adds_eos);
}

// ---- GGUF to tokenizer.json

Json split_step(std::string_view pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

Json tokenizer_json(const GgufVocabulary& v, bool ignores_merges, bool adds_bos) {
  Json vocab = Json::object(), added = Json::array(), merges = Json::array();
  // Json::object keeps its order in a list, where every insertion by key would search: push_back does not.
  auto& entries = vocab.get_ref<Json::object_t&>();
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const int64_t type = v.types.empty() ? int64_t{kNormal} : v.types[i];
    if (type == kUnused) continue;
    const bool normal = type == kNormal;
    if (normal) entries.push_back(Json::object_t::value_type(v.tokens[i], i));
    if (!normal) added.push_back(added_token(i, v.tokens[i], type != kUser));
  }
  for (const std::string& merge : v.merges) merges.push_back(merge);
  Json steps = Json::array();
  for (const std::string_view pattern : named_patterns(v.pre)) steps.push_back(split_step(pattern));
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
  steps.push_back(byte_level);
  std::optional<NamedToken> bos;
  if (adds_bos && v.bos) bos = {v.tokens[static_cast<size_t>(*v.bos)], *v.bos};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", steps}}},
          {"post_processor", bos ? template_processing(bos, {}) : byte_level},
          {"decoder", byte_level},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", ignores_merges},
            {"vocab", vocab},
            {"merges", merges}}}};
}

std::string text_of(const Json& json, const std::string& where) {
  try {
    return json.dump(1);
  } catch (const Json::exception&) {
    throw_error(ErrorKind::kUnsupported,
                "%s: this tokenizer cannot be put into tokenizer.json: a token or the template is not UTF-8; "
                "write a .gguf",
                where.c_str());
  }
}

}  // namespace

void add_gguf_vocabulary(GgufWriter& writer, const Checkpoint& source, int64_t n_tokens) {
  const fs::path directory(source.path());
  const std::string config = read_if_there(directory / "tokenizer_config.json").value_or(std::string());
  if (const auto text = template_of(directory, config))
    writer.add("tokenizer.chat_template", GgufType::kString, *text);
  const std::string json_path = (directory / "tokenizer.json").string();
  if (const auto text = read_if_there(json_path)) {
    const auto tokenizer = load_tokenizer_directory(directory.string());
    const ReadJson json = parse_object(*text, json_path);
    if (is_spm_json(json)) {
      add_spm_json(writer, json, *tokenizer, n_tokens, json_path);
    } else {
      const JsonVocabulary vocabulary(json, json_path);
      writer.add("tokenizer.ggml.model", GgufType::kString, std::string("gpt2"));
      writer.add("tokenizer.ggml.pre", GgufType::kString, vocabulary.pre_name());
      vocabulary.add_tokens(writer, n_tokens);
    }
    return add_ids(writer, *tokenizer);
  }
  const std::string model_path = (directory / "tokenizer.model").string();
  if (const auto bytes = read_if_there(model_path)) {
    const auto tokenizer = load_tokenizer_directory(directory.string());
    add_spm_model(writer, *bytes, *tokenizer, n_tokens, model_path);
    return add_ids(writer, *tokenizer);
  }
  for (const char* other : {"vocab.json", "tekken.json"}) {
    if (fs::exists(directory / other))
      throw_not_for_gguf((directory / other).string(), "only tokenizer.json and tokenizer.model can");
  }
}

std::optional<HfVocabulary> hf_vocabulary(const Checkpoint& source) {
  const GgufMetadata& metadata = source.metadata();
  const std::string* model = metadata.string("tokenizer.ggml.model");
  if (!model || *model == "none") return std::nullopt;
  const GgufVocabulary v = gguf_vocabulary(metadata, source.path());
  if (v.model != "gpt2" && v.model != "llama") {
    throw_error(ErrorKind::kUnsupported,
                "%s: a tokenizer of kind %s cannot be put into tokenizer.json, only BPE can; write a .gguf",
                source.path().c_str(), printable(v.model).c_str());
  }
  const auto tokenizer = load_tokenizer_gguf(v, source.path());  // checks ids and sizes
  HfVocabulary out;
  if (v.model == "llama") {
    out.tokenizer_json = text_of(spm_tokenizer_json(v, *tokenizer, source.path()), source.path());
  } else {
    PreTokenizer unused;
    const bool ignores_merges =
        add_named_pretokenizer(v.pre.empty() ? "default" : v.pre, &unused)->ignores_merges;
    out.tokenizer_json = text_of(tokenizer_json(v, ignores_merges, tokenizer->adds_bos()), source.path());
  }
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}};
  config["add_bos_token"] = tokenizer->adds_bos();
  const auto name = [&](const char* key, const std::optional<int32_t>& id) {
    if (id && static_cast<size_t>(*id) < v.tokens.size()) config[key] = v.tokens[static_cast<size_t>(*id)];
  };
  if (v.add_eos) config["add_eos_token"] = *v.add_eos;
  name("bos_token", tokenizer->bos());
  name("eos_token", tokenizer->eos());
  name("pad_token", tokenizer->pad());
  name("unk_token", tokenizer->unk());
  if (const std::string* text = metadata.string("tokenizer.chat_template")) config["chat_template"] = *text;
  out.tokenizer_config_json = text_of(config, source.path());
  if (tokenizer->bos()) out.bos = *tokenizer->bos();
  if (tokenizer->eos()) out.eos = *tokenizer->eos();
  return out;
}

}  // namespace sluice
