#include "format/split_name.h"

#include "base/error.h"

namespace sluice {
namespace {

// The five digits at the end of `text`, which is shortened by them.
std::optional<uint32_t> take_number(std::string_view* text) {
  if (text->size() < 5) return std::nullopt;
  uint32_t number = 0;
  for (const char c : text->substr(text->size() - 5)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<uint32_t>(c - '0');
  }
  text->remove_suffix(5);
  return number;
}

bool take_suffix(std::string_view* text, std::string_view suffix) {
  if (text->size() < suffix.size() || text->substr(text->size() - suffix.size()) != suffix) return false;
  text->remove_suffix(suffix.size());
  return true;
}

}  // namespace

std::string SplitName::part(uint32_t part_number) const {
  return stem + format_string("-%05u-of-%05u", part_number, count) + extension;
}

std::optional<SplitName> parse_split_name(std::string_view path, std::string_view extension) {
  std::string_view rest = path;
  if (!take_suffix(&rest, extension)) return std::nullopt;
  const auto count = take_number(&rest);
  if (!count || !take_suffix(&rest, "-of-")) return std::nullopt;
  const auto number = take_number(&rest);
  if (!number || !take_suffix(&rest, "-")) return std::nullopt;
  if (*number < 1 || *number > *count) return std::nullopt;
  return SplitName{std::string(rest), *number, *count, std::string(extension)};
}

}  // namespace sluice
