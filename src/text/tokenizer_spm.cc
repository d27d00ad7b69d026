#include "text/tokenizer_spm.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "text/tokenizer_utf8.h"

namespace sluice {
namespace {

// Ranks by score, best first; equal scores share a rank.
std::vector<uint32_t> ranks_of(const std::vector<float>& scores) {
  std::vector<uint32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  std::vector<uint32_t> ranks(scores.size());
  uint32_t rank = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && scores[order[i]] < scores[order[i - 1]]) ++rank;
    ranks[order[i]] = rank;
  }
  return ranks;
}

void add_pieces(const SpmModel& model, const std::string& where, TokenizerParts* parts) {
  size_t n_bytes = 0;
  for (const std::string_view piece : model.pieces) n_bytes += piece.size();
  parts->vocabulary.reserve(model.pieces.size(), n_bytes);
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    if (!std::isfinite(model.scores[i])) {
      throw_error(ErrorKind::kCorrupt, "%s: token %zu has a score that is no number", where.c_str(), i);
    }
    parts->vocabulary.add(static_cast<int32_t>(i), model.pieces[i], model.kinds[i]);
  }
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    const bool special = model.kinds[i] == TokenKind::kControl || model.kinds[i] == TokenKind::kUnknown;
    if (!special && model.kinds[i] != TokenKind::kUserDefined) continue;
    AddedToken token;
    token.content = model.pieces[i];
    token.id = static_cast<int32_t>(i);
    token.special = special;
    token.normalized = !special && model.user_tokens_normalized;
    if (!token.content.empty() && is_valid_utf8(token.content)) parts->added.add(std::move(token));
  }
}

void add_normalizer(const SpmModel& model, Normalizer* normalizer) {
  const std::string blank = model.escape_blanks ? std::string(kSpaceMarker) : " ";
  if (!model.charsmap.empty()) normalizer->add(Charsmap(model.charsmap));
  if (model.collapse_blanks) normalizer->add(Normalizer::CollapseBlanks());
  if (model.escape_blanks) {
    normalizer->add(Normalizer::Replace{Regex(" ", Regex::Syntax::kLiteral), blank});
  }
  if (model.space_prefix != PrependScheme::kNever)
    normalizer->add(Normalizer::Prepend{blank, model.space_prefix});
}

}  // namespace

std::unique_ptr<TokenizerParts> make_spm_parts(const SpmModel& model, const std::string& where) {
  SLUICE_CHECK(model.scores.size() == model.pieces.size() && model.kinds.size() == model.pieces.size());
  if (model.pieces.empty() || model.pieces.size() > static_cast<size_t>(Vocabulary::kMaxId)) {
    throw_error(ErrorKind::kCorrupt, "%s: a vocabulary of %zu tokens", where.c_str(), model.pieces.size());
  }
  auto parts = std::make_unique<TokenizerParts>();
  add_pieces(model, where, parts.get());
  add_normalizer(model, &parts->normalizer);
  const auto byte_tokens = find_byte_tokens(parts->vocabulary);
  if (model.unigram) {
    Unigram::Options options;
    options.unknown = model.unk.value_or(-1);
    options.byte_tokens = byte_tokens;
    parts->model.emplace<Unigram>(parts->vocabulary, options, model.scores);
  } else {
    Bpe::Options options;
    options.unknown = model.unk.value_or(-1);
    options.byte_tokens = byte_tokens;
    parts->model.emplace<Bpe>(parts->vocabulary, options, ranks_of(model.scores));
  }
  parts->decoding.as_written = false;
  parts->decoding.byte_tokens = true;
  parts->decoding.replacements.push_back({std::string(kSpaceMarker), " "});
  parts->decoding.strip_first = model.space_prefix != PrependScheme::kNever;
  parts->bos = model.bos;
  parts->eos = model.eos;
  parts->pad = model.pad;
  parts->unk = model.unk;
  if (model.add_bos && model.bos) parts->prefix.push_back(*model.bos);
  if (model.add_eos && model.eos) parts->suffix.push_back(*model.eos);
  return parts;
}

}  // namespace sluice
