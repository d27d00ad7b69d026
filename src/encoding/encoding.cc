#include "encoding/encoding.h"

namespace sluice {
namespace {

using enum Family;
constexpr Activation kFloatInput = Activation::kF32;
constexpr Activation kInt8Input = Activation::kInt8;

// In the order of the enumerators.
constexpr std::array<EncodingInfo, kNumEncodings> kInfo = {{
    {Encoding::kF32, "f32", kFloat, 1, 4, 32, kFloatInput},
    {Encoding::kF16, "f16", kFloat, 1, 2, 16, kFloatInput},
    {Encoding::kBF16, "bf16", kFloat, 1, 2, 16, Activation::kBF16},
    {Encoding::kQ4_0, "q4_0", kBlock, 32, 18, 4, kInt8Input},
    {Encoding::kQ4_1, "q4_1", kBlock, 32, 20, 4, kInt8Input},
    {Encoding::kQ5_0, "q5_0", kBlock, 32, 22, 5, kInt8Input},
    {Encoding::kQ5_1, "q5_1", kBlock, 32, 24, 5, kInt8Input},
    {Encoding::kQ8_0, "q8_0", kBlock, 32, 34, 8, kInt8Input},
    {Encoding::kQ2_K, "q2_k", kBlock, 256, 84, 2, kInt8Input},
    {Encoding::kQ3_K, "q3_k", kBlock, 256, 110, 3, kInt8Input},
    {Encoding::kQ4_K, "q4_k", kBlock, 256, 144, 4, kInt8Input},
    {Encoding::kQ5_K, "q5_k", kBlock, 256, 176, 5, kInt8Input},
    {Encoding::kQ6_K, "q6_k", kBlock, 256, 210, 6, kInt8Input},
    {Encoding::kIQ4_NL, "iq4_nl", kBlock, 32, 18, 4, kInt8Input},
    {Encoding::kIQ4_XS, "iq4_xs", kBlock, 256, 136, 4, kInt8Input},
    {Encoding::kMXFP4, "mxfp4", kBlock, 32, 17, 4, kInt8Input},
    {Encoding::kAffine2, "affine2", kAffine, 8, 2, 2, kInt8Input},
    {Encoding::kAffine3, "affine3", kAffine, 8, 3, 3, kInt8Input},
    {Encoding::kAffine4, "affine4", kAffine, 8, 4, 4, kInt8Input},
    {Encoding::kAffine5, "affine5", kAffine, 8, 5, 5, kInt8Input},
    {Encoding::kAffine6, "affine6", kAffine, 8, 6, 6, kInt8Input},
    {Encoding::kAffine8, "affine8", kAffine, 8, 8, 8, kInt8Input},
}};

constexpr bool in_enum_order() {
  for (size_t i = 0; i < kInfo.size(); ++i) {
    if (static_cast<size_t>(kInfo[i].encoding) != i) return false;
  }
  return true;
}
static_assert(in_enum_order());

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

const EncodingInfo& encoding_info(Encoding encoding) noexcept { return kInfo[static_cast<size_t>(encoding)]; }

Encoding encoding_from_name(std::string_view name) noexcept {
  for (const EncodingInfo& info : kInfo) {
    if (info.name.size() != name.size()) continue;
    size_t i = 0;
    while (i < name.size() && lower(name[i]) == info.name[i]) ++i;
    if (i == name.size()) return info.encoding;
  }
  return Encoding::kCount;
}

size_t plane_count(Encoding encoding) noexcept {
  return encoding_info(encoding).family == Family::kAffine ? 3 : 1;
}

bool cols_fit(Encoding encoding, EncodingParams params, uint64_t cols) noexcept {
  const EncodingInfo& info = encoding_info(encoding);
  if (info.family != Family::kAffine) return cols % info.block == 0;
  return (params.group == 32 || params.group == 64 || params.group == 128) && cols % params.group == 0;
}

std::array<uint64_t, kMaxPlanes> row_bytes(Encoding encoding, EncodingParams params, uint64_t cols) noexcept {
  const EncodingInfo& info = encoding_info(encoding);
  const uint64_t values = cols / info.block * info.bytes;
  if (info.family != Family::kAffine) return {values, 0, 0};
  const uint64_t scales = cols / params.group * scale_bytes(params.scale_type);
  return {values, scales, scales};
}

double bits_per_weight(Encoding encoding, EncodingParams params) noexcept {
  const EncodingInfo& info = encoding_info(encoding);
  double bits = 8.0 * info.bytes / info.block;
  if (info.family == Family::kAffine)
    bits += 16.0 * static_cast<double>(scale_bytes(params.scale_type)) / params.group;
  return bits;
}

}  // namespace sluice
