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
  if (stand_in_threshold > 0) {
    add(format_string("stand-ins for %s experts below %g of a token's first",
                      stand_in_always ? "all" : "missing", static_cast<double>(stand_in_threshold)));
  }
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
    } else if ((name == "stand-in" || name == "stand-in-all") && (has_value || colon == std::string::npos)) {
      lossy.stand_in_threshold = has_value ? value : 1;
      lossy.stand_in_always = name == "stand-in-all";
    } else {
      throw_error(ErrorKind::kInvalid,
                  "--lossy %s: choose topk:T, bias:B, skip, stand-in, stand-in:T or stand-in-all:T (T and B "
                  "above 0 and at most 1)",
                  printable(mode).c_str());
    }
  }
  if (lossy.skip_missing && lossy.stand_in_threshold > 0) {
    throw_error(ErrorKind::kInvalid,
                "--lossy skip and stand-in both say what becomes of missing experts: choose one");
  }
  return lossy;
}

}  // namespace sluice
