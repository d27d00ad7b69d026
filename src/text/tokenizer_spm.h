// Tokenizers of the SentencePiece family (BPE by scores, Unigram), from whichever file their pieces come.
// Inside the directory only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/pretokenizer.h"
#include "text/tokenizer_parts.h"

namespace sluice {

struct SpmModel {
  bool unigram = false;                  // else BPE
  std::vector<std::string_view> pieces;  // [n_tokens]
  std::vector<float> scores;             // [n_tokens]
  std::vector<TokenKind> kinds;          // [n_tokens]
  std::string_view charsmap;             // may be empty
  PrependScheme space_prefix = PrependScheme::kFirst;
  bool collapse_blanks = false;
  bool escape_blanks = true;           // blanks become U+2581
  bool user_tokens_normalized = true;  // user-defined pieces are matched after the normalizer
  std::optional<int32_t> bos, eos, pad, unk;
  bool add_bos = false;
  bool add_eos = false;
};

// Throws kCorrupt for scores that are not finite and ids out of range.
std::unique_ptr<TokenizerParts> make_spm_parts(const SpmModel& model, const std::string& where);

}  // namespace sluice
