// Loads the tokenizer inside a GGUF file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Files
// say "llama" for SentencePiece BPE, "gpt2" for byte-level BPE, "t5" for Unigram.
#include <utility>

#include "base/error.h"
#include "text/bpe_merges.h"
#include "text/tokenizer.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_parts.h"
#include "text/tokenizer_spm.h"

namespace sluice {
namespace {

TokenKind kind_at(const GgufVocabulary& vocabulary, size_t i, const std::string& where) {
  if (vocabulary.types.empty()) return TokenKind::kNormal;
  const int32_t type = vocabulary.types[i];
  if (type < 0 || type > 6)
    throw_error(ErrorKind::kCorrupt, "%s: token %zu is of type %d", where.c_str(), i, type);
  return type == 0 ? TokenKind::kUnused : static_cast<TokenKind>(type);
}

std::unique_ptr<TokenizerParts> load_spm(const GgufVocabulary& vocabulary, const std::string& where) {
  const bool unigram = vocabulary.model == "t5";
  SpmModel model;
  model.unigram = unigram;
  model.pieces.assign(vocabulary.tokens.begin(), vocabulary.tokens.end());
  model.scores = vocabulary.scores;
  if (model.scores.empty()) model.scores.resize(model.pieces.size());
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) model.kinds.push_back(kind_at(vocabulary, i, where));
  model.charsmap = vocabulary.charsmap;
  const bool prefix = vocabulary.add_space_prefix.value_or(true);
  model.space_prefix = prefix ? PrependScheme::kAlways : PrependScheme::kNever;
  model.collapse_blanks = vocabulary.remove_extra_whitespaces.value_or(false);
  model.user_tokens_normalized = false;
  model.bos = vocabulary.bos;
  model.eos = vocabulary.eos;
  model.pad = vocabulary.pad;
  model.unk = vocabulary.unk;
  if (!unigram) {
    if (!model.bos) model.bos = 1;
    if (!model.eos) model.eos = 2;
    if (!model.unk) model.unk = 0;
  }
  model.add_bos = vocabulary.add_bos.value_or(!unigram);
  model.add_eos = vocabulary.add_eos.value_or(unigram);
  return make_spm_parts(model, where);
}

void add_bpe_tokens(const GgufVocabulary& vocabulary, const std::string& where, TokenizerParts* parts) {
  size_t n_bytes = 0;
  for (const std::string& token : vocabulary.tokens) n_bytes += token.size();
  parts->vocabulary.reserve(vocabulary.tokens.size(), n_bytes);
  std::string bytes;
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const TokenKind kind = kind_at(vocabulary, i, where);
    const bool special = kind == TokenKind::kControl || kind == TokenKind::kUnknown;
    if (special || kind == TokenKind::kUserDefined) {
      AddedToken token;
      token.content = vocabulary.tokens[i];
      token.id = id;
      token.special = special;
      add_token(std::move(token), where, parts);
    } else {
      bytes.clear();
      append_bytes_of_written(vocabulary.tokens[i], &bytes);
      parts->vocabulary.add(id, bytes, kind);
    }
  }
}

std::unique_ptr<TokenizerParts> load_bpe(const GgufVocabulary& vocabulary, const std::string& where) {
  auto parts = std::make_unique<TokenizerParts>();
  const std::string pre = vocabulary.pre.empty() ? "default" : vocabulary.pre;
  const auto named = add_named_pretokenizer(pre, &parts->pretokenizer);
  if (!named) {
    throw_error(ErrorKind::kUnsupported, "%s: pre-tokenizer \"%s\" (tokenizer.ggml.pre) is not known",
                where.c_str(), printable(pre).c_str());
  }
  add_bpe_tokens(vocabulary, where, parts.get());
  Bpe::Options options;
  options.byte_level = true;
  options.ignore_merges = named->ignores_merges;
  options.unknown = vocabulary.unk.value_or(-1);
  MergeBuilder merges(parts->vocabulary, true, vocabulary.merges.size());
  for (const std::string& merge : vocabulary.merges) merges.add(merge);  // files have some that cannot apply
  parts->model.emplace<Bpe>(parts->vocabulary, options, merges.take());
  parts->bos = vocabulary.bos;
  parts->eos = vocabulary.eos;
  parts->pad = vocabulary.pad;
  parts->unk = vocabulary.unk;
  if (vocabulary.add_bos.value_or(named->adds_bos) && parts->bos) parts->prefix.push_back(*parts->bos);
  if (vocabulary.add_eos.value_or(false) && parts->eos) parts->suffix.push_back(*parts->eos);
  return parts;
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer_gguf(const GgufVocabulary& vocabulary,
                                                     const std::string& where) {
  const size_t n = vocabulary.tokens.size();
  if (n == 0 || n > static_cast<size_t>(Vocabulary::kMaxId)) {
    throw_error(ErrorKind::kCorrupt, "%s: tokenizer.ggml.tokens has %zu entries", where.c_str(), n);
  }
  if ((!vocabulary.scores.empty() && vocabulary.scores.size() != n) ||
      (!vocabulary.types.empty() && vocabulary.types.size() != n)) {
    throw_error(ErrorKind::kCorrupt, "%s: %zu tokens, but %zu scores and %zu types", where.c_str(), n,
                vocabulary.scores.size(), vocabulary.types.size());
  }
  std::unique_ptr<TokenizerParts> parts;
  if (vocabulary.model == "llama" || vocabulary.model == "t5") {
    parts = load_spm(vocabulary, where);
  } else if (vocabulary.model == "gpt2") {
    parts = load_bpe(vocabulary, where);
  } else {
    throw_error(ErrorKind::kUnsupported, "%s: tokenizer \"%s\" is not supported (llama, gpt2 and t5 are)",
                where.c_str(), printable(vocabulary.model).c_str());
  }
  for (const auto& id : {vocabulary.eot, vocabulary.eom}) {
    if (id) parts->end_ids.push_back(*id);
  }
  finish_parts(where, parts.get());
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace sluice
