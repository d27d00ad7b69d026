#include "engine/text_stream.h"

#include <algorithm>
#include <utility>

namespace sluice {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

bool StopMatcher::push(std::string_view text) {
  held_ += text;
  size_t found = std::string::npos;
  for (const std::string& stop : stops_) found = std::min(found, held_.find(stop));
  if (found != std::string::npos) {
    certain_.append(held_, 0, found);
    held_.clear();
    return true;
  }
  // The longest tail that begins a stop string stays.
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n)
      if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n)) keep = n;
  }
  certain_.append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return false;
}

std::string StopMatcher::take() { return std::exchange(certain_, {}); }

void StopMatcher::finish() { certain_ += std::exchange(held_, {}); }

TextStream::TextStream(const Tokenizer* tokenizer, bool at_text_start, std::vector<std::string> stops)
    : matcher_(std::move(stops)) {
  if (tokenizer) detokenizer_.emplace(*tokenizer, /*skip_special=*/true, at_text_start);
}

bool TextStream::push(int32_t id) { return detokenizer_ && matcher_.push(detokenizer_->push(id)); }

void TextStream::finish() {
  if (detokenizer_ && matcher_.push(detokenizer_->flush())) return;
  matcher_.finish();
}

}  // namespace sluice
