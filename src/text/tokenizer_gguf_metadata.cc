// Takes the tokenizer's keys out of GGUF metadata.
#include <cinttypes>

#include "base/error.h"
#include "format/gguf.h"
#include "text/tokenizer.h"
#include "text/tokenizer_vocabulary.h"

namespace sluice {
namespace {

std::optional<int32_t> id_at(const GgufMetadata& metadata, const char* key, const std::string& where) {
  const auto id = metadata.integer(key);
  if (!id) return std::nullopt;
  if (*id < 0 || *id > Vocabulary::kMaxId) {
    // Converters write 0xFFFFFFFF for "there is none".
    if (*id == UINT32_MAX || *id == -1) return std::nullopt;
    throw_error(ErrorKind::kCorrupt, "%s: %s is %" PRId64 ", not a token id", where.c_str(), key, *id);
  }
  return static_cast<int32_t>(*id);
}

}  // namespace

GgufVocabulary gguf_vocabulary(const GgufMetadata& metadata, const std::string& where) {
  GgufVocabulary vocabulary;
  const std::string* model = metadata.string("tokenizer.ggml.model");
  const auto* tokens = metadata.strings("tokenizer.ggml.tokens");
  if (!model || !tokens) {
    throw_error(ErrorKind::kNotFound,
                "%s: no tokenizer in this file (tokenizer.ggml.model, tokenizer.ggml.tokens)", where.c_str());
  }
  vocabulary.model = *model;
  vocabulary.tokens = *tokens;
  if (const auto* pre = metadata.string("tokenizer.ggml.pre")) vocabulary.pre = *pre;
  if (const auto* merges = metadata.strings("tokenizer.ggml.merges")) vocabulary.merges = *merges;
  if (const auto* scores = metadata.numbers("tokenizer.ggml.scores")) {
    vocabulary.scores.assign(scores->begin(), scores->end());
  }
  if (const auto* types = metadata.integers("tokenizer.ggml.token_type")) {
    for (const int64_t type : *types)
      vocabulary.types.push_back(type < 0 || type > 6 ? -1 : static_cast<int32_t>(type));
  }
  if (const auto* charsmap = metadata.integers("tokenizer.ggml.precompiled_charsmap")) {
    for (const int64_t byte : *charsmap) vocabulary.charsmap += static_cast<char>(byte);
  }
  vocabulary.bos = id_at(metadata, "tokenizer.ggml.bos_token_id", where);
  vocabulary.eos = id_at(metadata, "tokenizer.ggml.eos_token_id", where);
  vocabulary.eot = id_at(metadata, "tokenizer.ggml.eot_token_id", where);
  vocabulary.eom = id_at(metadata, "tokenizer.ggml.eom_token_id", where);
  vocabulary.unk = id_at(metadata, "tokenizer.ggml.unknown_token_id", where);
  vocabulary.pad = id_at(metadata, "tokenizer.ggml.padding_token_id", where);
  vocabulary.add_bos = metadata.boolean("tokenizer.ggml.add_bos_token");
  vocabulary.add_eos = metadata.boolean("tokenizer.ggml.add_eos_token");
  vocabulary.add_space_prefix = metadata.boolean("tokenizer.ggml.add_space_prefix");
  vocabulary.remove_extra_whitespaces = metadata.boolean("tokenizer.ggml.remove_extra_whitespaces");
  return vocabulary;
}

std::shared_ptr<const Tokenizer> load_tokenizer_gguf(const GgufMetadata& metadata, const std::string& where) {
  return load_tokenizer_gguf(gguf_vocabulary(metadata, where), where);
}

}  // namespace sluice
