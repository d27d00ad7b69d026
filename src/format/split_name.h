// File names of models in parts: "<stem>-00001-of-00003<extension>", in GGUF and safetensors alike.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

struct SplitName {
  std::string stem;       // all before "-00001-of-00003", directory included
  uint32_t number = 0;    // 1 to count
  uint32_t count = 0;     // at most 99999
  std::string extension;  // ".gguf"

  // The path of another part.
  std::string part(uint32_t part_number) const;
};

// nullopt where the name is not of this form or its numbers make no sense.
std::optional<SplitName> parse_split_name(std::string_view path, std::string_view extension);

}  // namespace sluice
