// StreamingDetokenizer: bytes of tokens in, whole characters out.
#include "base/check.h"
#include "text/tokenizer.h"
#include "text/tokenizer_utf8.h"

namespace sluice {

StreamingDetokenizer::StreamingDetokenizer(const Tokenizer& tokenizer, bool skip_special, bool at_text_start)
    : tokenizer_(tokenizer), skip_special_(skip_special), at_start_(at_text_start) {}

std::string StreamingDetokenizer::push(int32_t id) {
  if (skip_special_ && tokenizer_.is_special(id)) return {};
  std::string_view bytes = tokenizer_.token_bytes(id);
  if (bytes.empty()) return {};
  if (at_start_ && tokenizer_.strips_first_space() && bytes.front() == ' ') bytes.remove_prefix(1);
  at_start_ = false;
  pending_ += bytes;

  std::string text;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Step step = utf8_step(rest);
    if (step.state == Utf8State::kIncomplete) break;
    text += step.state == Utf8State::kComplete ? rest.substr(0, step.length) : kReplacementCharacter;
    rest.remove_prefix(step.length);
  }
  pending_.erase(0, pending_.size() - rest.size());
  SLUICE_DCHECK(pending_.size() <= 3);
  return text;
}

std::string StreamingDetokenizer::flush() {
  const bool incomplete = !pending_.empty();
  pending_.clear();
  return std::string(incomplete ? kReplacementCharacter : std::string_view());
}

}  // namespace sluice
