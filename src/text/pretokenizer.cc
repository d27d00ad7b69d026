#include "text/pretokenizer.h"

#include <algorithm>
#include <utility>

namespace sluice {
namespace {

using Behavior = PreTokenizer::Behavior;
using Piece = PreTokenizer::Piece;

// Puts a piece, a match or a gap, behind those that were cut from the same text since `first`.
void append_piece(Behavior behavior, Piece piece, bool is_match, bool was_match, size_t first,
                  std::vector<Piece>* out) {
  if (piece.begin == piece.end) return;
  const bool has_previous = out->size() > first;
  bool joins = false;
  switch (behavior) {
    case Behavior::kIsolated:
      break;
    case Behavior::kRemoved:
      if (is_match) return;
      break;
    case Behavior::kMergedWithPrevious:
      joins = has_previous && is_match && !was_match;
      break;
    case Behavior::kMergedWithNext:
      joins = has_previous && !is_match && was_match;
      break;
    case Behavior::kContiguous:
      joins = has_previous && is_match == was_match;
      break;
  }
  if (joins) {
    out->back().end = piece.end;
  } else {
    out->push_back(piece);
  }
}

void split(const PreTokenizer::Split& step, std::string_view text, const std::vector<Piece>& in,
           std::vector<Piece>* out) {
  for (const Piece& piece : in) {
    const size_t first = out->size();
    bool was_match = false;
    const auto append = [&](size_t begin, size_t end, bool is_match) {
      append_piece(step.behavior,
                   {piece.begin + static_cast<uint32_t>(begin), piece.begin + static_cast<uint32_t>(end)},
                   is_match, was_match, first, out);
      if (begin < end) was_match = is_match;
    };
    const std::string_view piece_text = text.substr(piece.begin, piece.end - piece.begin);
    Regex::Matches matches(step.regex, piece_text);
    size_t end = 0;
    for (Regex::Match match; matches.next(&match); end = match.end) {
      append(end, match.begin, step.invert);
      append(match.begin, match.end, !step.invert);
    }
    append(end, piece_text.size(), step.invert);
  }
}

// Builds a changed text piece by piece: `write(piece text, &text)` appends what becomes of it.
template <typename Write>
void rewrite(PreTokenizer::Pieces* out, Write write) {
  std::string text;
  text.reserve(out->text.size() + out->text.size() / 4 + 16);
  for (Piece& piece : out->pieces) {
    const auto begin = static_cast<uint32_t>(text.size());
    write(out->text.substr(piece.begin, piece.end - piece.begin), &text);
    piece = {begin, static_cast<uint32_t>(text.size())};
  }
  out->changed = std::move(text);
  out->text = out->changed;
}

void add_prefix_spaces(PreTokenizer::Pieces* out) {
  rewrite(out, [](std::string_view piece, std::string* text) {
    if (!piece.starts_with(' ')) *text += ' ';
    *text += piece;
  });
}

void replace_blanks(const PreTokenizer::Metaspace& step, SegmentPlace place, PreTokenizer::Pieces* out) {
  bool prepend = prepends(step.scheme, place);
  rewrite(out, [&](std::string_view piece, std::string* text) {
    if (prepend && !piece.starts_with(' ') && !piece.starts_with(step.replacement)) *text += step.replacement;
    if (step.scheme == PrependScheme::kFirst) prepend = false;
    for (const char c : piece) {
      if (c == ' ') {
        *text += step.replacement;
      } else {
        *text += c;
      }
    }
  });
}

// Each replacement begins a piece; it goes with the text up to the next one.
void cut_at_replacements(const std::string& replacement, std::string_view text, const std::vector<Piece>& in,
                         std::vector<Piece>* out) {
  for (const Piece& piece : in) {
    size_t begin = piece.begin;
    while (begin < piece.end) {
      const size_t end = std::min<size_t>(text.find(replacement, begin + 1), piece.end);
      out->push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
      begin = end;
    }
  }
}

}  // namespace

void PreTokenizer::add(Step step) { steps_.push_back(std::move(step)); }

void PreTokenizer::cut(std::string_view segment, SegmentPlace place, Pieces* out) const {
  out->text = segment;
  out->pieces.assign(1, {0, static_cast<uint32_t>(segment.size())});
  for (const Step& step : steps_) {
    out->spare.clear();
    if (const auto* by_regex = std::get_if<Split>(&step)) {
      split(*by_regex, out->text, out->pieces, &out->spare);
    } else if (const auto* metaspace = std::get_if<Metaspace>(&step)) {
      replace_blanks(*metaspace, place, out);
      if (!metaspace->split) continue;
      cut_at_replacements(metaspace->replacement, out->text, out->pieces, &out->spare);
    } else {
      add_prefix_spaces(out);
      continue;
    }
    out->pieces.swap(out->spare);
  }
}

}  // namespace sluice
