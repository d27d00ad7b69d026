// Runs the parts of a tokenizer: added tokens, normalizer, pre-tokenizer and model on the way in, each
// token's bytes on the way out.
#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "text/tokenizer_parts.h"
#include "text/tokenizer_utf8.h"

namespace sluice {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;

// One call of encode().
class Encoder {
 public:
  Encoder(const TokenizerParts& parts, bool parse_special, std::vector<int32_t>* ids)
      : parts_(parts), parse_special_(parse_special), ids_(ids) {}

  // Cuts added tokens out of `text` and encodes what lies between them.
  void encode(AddedTokens::Stage stage, std::string_view text, SegmentPlace place) {
    size_t begin = 0;
    AddedTokens::Match match;
    while (parts_.added.find(stage, text, begin, parse_special_, &match)) {
      encode_between(stage, text.substr(begin, match.begin - begin), place);
      ids_->push_back(match.id);
      begin = match.end;
      place = SegmentPlace::kAfterToken;
    }
    encode_between(stage, text.substr(begin), place);
  }

 private:
  void encode_between(AddedTokens::Stage stage, std::string_view text, SegmentPlace place) {
    if (text.empty()) return;
    if (stage == AddedTokens::Stage::kNormalized) return encode_segment(text, place);
    if (parts_.normalizer.empty()) return encode(AddedTokens::Stage::kNormalized, text, place);
    const std::string normalized = parts_.normalizer.apply(text, place);
    encode(AddedTokens::Stage::kNormalized, normalized, place);
  }

  void encode_segment(std::string_view segment, SegmentPlace place) {
    if (parts_.pretokenizer.empty()) return encode_piece(segment);
    parts_.pretokenizer.cut(segment, place, &pieces_);
    for (const auto& piece : pieces_.pieces) {
      encode_piece(pieces_.text.substr(piece.begin, piece.end - piece.begin));
    }
  }

  void encode_piece(std::string_view piece) {
    if (const auto* bpe = std::get_if<Bpe>(&parts_.model)) {
      bpe->encode(piece, &bpe_scratch_, ids_);
    } else if (const auto* unigram = std::get_if<Unigram>(&parts_.model)) {
      unigram->encode(piece, &unigram_scratch_, ids_);
    }
  }

  const TokenizerParts& parts_;
  bool parse_special_;
  std::vector<int32_t>* ids_;
  PreTokenizer::Pieces pieces_;
  Bpe::Scratch bpe_scratch_;
  Unigram::Scratch unigram_scratch_;
};

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {
  SLUICE_CHECK(parts_);
}
Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  using AddSpecial = EncodeOptions::AddSpecial;
  if (text.size() > kMaxTextBytes) {
    throw_error(ErrorKind::kInvalid, "a text of %zu bytes: tokenize it in parts of at most 1 GiB",
                text.size());
  }
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 8);
  const bool add = options.add_special != AddSpecial::kNever;
  if (add) ids = parts_->prefix;
  if (options.add_special == AddSpecial::kAlways && !adds_bos() && parts_->bos)
    ids.insert(ids.begin(), *parts_->bos);
  std::string valid;
  if (!is_valid_utf8(text)) {
    valid = replace_invalid_utf8(text);
    text = valid;
  }
  const auto place = options.at_text_start ? SegmentPlace::kTextStart : SegmentPlace::kContinuation;
  Encoder(*parts_, options.parse_special, &ids).encode(AddedTokens::Stage::kRaw, text, place);
  if (add) ids.insert(ids.end(), parts_->suffix.begin(), parts_->suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  StreamingDetokenizer detokenizer(*this, skip_special);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.push(id);
  return text += detokenizer.flush();
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  if (parts_->decoding.as_written) return parts_->vocabulary.text(id);
  if (id < 0 || static_cast<size_t>(id) >= parts_->vocabulary.size()) return {};
  const uint32_t begin = parts_->decoded_begin[static_cast<size_t>(id)];
  const uint32_t end = parts_->decoded_begin[static_cast<size_t>(id) + 1];
  return std::string_view(parts_->decoded).substr(begin, end - begin);
}

std::string_view Tokenizer::token_text(int32_t id) const { return parts_->vocabulary.text(id); }

std::optional<int32_t> Tokenizer::find(std::string_view token) const {
  const int32_t id = parts_->vocabulary.find(token);
  return id >= 0 ? std::optional(id) : std::nullopt;
}

size_t Tokenizer::vocab_size() const { return parts_->vocabulary.size(); }
std::optional<int32_t> Tokenizer::bos() const { return parts_->bos; }
std::optional<int32_t> Tokenizer::eos() const { return parts_->eos; }
std::optional<int32_t> Tokenizer::pad() const { return parts_->pad; }
std::optional<int32_t> Tokenizer::unk() const { return parts_->unk; }
const std::vector<int32_t>& Tokenizer::end_ids() const { return parts_->end_ids; }

bool Tokenizer::is_end(int32_t id) const {
  return std::binary_search(parts_->end_ids.begin(), parts_->end_ids.end(), id);
}

bool Tokenizer::is_special(int32_t id) const {
  const TokenKind kind = parts_->vocabulary.kind(id);
  return kind == TokenKind::kControl || kind == TokenKind::kUnknown;
}

bool Tokenizer::adds_bos() const {
  return parts_->bos &&
         std::find(parts_->prefix.begin(), parts_->prefix.end(), *parts_->bos) != parts_->prefix.end();
}

bool Tokenizer::strips_first_space() const { return parts_->decoding.strip_first; }

}  // namespace sluice
