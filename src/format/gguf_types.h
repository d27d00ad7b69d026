// The tensor types that GGUF numbers (ggml_type), with their block sizes, whether or not a kernel reads them:
// sizes are needed to check a file's tensor table even where a tensor is never used.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "encoding/encoding.h"

namespace sluice {

struct GgmlType {
  uint32_t id;            // as stored in the file
  std::string_view name;  // "Q4_K"
  uint16_t block;         // values per block
  uint16_t bytes;         // bytes per block
  Encoding encoding;      // kCount: known, but no kernel reads it
};

// All known types, ascending by id.
std::span<const GgmlType> ggml_types() noexcept;

// nullptr for numbers that are unknown or were withdrawn from the format.
const GgmlType* ggml_type(uint32_t id) noexcept;

// The name of a number that GGUF once had and withdrew ("Q4_0_4_4"), empty for all others.
std::string_view withdrawn_ggml_type(uint32_t id) noexcept;

// By name, case-insensitive; nullptr if there is none.
const GgmlType* ggml_type(std::string_view name) noexcept;

// The type that stores `encoding`; nullptr if GGUF has none (affine).
const GgmlType* ggml_type(Encoding encoding) noexcept;

}  // namespace sluice
