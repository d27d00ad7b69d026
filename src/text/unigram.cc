#include "text/unigram.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "text/tokenizer_utf8.h"

namespace sluice {

// How much worse than the worst token an unknown character is.
static constexpr double kUnknownPenalty = 10.0;

Unigram::Unigram(const Vocabulary& vocabulary, const Options& options, std::vector<float> score_of)
    : options_(options), score_of_(std::move(score_of)) {
  float lowest = 0;
  bool any = false;
  for (size_t i = 0; i < vocabulary.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    if (vocabulary.kind(id) != TokenKind::kNormal || vocabulary.text(id).empty()) continue;
    trie_.add(vocabulary.text(id), id);
    lowest = any ? std::min(lowest, score_of_[i]) : score_of_[i];
    any = true;
  }
  unknown_score_ = lowest - kUnknownPenalty;
}

void Unigram::encode(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const {
  auto& best = scratch->best;
  constexpr double kUnreached = -std::numeric_limits<double>::infinity();
  best.assign(piece.size() + 1, {kUnreached, 0, -1});
  best[0].score = 0;
  const auto offer = [&](size_t begin, size_t end, int32_t id, double score) {
    const double total = best[begin].score + score;
    if (total > best[end].score) best[end] = {total, static_cast<uint32_t>(begin), id};
  };
  for (size_t begin = 0; begin < piece.size();) {
    const size_t length = std::min<size_t>(utf8_length(piece[begin]), piece.size() - begin);
    bool has_character = false;
    trie_.for_each_prefix(piece.substr(begin), [&](size_t n_bytes, int32_t id) {
      offer(begin, begin + n_bytes, id, score_of_[static_cast<size_t>(id)]);
      has_character |= n_bytes == length;
    });
    if (!has_character) offer(begin, begin + length, -1, unknown_score_);
    begin += length;
  }

  auto& ends = scratch->ends;
  ends.clear();
  for (auto end = static_cast<uint32_t>(piece.size()); end > 0; end = best[end].begin) ends.push_back(end);
  bool after_unknown = false;
  for (size_t i = ends.size(); i-- > 0;) {
    const auto& token = best[ends[i]];
    if (token.id >= 0) {
      ids->push_back(token.id);
      after_unknown = false;
      continue;
    }
    const std::string_view bytes = piece.substr(token.begin, ends[i] - token.begin);
    const auto byte_token = [&](char c) { return options_.byte_tokens[static_cast<uint8_t>(c)]; };
    if (std::all_of(bytes.begin(), bytes.end(), [&](char c) { return byte_token(c) >= 0; })) {
      for (const char c : bytes) ids->push_back(byte_token(c));
      after_unknown = false;
    } else if (options_.unknown >= 0) {
      if (!after_unknown) ids->push_back(options_.unknown);
      after_unknown = true;
    }
  }
}

}  // namespace sluice
