// Text on its way out of a session: ids become characters, and what may turn out to be a stop string waits
// until it is decided.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace sluice {

// Looks for stop strings in text that comes in pieces. Not thread-safe.
class StopMatcher {
 public:
  // Empty strings are left out.
  explicit StopMatcher(std::vector<std::string> stops);

  // Takes more text; true once a stop string is complete: the text then ends before the earliest one, and
  // nothing more may be pushed.
  bool push(std::string_view text);

  // Text that is certain: no stop string can begin in it any more.
  std::string take();

  // No more text comes: what was held back is certain now.
  void finish();

 private:
  std::vector<std::string> stops_;
  std::string certain_;
  std::string held_;  // shorter than the longest stop string
};

// A streaming detokenizer in front of a StopMatcher. Without a tokenizer there is no text. Not thread-safe;
// keeps a pointer to the tokenizer.
class TextStream {
 public:
  // `at_text_start` as in StreamingDetokenizer. Special tokens give no text.
  TextStream(const Tokenizer* tokenizer, bool at_text_start, std::vector<std::string> stops);

  bool push(int32_t id);  // true once a stop string is complete
  void finish();
  std::string take() { return matcher_.take(); }

 private:
  std::optional<StreamingDetokenizer> detokenizer_;
  StopMatcher matcher_;
};

}  // namespace sluice
