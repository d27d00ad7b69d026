// Loads GPT-2's pair of files: vocab.json (written token to id) and merges.txt (one "left right" a line, best
// first, under a "#version" line).
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/bpe_merges.h"
#include "text/tokenizer.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_config.h"
#include "text/tokenizer_json_value.h"
#include "text/tokenizer_loaders.h"
#include "text/tokenizer_parts.h"

namespace sluice {
namespace {

void load_vocab(std::string_view json, const std::string& where, Vocabulary* vocabulary) {
  const JsonDocument document(json, where);
  vocabulary->reserve(document.root().size(), json.size() / 2);
  std::string bytes;
  for (const auto field : document.root()) {
    const int64_t id = as_json_integer(field.value, field.key);
    if (id < 0 || id > Vocabulary::kMaxId ||
        vocabulary->kind(static_cast<int32_t>(id)) != TokenKind::kMissing) {
      throw_error(ErrorKind::kCorrupt, "%s: token \"%s\" has id %lld, which is taken or not in [0, %d]",
                  where.c_str(), printable(field.key).c_str(), static_cast<long long>(id),
                  Vocabulary::kMaxId);
    }
    bytes.clear();
    append_bytes_of_written(field.key, &bytes);
    vocabulary->add(static_cast<int32_t>(id), bytes, TokenKind::kNormal);
  }
}

MergeTable load_merges(std::string_view text, const Vocabulary& vocabulary) {
  MergeBuilder merges(vocabulary, true, text.size() / 8);
  size_t number = 1;
  for (std::string_view rest = text; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    if (!merges.add(line)) {
      throw_error(ErrorKind::kCorrupt, "merges.txt:%zu: \"%s\" is not a merge between tokens of vocab.json",
                  number, printable(line).c_str());
    }
  }
  return merges.take();
}

// added_tokens.json: text to id. The tokens of added_tokens_decoder know more and come first.
void add_tokens(const TokenizerConfig& config, std::string_view added_json, const std::string& where,
                TokenizerParts* parts) {
  for (const AddedToken& token : config.added) add_token(token, where, parts);
  if (added_json.empty()) return;
  const JsonDocument document(added_json, "added_tokens.json");
  for (const auto field : document.root()) {
    AddedToken token;
    token.content = field.key;
    const int64_t id = as_json_integer(field.value, field.key);
    token.id = id >= 0 && id <= Vocabulary::kMaxId ? static_cast<int32_t>(id) : -1;
    token.special = field.key.starts_with("<");
    bool known = false;
    for (const AddedToken& other : config.added) known |= other.content == token.content;
    if (!known) add_token(std::move(token), where, parts);
  }
}

// Control tokens that stand in vocab.json alone: those that the configuration names, and GPT-2's only one.
void add_named_specials(const TokenizerConfig& config, const std::string& where, TokenizerParts* parts) {
  for (const auto& name :
       {config.bos, config.eos, config.pad, config.unk, std::optional<std::string>("<|endoftext|>")}) {
    AddedToken token;
    token.id = name ? parts->vocabulary.find(*name) : -1;
    if (token.id < 0 || parts->vocabulary.kind(token.id) != TokenKind::kNormal) continue;
    token.content = *name;
    token.special = true;
    add_token(std::move(token), where, parts);
  }
  if (!config.eos) {
    const int32_t id = parts->vocabulary.find("<|endoftext|>");
    if (id >= 0) parts->eos = id;
  }
}

}  // namespace

std::unique_ptr<TokenizerParts> make_vocab_merges_parts(std::string_view vocab_json,
                                                        std::string_view merges_txt, std::string_view pattern,
                                                        std::string_view added_tokens_json,
                                                        const TokenizerConfig& config,
                                                        const std::string& where) {
  auto parts = std::make_unique<TokenizerParts>();
  const auto named = add_named_pretokenizer(pattern, &parts->pretokenizer);
  if (!named) {
    throw_error(ErrorKind::kUnsupported, "%s: pre-tokenizer \"%s\" is not known", where.c_str(),
                printable(pattern).c_str());
  }
  if (pattern == "qwen2") parts->normalizer.add(Normalizer::Form::kNfc);
  load_vocab(vocab_json, where, &parts->vocabulary);
  MergeTable merges = load_merges(merges_txt, parts->vocabulary);
  add_tokens(config, added_tokens_json, where, parts.get());
  add_named_specials(config, where, parts.get());
  Bpe::Options options;
  options.byte_level = true;
  options.ignore_merges = named->ignores_merges;
  parts->model.emplace<Bpe>(parts->vocabulary, options, std::move(merges));
  apply_tokenizer_config(config, parts.get());
  return parts;
}

std::shared_ptr<const Tokenizer> load_vocab_merges(std::string_view vocab_json, std::string_view merges_txt,
                                                   std::string_view pattern,
                                                   std::string_view added_tokens_json,
                                                   std::string_view config_json, const std::string& where) {
  auto parts = make_vocab_merges_parts(vocab_json, merges_txt, pattern, added_tokens_json,
                                       parse_tokenizer_config(config_json), where);
  finish_parts(where, parts.get());
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace sluice
