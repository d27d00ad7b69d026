#include "base/units.h"

#include <charconv>
#include <cmath>

#include "base/error.h"

namespace sluice {
namespace {

// Consumes a non-negative decimal number; false if there is none.
bool take_number(std::string_view* text, double* value) {
  if (text->empty() || !((*text)[0] >= '0' && (*text)[0] <= '9')) return false;
  const auto [end, error] =
      std::from_chars(text->data(), text->data() + text->size(), *value, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(*value)) return false;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return true;
}

[[noreturn]] void bad_size(std::string_view text, std::string_view what) {
  throw_error(ErrorKind::kInvalid, "%s: '%s' is not a size; write for example 6G, 512M or 50%%",
              std::string(what).c_str(), printable(text, 40).c_str());
}

}  // namespace

uint64_t parse_bytes(std::string_view text, std::string_view what) {
  std::string_view rest = text;
  double value = 0;
  if (!take_number(&rest, &value)) bad_size(text, what);
  double scale = 1;
  if (!rest.empty()) {
    switch (rest[0]) {
      case 'k':
      case 'K':
        scale = 0x1p10;
        break;
      case 'm':
      case 'M':
        scale = 0x1p20;
        break;
      case 'g':
      case 'G':
        scale = 0x1p30;
        break;
      case 't':
      case 'T':
        scale = 0x1p40;
        break;
      case 'b':
      case 'B':
        break;
      default:
        bad_size(text, what);
    }
    const std::string_view suffix = rest.substr(scale == 1 ? 0 : 1);
    if (!(suffix.empty() || suffix == "B" || suffix == "b" || (scale != 1 && suffix == "iB"))) {
      bad_size(text, what);
    }
  }
  const double bytes = value * scale;
  if (!(bytes < 0x1p62)) bad_size(text, what);
  return static_cast<uint64_t>(bytes);
}

uint64_t parse_bytes_or_percent(std::string_view text, uint64_t whole, std::string_view what) {
  std::string_view rest = text;
  double value = 0;
  if (take_number(&rest, &value) && rest == "%") {
    if (!(value > 0 && value <= 100)) {
      throw_error(ErrorKind::kInvalid, "%s: '%s' must be above 0%% and at most 100%%",
                  std::string(what).c_str(), printable(text, 40).c_str());
    }
    return static_cast<uint64_t>(static_cast<double>(whole) * value / 100);
  }
  return parse_bytes(text, what);
}

std::string format_bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
  if (unit == 0) return format_string("%.0f B", value);
  return format_string(value >= 100 ? "%.0f %s" : value >= 10 ? "%.1f %s" : "%.2f %s", value, kUnits[unit]);
}

std::string format_seconds(double seconds) {
  if (seconds < 1) return format_string("%.1f ms", seconds * 1e3);
  if (seconds < 60) return format_string("%.1f s", seconds);
  const auto whole = static_cast<long>(seconds);
  return format_string("%ld min %02ld s", whole / 60, whole % 60);
}

}  // namespace sluice
