// What a tokenizer is made of. Loaders fill this in; tokenizer.cc runs it. Inside the directory only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"
#include "text/tokenizer_vocabulary.h"
#include "text/unigram.h"

namespace sluice {

// How one token becomes bytes, and what a text loses at its beginning: what "decoder" of tokenizer.json comes
// down to.
struct Decoding {
  struct Replacement {
    std::string from;
    std::string to;
  };
  bool as_written = true;                 // tokens are their texts (byte level); else the rules below hold
  std::vector<Replacement> replacements;  // in each token, in order
  bool byte_tokens = false;               // "<0x0A>" is one byte
  bool strip_each = false;                // each token loses a leading blank
  bool strip_first = false;               // the text loses a leading blank
};

struct TokenizerParts {
  Vocabulary vocabulary;
  AddedTokens added;
  Normalizer normalizer;
  PreTokenizer pretokenizer;
  std::variant<std::monostate, Bpe, Unigram> model;  // refers to `vocabulary`
  Decoding decoding;

  // Around a text by default. BOS and EOS are in there where the files ask for them.
  std::vector<int32_t> prefix;
  std::vector<int32_t> suffix;

  std::optional<int32_t> bos, eos, pad, unk;
  std::vector<int32_t> end_ids;

  // Made by finish_parts().
  std::string decoded;                  // bytes of all tokens, unless decoding.as_written
  std::vector<uint32_t> decoded_begin;  // [vocabulary.size() + 1]
};

// Adds `token` to the vocabulary, if its id is not there yet, and to the tokens that are cut out of texts.
// Tokens that no text can hold (empty, not UTF-8) only get their id. The normalizer must be complete. Throws
// kCorrupt for an id out of range.
void add_token(AddedToken token, const std::string& where, TokenizerParts* parts);

// Ids of "<0x00>" to "<0xFF>", -1 where missing.
std::array<int32_t, 256> find_byte_tokens(const Vocabulary& vocabulary);

// Checks ids, collects the end ids (EOS, ids known by name), decodes each token once.
void finish_parts(const std::string& where, TokenizerParts* parts);

}  // namespace sluice
