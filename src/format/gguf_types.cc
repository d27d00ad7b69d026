#include "format/gguf_types.h"

#include <algorithm>

namespace sluice {
namespace {

constexpr Encoding kNone = Encoding::kCount;

constexpr GgmlType kTypes[] = {
    {0, "F32", 1, 4, Encoding::kF32},
    {1, "F16", 1, 2, Encoding::kF16},
    {2, "Q4_0", 32, 18, Encoding::kQ4_0},
    {3, "Q4_1", 32, 20, Encoding::kQ4_1},
    {6, "Q5_0", 32, 22, Encoding::kQ5_0},
    {7, "Q5_1", 32, 24, Encoding::kQ5_1},
    {8, "Q8_0", 32, 34, Encoding::kQ8_0},
    {9, "Q8_1", 32, 36, kNone},
    {10, "Q2_K", 256, 84, Encoding::kQ2_K},
    {11, "Q3_K", 256, 110, Encoding::kQ3_K},
    {12, "Q4_K", 256, 144, Encoding::kQ4_K},
    {13, "Q5_K", 256, 176, Encoding::kQ5_K},
    {14, "Q6_K", 256, 210, Encoding::kQ6_K},
    {15, "Q8_K", 256, 292, kNone},
    {16, "IQ2_XXS", 256, 66, kNone},
    {17, "IQ2_XS", 256, 74, kNone},
    {18, "IQ3_XXS", 256, 98, kNone},
    {19, "IQ1_S", 256, 50, kNone},
    {20, "IQ4_NL", 32, 18, Encoding::kIQ4_NL},
    {21, "IQ3_S", 256, 110, kNone},
    {22, "IQ2_S", 256, 82, kNone},
    {23, "IQ4_XS", 256, 136, Encoding::kIQ4_XS},
    {24, "I8", 1, 1, kNone},
    {25, "I16", 1, 2, kNone},
    {26, "I32", 1, 4, kNone},
    {27, "I64", 1, 8, kNone},
    {28, "F64", 1, 8, kNone},
    {29, "IQ1_M", 256, 56, kNone},
    {30, "BF16", 1, 2, Encoding::kBF16},
    {34, "TQ1_0", 256, 54, kNone},
    {35, "TQ2_0", 256, 66, kNone},
    {39, "MXFP4", 32, 17, Encoding::kMXFP4},
    {40, "NVFP4", 64, 36, kNone},
    {41, "Q1_0", 128, 18, kNone},
    {42, "Q2_0", 64, 18, kNone},
};

struct Withdrawn {
  uint32_t id;
  std::string_view name;
};
constexpr Withdrawn kWithdrawn[] = {
    {4, "Q4_2"},      {5, "Q4_3"},        {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},
    {33, "Q4_0_8_8"}, {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"},
};

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

template <typename Predicate>
const GgmlType* find_type(Predicate matches) noexcept {
  const auto* found = std::find_if(std::begin(kTypes), std::end(kTypes), matches);
  return found == std::end(kTypes) ? nullptr : found;
}

}  // namespace

std::span<const GgmlType> ggml_types() noexcept { return kTypes; }

const GgmlType* ggml_type(uint32_t id) noexcept {
  return find_type([&](const GgmlType& type) { return type.id == id; });
}

std::string_view withdrawn_ggml_type(uint32_t id) noexcept {
  for (const Withdrawn& type : kWithdrawn) {
    if (type.id == id) return type.name;
  }
  return {};
}

const GgmlType* ggml_type(std::string_view name) noexcept {
  return find_type([&](const GgmlType& type) { return equal_ignoring_case(type.name, name); });
}

const GgmlType* ggml_type(Encoding encoding) noexcept {
  if (encoding == kNone) return nullptr;
  return find_type([&](const GgmlType& type) { return type.encoding == encoding; });
}

}  // namespace sluice
