// Tokenizers: text to token ids and back, for every file that a checkpoint may bring them in. This header is
// all that other floors need. Chat templates are chat_template.h's; what a model does with ids is not ours.
//
// A Tokenizer is immutable once loaded: all its functions may be called from any number of threads at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

class GgufMetadata;     // format/gguf.h
struct TokenizerParts;  // tokenizer_parts.h

struct EncodeOptions {
  // Whether BOS and EOS are added around the text.
  enum class AddSpecial : uint8_t {
    kDefault,  // as the model's files say
    kNever,    // the text already has them (a rendered chat template) or continues another text
    kAlways,   // BOS even where the files do not ask for it; still nothing where the model has none
  };
  AddSpecial add_special = AddSpecial::kDefault;

  // True: "<|im_end|>" in the text becomes the control token. False: it is text like any other, as user input
  // must be.
  bool parse_special = false;

  // False: the text continues another one, so SentencePiece's space before the first word is left out.
  bool at_text_start = true;
};

class Tokenizer {
 public:
  // For the loaders; `parts` is checked by them.
  explicit Tokenizer(std::unique_ptr<const TokenizerParts> parts);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Ids in [0, vocab_size()). Invalid UTF-8 is read as U+FFFD. Throws kInvalid for a text over 1 GiB, and
  // kUnsupported when a regex of the model's own files exceeds the matcher's limits on this text.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  // Valid UTF-8: bytes that are none become U+FFFD. Ids that do not exist add nothing. `skip_special` leaves
  // special tokens out.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // What one token adds to the decoded text: raw bytes, maybe part of a character. Valid as long as the
  // tokenizer; empty for an id that does not exist.
  std::string_view token_bytes(int32_t id) const;

  // How the vocabulary writes the token: "▁the", "<0x0A>", "<|im_end|>"; byte-level tokens as their bytes ("
  // the").
  std::string_view token_text(int32_t id) const;

  // The id of a token by its token_text().
  std::optional<int32_t> find(std::string_view token) const;

  // One more than the largest id. The model's head may have more rows.
  size_t vocab_size() const;

  std::optional<int32_t> bos() const;
  std::optional<int32_t> eos() const;
  std::optional<int32_t> pad() const;
  std::optional<int32_t> unk() const;

  // Ids that end a generation, ascending: EOS, the ids of generation_config.json and end-of-turn tokens known
  // by name
  // (<|im_end|>, <|eot_id|>, <end_of_turn>...).
  const std::vector<int32_t>& end_ids() const;
  bool is_end(int32_t id) const;

  // Control tokens: never part of a text.
  bool is_special(int32_t id) const;

  // True when encode() adds BOS under AddSpecial::kDefault.
  bool adds_bos() const;

  // True when the first word of a text carries a space that decode() takes away again (SentencePiece).
  bool strips_first_space() const;

 private:
  std::unique_ptr<const TokenizerParts> parts_;
};

// Turns ids into text one at a time and never emits half a character: bytes wait until their character is
// complete. All pushes and the flush concatenated equal Tokenizer::decode(). Not thread-safe; keeps a
// reference.
class StreamingDetokenizer {
 public:
  // `at_text_start` false: the ids continue a text, so SentencePiece's first space is kept.
  explicit StreamingDetokenizer(const Tokenizer& tokenizer, bool skip_special = false,
                                bool at_text_start = true);

  std::string push(int32_t id);

  // What is left: U+FFFD for an incomplete character. The detokenizer may then be used on, as a continuation.
  std::string flush();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  bool at_start_;
  std::string pending_;  // an incomplete character, at most 3 bytes
};

// All loaders throw kCorrupt for files that contradict their format and kUnsupported for parts that are not
// implemented, naming `where` (a file name, for messages).

// Hugging Face tokenizer.json. `config_json` is tokenizer_config.json, or empty.
std::shared_ptr<const Tokenizer> load_tokenizer_json(std::string_view json, std::string_view config_json = {},
                                                     const std::string& where = "tokenizer.json");

// The tokenizer keys of GGUF metadata (`tokenizer.ggml.*`).
struct GgufVocabulary {
  std::string model;                // "llama" (SentencePiece BPE), "gpt2" (byte-level BPE), "t5" (Unigram)
  std::string pre;                  // pre-tokenizer of "gpt2", e.g. "llama-bpe", "qwen2"; empty: "default"
  std::vector<std::string> tokens;  // [n_tokens]
  std::vector<float> scores;        // [n_tokens] or empty
  std::vector<int32_t> types;  // [n_tokens] or empty: 1 normal 2 unknown 3 control 4 user 5 unused 6 byte
  std::vector<std::string> merges;  // "left right", best first
  std::string charsmap;             // precompiled_charsmap, for "t5"
  std::optional<int32_t> bos, eos, eot, eom, unk, pad;
  std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
};
std::shared_ptr<const Tokenizer> load_tokenizer_gguf(const GgufVocabulary& vocabulary,
                                                     const std::string& where = "GGUF");

// From an opened GGUF file. kNotFound when it has no tokenizer.
GgufVocabulary gguf_vocabulary(const GgufMetadata& metadata, const std::string& where = "GGUF");
std::shared_ptr<const Tokenizer> load_tokenizer_gguf(const GgufMetadata& metadata,
                                                     const std::string& where = "GGUF");

// SentencePiece's tokenizer.model: a protobuf with a BPE or Unigram model.
std::shared_ptr<const Tokenizer> load_sentencepiece(std::string_view bytes,
                                                    const std::string& where = "tokenizer.model");

// The same model in GGUF's words: "llama" or "t5". kUnsupported for a model that keeps blanks as they are,
// and for a rank file under its name.
GgufVocabulary sentencepiece_vocabulary(std::string_view bytes, const std::string& where = "tokenizer.model");

// A tiktoken rank file: lines of "<base64 bytes> <rank>". `pattern` is the name of a pre-tokenizer
// ("cl100k", "o200k", "gpt-2", "llama-bpe"...); `specials` are control tokens by name.
std::shared_ptr<const Tokenizer> load_tiktoken(std::string_view bytes, std::string_view pattern,
                                               const std::map<std::string, int32_t>& specials = {},
                                               const std::string& where = "rank file");

// GPT-2's pair of files: vocab.json and merges.txt, then added_tokens.json and tokenizer_config.json (with
// its added_tokens_decoder), either of which may be empty. `pattern` as in load_tiktoken.
std::shared_ptr<const Tokenizer> load_vocab_merges(std::string_view vocab_json, std::string_view merges_txt,
                                                   std::string_view pattern,
                                                   std::string_view added_tokens_json = {},
                                                   std::string_view config_json = {},
                                                   const std::string& where = "vocab.json");

// Whatever a checkpoint directory has: tokenizer.json, else tokenizer.model (SentencePiece or rank file),
// else vocab.json with merges.txt; with the end ids of generation_config.json. Throws kNotFound when there is
// none.
std::shared_ptr<const Tokenizer> load_tokenizer_directory(const std::string& path);

}  // namespace sluice
