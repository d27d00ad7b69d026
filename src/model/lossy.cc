#include "model/lossy.h"

#include <charconv>

#include "base/error.h"

namespace sluice {

std::string LossyRouting::describe() const {
  std::string text;
  const auto add = [&text](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (top_k_threshold > 0) add(format_string("top-k threshold %g", static_cast<double>(top_k_threshold)));
  if (cache_bias > 0) add(format_string("cache bias %g", static_cast<double>(cache_bias)));
  if (skip_missing) add("skips missing experts");
  return text;
}

LossyRouting parse_lossy(const std::vector<std::string>& modes) {
  LossyRouting lossy;
  for (const std::string& mode : modes) {
    const size_t colon = mode.find(':');
    const std::string name = mode.substr(0, colon);
    float value = 0;
    bool has_value = false;
    if (colon != std::string::npos) {
      const char *begin = mode.data() + colon + 1, *end = mode.data() + mode.size();
      const auto parsed = std::from_chars(begin, end, value);
      has_value = parsed.ec == std::errc() && parsed.ptr == end && value > 0 && value <= 1;
    }
    if (name == "topk" && has_value) {
      lossy.top_k_threshold = value;
    } else if (name == "bias" && has_value) {
      lossy.cache_bias = value;
    } else if (mode == "skip") {
      lossy.skip_missing = true;
    } else {
      throw_error(ErrorKind::kInvalid,
                  "--lossy %s: choose topk:T, bias:B (T and B above 0 and at most 1) or skip",
                  printable(mode).c_str());
    }
  }
  return lossy;
}

}  // namespace sluice
