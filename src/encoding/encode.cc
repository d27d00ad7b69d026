#include "encoding/encode.h"

#include <array>
#include <bit>
#include <cinttypes>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/error.h"
#include "encoding/block_affine.h"
#include "encoding/block_q4_0.h"
#include "encoding/block_q8_0.h"
#include "encoding/half.h"

namespace sluice {
namespace {

constexpr int32_t kInfinityBits = 0x7f800000;

int32_t magnitude_bits(float value) { return std::bit_cast<int32_t>(value) & 0x7fffffff; }
bool is_finite(float value) { return magnitude_bits(value) < kInfinityBits; }

// Extremes are looked for among integers that are in the order of the floats: such loops vectorise without
// assumptions on NaN and the sign of zero.
int32_t largest_magnitude_bits(const float* in, int64_t n) {
  int32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t bits = magnitude_bits(in[i]);
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

// The largest magnitude that `encoding` can hold; for kAffine the scale type decides (encode_affine).
float largest_value(Encoding encoding) {
  constexpr float kLargestF16 = 65504.0f;
  switch (encoding) {
    case Encoding::kF16:
      return kLargestF16;
    case Encoding::kBF16:
      return 0x1.fep127f;
    case Encoding::kQ4_0:
      return 8 * kLargestF16;
    case Encoding::kQ8_0:
      return 127 * kLargestF16;
    default:
      return 0x1.fffffep127f;
  }
}

void check_range(Encoding encoding, const float* in, int64_t cols) {
  const int32_t limit = magnitude_bits(largest_value(encoding));
  if (largest_magnitude_bits(in, cols) <= limit) return;
  int64_t i = 0;
  while (magnitude_bits(in[i]) <= limit) ++i;
  if (!is_finite(in[i]))
    throw_error(ErrorKind::kInvalid, "value %" PRId64 " of the row is %s: only finite weights can be encoded",
                i, std::isnan(in[i]) ? "NaN" : "infinite");
  throw_error(ErrorKind::kInvalid,
              "value %" PRId64
              " of the row is %g, more than %s can hold (%g): choose an encoding of wider range",
              i, static_cast<double>(in[i]), encoding_info(encoding).name.data(),
              static_cast<double>(largest_value(encoding)));
}

// 1 / scale, or 0 where the scale is so small that it is stored as 0 anyway.
float inverse(float scale) { return std::fabs(scale) > 0x1p-126f ? 1.0f / scale : 0.0f; }

void encode(const float* in, BlockQ8_0* block) {
  const float scale = std::bit_cast<float>(largest_magnitude_bits(in, 32)) / 127;
  const float per_unit = inverse(scale);
  block->scale = f32_to_f16(scale);
  for (int i = 0; i < 32; ++i) {
    const float x = in[i] * per_unit;
    // Truncation of x + 0.5 away from zero rounds to nearest; with the float below 0.5 also just under a tie.
    block->values[i] = static_cast<int8_t>(static_cast<int32_t>(x + std::copysign(0x1.fffffep-2f, x)));
  }
}

void encode(const float* in, BlockQ4_0* block) {
  const int32_t largest = largest_magnitude_bits(in, 32);
  int first = 0;
  while (magnitude_bits(in[first]) != largest) ++first;
  const float scale = in[first] / -8;
  const float per_unit = inverse(scale);
  block->scale = f32_to_f16(scale);
  for (int j = 0; j < 16; ++j) {
    const auto low = static_cast<int32_t>(in[j] * per_unit + 8.5f);
    const auto high = static_cast<int32_t>(in[j + 16] * per_unit + 8.5f);
    block->nibbles[j] = static_cast<uint8_t>((low < 15 ? low : 15) | (high < 15 ? high : 15) << 4);
  }
}

template <typename Block>
void encode_blocks(const float* in, int64_t cols, std::byte* out) {
  auto* block = reinterpret_cast<Block*>(out);
  for (int64_t i = 0; i < cols; i += Block::kValues) encode(in + i, block++);
}

// Narrows each value to 16 bits by `convert`.
template <typename Convert>
void encode_each(const float* in, int64_t cols, std::byte* out, Convert convert) {
  for (int64_t i = 0; i < cols; ++i) {
    const uint16_t bits = convert(in[i]);
    std::memcpy(out + 2 * i, &bits, sizeof(bits));
  }
}

// Integers in the order of finite floats, and back.
int32_t order_key(float value) {
  const auto bits = std::bit_cast<int32_t>(value);
  return bits ^ (bits >> 31 & 0x7fffffff);
}
float from_order_key(int32_t key) { return std::bit_cast<float>(key ^ (key >> 31 & 0x7fffffff)); }

// Scale and bias of a group before they are stored, as MLX chooses them.
struct Grid {
  float scale, bias;
};

Grid choose_grid(const float* in, int group, float largest_level) {
  int32_t lowest = order_key(in[0]), highest = lowest;
  for (int i = 1; i < group; ++i) {
    const int32_t key = order_key(in[i]);
    lowest = key < lowest ? key : lowest;
    highest = key > highest ? key : highest;
  }
  const float min = from_order_key(lowest), max = from_order_key(highest);
  constexpr float kSmallestScale = 1e-7f;  // a constant group must not divide by zero
  const float step = std::fmax((max - min) / largest_level, kSmallestScale);
  const bool from_below = std::fabs(min) > std::fabs(max);
  const float scale = from_below ? step : -step;
  const float edge = from_below ? min : max;
  const float edge_level = std::nearbyint(edge / scale);
  if (edge_level == 0) return {scale, 0};
  return {edge / edge_level, edge};
}

// Writes element `index` of an array of `type` and returns the value that it holds now.
float store_scale(std::byte* array, ScaleType type, int64_t index, float value) {
  if (type == ScaleType::kF32) {
    std::memcpy(array + 4 * index, &value, sizeof(value));
    return value;
  }
  const uint16_t bits = type == ScaleType::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
  std::memcpy(array + 2 * index, &bits, sizeof(bits));
  return type == ScaleType::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

// One row and where its planes go.
struct AffineRow {
  EncodingParams params;
  const float* in;  // [cols]
  int64_t cols;
  uint8_t* stream;
  std::byte* scales;
  std::byte* biases;
};

template <int kBits>
void encode_affine(const AffineRow& row) {
  constexpr float kLargestLevel = (1 << kBits) - 1;
  constexpr float kRounder = 0x1.8p23f;  // x + this holds x, rounded to an integer, in its lowest bits
  const int group = row.params.group;
  uint8_t* out = row.stream;
  for (int64_t g = 0; g < row.cols / group; ++g) {
    const float* in = row.in + g * group;
    const Grid grid = choose_grid(in, group, kLargestLevel);
    const float scale = store_scale(row.scales, row.params.scale_type, g, grid.scale);
    const float bias = store_scale(row.biases, row.params.scale_type, g, grid.bias);
    if (!is_finite(scale) || !is_finite(bias))
      throw_error(ErrorKind::kInvalid,
                  "values %" PRId64 " to %" PRId64
                  " of the row reach %g, more than their scales can hold: choose "
                  "scales of wider range",
                  g * group, (g + 1) * group - 1,
                  static_cast<double>(std::bit_cast<float>(largest_magnitude_bits(in, group))));
    uint8_t levels[128] = {};
    for (int i = 0; i < group; ++i) {
      float level = (in[i] - bias) / scale;
      level = level > 0 ? level : 0;
      level = level < kLargestLevel ? level : kLargestLevel;
      levels[i] = static_cast<uint8_t>(std::bit_cast<uint32_t>(level + kRounder));
    }
    for (int i = 0; i < group; i += 8, out += kBits) pack_affine(levels + i, kBits, out);
  }
}

}  // namespace

bool can_encode(Encoding encoding) noexcept {
  if (encoding == Encoding::kQ4_0 || encoding == Encoding::kQ8_0) return true;
  return encoding != Encoding::kCount && encoding_info(encoding).family != Family::kBlock;
}

void encode_row(Encoding encoding, EncodingParams params, const float* in, int64_t cols,
                std::span<std::byte> plane0, std::span<std::byte> plane1, std::span<std::byte> plane2) {
  SLUICE_CHECK(can_encode(encoding), "encoding %d", static_cast<int>(encoding));
  SLUICE_CHECK(cols >= 0 && cols_fit(encoding, params, static_cast<uint64_t>(cols)), "%" PRId64 " values",
               cols);
  const std::array<uint64_t, kMaxPlanes> sizes = row_bytes(encoding, params, static_cast<uint64_t>(cols));
  SLUICE_CHECK(plane0.size() == sizes[0] && plane1.size() == sizes[1] && plane2.size() == sizes[2]);

  check_range(encoding, in, cols);
  const AffineRow row = {params,        in,           cols, reinterpret_cast<uint8_t*>(plane0.data()),
                         plane1.data(), plane2.data()};
  switch (encoding) {
    case Encoding::kF32:
      std::memcpy(plane0.data(), in, plane0.size());
      return;
    case Encoding::kF16:
      return encode_each(in, cols, plane0.data(), f32_to_f16);
    case Encoding::kBF16:
      return encode_each(in, cols, plane0.data(), f32_to_bf16);
    case Encoding::kQ4_0:
      return encode_blocks<BlockQ4_0>(in, cols, plane0.data());
    case Encoding::kQ8_0:
      return encode_blocks<BlockQ8_0>(in, cols, plane0.data());
    case Encoding::kAffine2:
      return encode_affine<2>(row);
    case Encoding::kAffine3:
      return encode_affine<3>(row);
    case Encoding::kAffine4:
      return encode_affine<4>(row);
    case Encoding::kAffine5:
      return encode_affine<5>(row);
    case Encoding::kAffine6:
      return encode_affine<6>(row);
    case Encoding::kAffine8:
      return encode_affine<8>(row);
    default:
      return;  // can_encode() lets no other through
  }
}

}  // namespace sluice
