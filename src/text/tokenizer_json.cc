// Loads Hugging Face's tokenizer.json (https://github.com/huggingface/tokenizers): models BPE and Unigram.
#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "text/bpe_merges.h"
#include "text/tokenizer.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_config.h"
#include "text/tokenizer_json_steps.h"
#include "text/tokenizer_json_value.h"
#include "text/tokenizer_loaders.h"
#include "text/tokenizer_parts.h"

namespace sluice {
namespace {

class JsonLoader {
 public:
  JsonLoader(const JsonObject& root, const std::string& where, TokenizerParts* parts)
      : root_(root), where_(where), parts_(*parts), byte_level_(json_is_byte_level(root)) {}

  void load() {
    // First, because add_token() sends tokens through it.
    if (const auto step = json_object(root_, "normalizer")) add_json_normalizer(*step, 0, &parts_.normalizer);
    const auto model = json_object(root_, "model");
    if (!model) throw_error(ErrorKind::kCorrupt, "%s: no \"model\"", where_.c_str());
    std::string_view type = json_string(*model, "type").value_or("");
    if (type.empty()) type = json_member(*model, "merges") ? "BPE" : "Unigram";
    if (type == "BPE") {
      load_bpe(*model);
    } else if (type == "Unigram") {
      load_unigram(*model);
    } else {
      throw_error(ErrorKind::kUnsupported,
                  "%s: tokenizer model \"%s\" is not supported (BPE and Unigram are)", where_.c_str(),
                  printable(type).c_str());
    }
    if (const auto step = json_object(root_, "pre_tokenizer"))
      add_json_pretokenizer(*step, 0, &parts_.pretokenizer);
    if (const auto step = json_object(root_, "decoder")) add_json_decoder(*step, &parts_.decoding);
    if (const auto step = json_object(root_, "post_processor")) add_json_postprocessor(*step, 0, &parts_);
  }

 private:
  void add_piece(std::string_view written, int64_t id) {
    if (id < 0 || id > Vocabulary::kMaxId ||
        parts_.vocabulary.kind(static_cast<int32_t>(id)) != TokenKind::kMissing) {
      throw_error(ErrorKind::kCorrupt, "%s: token \"%s\" has id %lld, which is taken or not in [0, %d]",
                  where_.c_str(), printable(written).c_str(), static_cast<long long>(id), Vocabulary::kMaxId);
    }
    piece_.clear();
    if (byte_level_) {
      append_bytes_of_written(written, &piece_);
    } else {
      piece_ += written;
    }
    parts_.vocabulary.add(static_cast<int32_t>(id), piece_, TokenKind::kNormal);
  }

  void add_added_tokens() {
    const auto added = json_array(root_, "added_tokens");
    if (!added) return;
    for (const auto value : *added) {
      const JsonObject object = as_json_object(value, "added_tokens");
      AddedToken token = parse_added_token(object, json_integer(object, "id").value_or(-1));
      add_token(std::move(token), where_, &parts_);
    }
  }

  std::array<int32_t, 256> load_byte_tokens(const JsonObject& model) {
    if (!json_bool(model, "byte_fallback").value_or(false)) return Bpe::Options().byte_tokens;
    const auto ids = find_byte_tokens(parts_.vocabulary);
    for (const int32_t id : ids) {
      if (id >= 0) parts_.vocabulary.set_kind(id, TokenKind::kByte);
    }
    return ids;
  }

  void load_bpe(const JsonObject& model) {
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!json_string(model, name).value_or("").empty()) {
        throw_error(ErrorKind::kUnsupported, "%s: BPE with %s is not supported", where_.c_str(), name);
      }
    }
    const auto vocab = json_object(model, "vocab");
    if (!vocab) throw_error(ErrorKind::kCorrupt, "%s: the model has no vocabulary", where_.c_str());
    parts_.vocabulary.reserve(vocab->size(), vocab->size() * 8);
    for (const auto field : *vocab) add_piece(field.key, as_json_integer(field.value, field.key));

    MergeTable merges = load_merges(model);
    Bpe::Options options;
    options.byte_level = byte_level_;
    options.ignore_merges = json_bool(model, "ignore_merges").value_or(false);
    options.fuse_unknown = json_bool(model, "fuse_unk").value_or(false);
    options.unknown = parts_.vocabulary.find(json_string(model, "unk_token").value_or(""));
    if (options.unknown >= 0) parts_.unk = options.unknown;
    options.byte_tokens = load_byte_tokens(model);
    add_added_tokens();
    parts_.model.emplace<Bpe>(parts_.vocabulary, options, std::move(merges));
  }

  MergeTable load_merges(const JsonObject& model) {
    const auto list = json_array(model, "merges");
    if (!list) return {};
    MergeBuilder merges(parts_.vocabulary, byte_level_, list->size());
    size_t index = 0;
    for (const auto merge : *list) {
      if (!add_merge(merge, &merges)) {
        throw_error(ErrorKind::kCorrupt, "%s: merge %zu is not between tokens of the vocabulary",
                    where_.c_str(), index);
      }
      ++index;
    }
    return merges.take();
  }

  // "left right" or ["left", "right"]
  static bool add_merge(const JsonValue& merge, MergeBuilder* merges) {
    if (!merge.is_array()) return merges->add(as_json_string(merge, "merges"));
    const JsonArray pair = as_json_array(merge, "merges");
    return pair.size() == 2 && merges->add(as_json_string(pair.at(0).value_unsafe(), "merges"),
                                           as_json_string(pair.at(1).value_unsafe(), "merges"));
  }

  void load_unigram(const JsonObject& model) {
    const auto vocab = json_array(model, "vocab");
    if (!vocab) throw_error(ErrorKind::kCorrupt, "%s: the model has no vocabulary", where_.c_str());
    std::vector<float> scores;
    for (const auto entry : *vocab) {
      const JsonArray pair = as_json_array(entry, "vocab");
      double score = 0;
      if (pair.size() != 2 || pair.at(1).get(score) || !std::isfinite(score)) {
        throw_error(ErrorKind::kCorrupt, "%s: token %zu is not a text and a finite score", where_.c_str(),
                    scores.size());
      }
      add_piece(as_json_string(pair.at(0).value_unsafe(), "vocab"), static_cast<int64_t>(scores.size()));
      scores.push_back(static_cast<float>(score));
    }
    Unigram::Options options;
    const auto unknown = json_integer(model, "unk_id");
    if (unknown) {
      if (*unknown < 0 || static_cast<size_t>(*unknown) >= scores.size()) {
        throw_error(ErrorKind::kCorrupt, "%s: unk_id is %lld", where_.c_str(),
                    static_cast<long long>(*unknown));
      }
      options.unknown = static_cast<int32_t>(*unknown);
      parts_.unk = options.unknown;
      parts_.vocabulary.set_kind(options.unknown, TokenKind::kUnknown);
    }
    options.byte_tokens = load_byte_tokens(model);
    add_added_tokens();
    scores.resize(parts_.vocabulary.size());
    parts_.model.emplace<Unigram>(parts_.vocabulary, options, std::move(scores));
  }

  const JsonObject& root_;
  const std::string& where_;
  TokenizerParts& parts_;
  const bool byte_level_;
  std::string piece_;
};

}  // namespace

std::unique_ptr<TokenizerParts> make_json_parts(std::string_view json, const TokenizerConfig& config,
                                                const std::string& where) {
  auto parts = std::make_unique<TokenizerParts>();
  const JsonDocument document(json, where);
  JsonLoader(document.root(), where, parts.get()).load();
  for (const AddedToken& token : config.added) {
    if (parts->vocabulary.find(token.content) < 0) add_token(token, where, parts.get());
  }
  apply_tokenizer_config(config, parts.get());
  return parts;
}

std::shared_ptr<const Tokenizer> load_tokenizer_json(std::string_view json, std::string_view config_json,
                                                     const std::string& where) {
  auto parts = make_json_parts(json, parse_tokenizer_config(config_json), where);
  finish_parts(where, parts.get());
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace sluice
