// A second decoder, for tests alone, written in another style than reference.cc so that both are unlikely to
// share a mistake: every field is found by its bit number in the block, floats are put together from their
// fields with ldexp, and arithmetic is in double, rounded to f32 at the end (and after the product where an
// f32 would round).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "encoding/encoding.h"

namespace sluice::test {

class IndependentDecoder {
 public:
  explicit IndependentDecoder(const std::byte* block) : block_(block) {}

  // `count` bits from bit number `bit`, bit 0 being the least significant of byte 0.
  uint32_t bits(int64_t bit, int count) const {
    uint32_t value = 0;
    for (int i = count - 1; i >= 0; --i) {
      const auto byte = std::to_integer<uint32_t>(block_[(bit + i) / 8]);
      value = 2 * value + (byte / (1u << ((bit + i) % 8))) % 2;
    }
    return value;
  }
  int signed_byte(int64_t byte) const {
    const int value = static_cast<int>(bits(8 * byte, 8));
    return value > 127 ? value - 256 : value;
  }

  // A float with the given field widths at byte `byte`: f16 is (10, 5), bf16 (7, 8), f32 (23, 8).
  double ieee(int64_t byte, int fraction_bits, int exponent_bits) const {
    const int64_t bit = 8 * byte;
    const double fraction = bits(bit, fraction_bits);
    const int exponent = static_cast<int>(bits(bit + fraction_bits, exponent_bits));
    const double sign = bits(bit + fraction_bits + exponent_bits, 1) ? -1 : 1;
    const int bias = (1 << (exponent_bits - 1)) - 1;
    if (exponent == 2 * bias + 1)
      return fraction == 0 ? sign * HUGE_VAL : std::numeric_limits<double>::quiet_NaN();
    if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
    return sign * std::ldexp(std::ldexp(1, fraction_bits) + fraction, exponent - bias - fraction_bits);
  }
  double half(int64_t byte) const { return ieee(byte, 10, 5); }

  // Value `i` of a one-plane block that starts here.
  double value(Encoding encoding, int i) const {
    switch (encoding) {
      case Encoding::kF32:
        return ieee(0, 23, 8);
      case Encoding::kF16:
        return half(0);
      case Encoding::kBF16:
        return ieee(0, 7, 8);
      case Encoding::kQ4_0:
        return half(0) * (split_nibble(2, i) - 8);
      case Encoding::kQ4_1:
        return half(0) * split_nibble(4, i) + half(2);
      case Encoding::kQ5_0:
        return half(0) * (split_nibble(6, i) + 16.0 * bits(16 + i, 1) - 16);
      case Encoding::kQ5_1:
        return half(0) * (split_nibble(8, i) + 16.0 * bits(32 + i, 1)) + half(2);
      case Encoding::kQ8_0:
        return half(0) * signed_byte(2 + i);
      case Encoding::kQ2_K: {
        const double scale = half(80) * bits(8 * (i / 16), 4);
        const double min = half(82) * bits(8 * (i / 16) + 4, 4);
        return scale * crumb(16, i) - min;
      }
      case Encoding::kQ3_K: {
        const int run = i / 16;
        const double low = bits(8 * (96 + run % 8) + 4 * (run / 8), 4);
        const double high = bits(8 * (104 + run % 4) + 2 * (run / 4), 2);
        const double third = bits(8 * (i % 32) + i / 32, 1);
        return half(108) * (low + 16 * high - 32) * (crumb(32, i) + 4 * third - 4);
      }
      case Encoding::kQ4_K:
        return half(0) * k_scale(i / 32) * k_nibble(16, i) - half(2) * k_min(i / 32);
      case Encoding::kQ5_K: {
        const double fifth = bits(8 * (16 + i % 32) + i / 32, 1);
        return half(0) * k_scale(i / 32) * (k_nibble(48, i) + 16 * fifth) - half(2) * k_min(i / 32);
      }
      case Encoding::kQ6_K: {
        const double nibble = bits(8 * (64 * (i / 128) + i % 64) + 4 * (i / 64 % 2), 4);
        return half(208) * signed_byte(192 + i / 16) * (nibble + 16 * crumb(128, i) - 32);
      }
      case Encoding::kIQ4_NL:
        return half(0) * iq4_level(static_cast<int>(split_nibble(2, i)));
      case Encoding::kIQ4_XS: {
        const int run = i / 32;
        const double scale = bits(32 + 4 * run, 4) + 16.0 * bits(16 + 2 * run, 2) - 32;
        return half(0) * scale * iq4_level(static_cast<int>(split_nibble(8 + 16 * run, i % 32)));
      }
      case Encoding::kMXFP4: {
        const int exponent = static_cast<int>(bits(0, 8));
        if (exponent == 255) return std::numeric_limits<double>::quiet_NaN();
        return std::ldexp(e2m1(static_cast<uint32_t>(split_nibble(1, i))), exponent - 127);
      }
      default:
        return std::numeric_limits<double>::quiet_NaN();
    }
  }

 private:
  // 32 values in 16 bytes, the second half in the high nibbles.
  double split_nibble(int64_t byte, int i) const { return bits(8 * (byte + i % 16) + 4 * (i / 16), 4); }
  double crumb(int64_t byte, int i) const {
    return bits(8 * (byte + 32 * (i / 128) + i % 32) + 2 * (i / 32 % 4), 2);
  }
  double k_nibble(int64_t byte, int i) const {
    return bits(8 * (byte + 32 * (i / 64) + i % 32) + 4 * (i / 32 % 2), 4);
  }
  double k_scale(int run) const {
    if (run < 4) return bits(8 * (4 + run), 6);
    return bits(8 * (8 + run), 4) + 16.0 * bits(8 * run + 6, 2);
  }
  double k_min(int run) const {
    if (run < 4) return bits(8 * (8 + run), 6);
    return bits(8 * (8 + run) + 4, 4) + 16.0 * bits(8 * (4 + run) + 6, 2);
  }
  static double iq4_level(int nibble) {
    const int negative[8] = {127, 104, 83, 65, 49, 35, 22, 10};
    const int positive[8] = {1, 13, 25, 38, 53, 69, 89, 113};
    return nibble < 8 ? -negative[nibble] : positive[nibble - 8];
  }
  static double e2m1(uint32_t nibble) {
    const double fraction = nibble & 1;
    const int exponent = static_cast<int>(nibble >> 1 & 3);
    const double magnitude = exponent == 0 ? fraction / 2 : std::ldexp(1 + fraction / 2, exponent - 1);
    return magnitude != 0 && nibble >= 8 ? -magnitude : magnitude;
  }

  const std::byte* block_;
};

// Value (row, col) of `w`.
inline float independent_value(const WeightView& w, int64_t row, int64_t col) {
  const auto plane = [&](size_t p) { return IndependentDecoder(w.plane[p] + row * w.stride[p]); };
  const EncodingInfo& info = encoding_info(w.encoding);
  if (info.family != Family::kAffine) {
    const IndependentDecoder block(w.plane[0] + row * w.stride[0] + col / info.block * info.bytes);
    return static_cast<float>(block.value(w.encoding, static_cast<int>(col % info.block)));
  }
  const int64_t group = col / w.params.group;
  const auto edge = [&](size_t p) {
    switch (w.params.scale_type) {
      case ScaleType::kF16:
        return plane(p).half(2 * group);
      case ScaleType::kBF16:
        return plane(p).ieee(2 * group, 7, 8);
      default:
        return plane(p).ieee(4 * group, 23, 8);
    }
  };
  const auto product = static_cast<float>(edge(1) * plane(0).bits(col * info.bits, info.bits));
  return static_cast<float>(static_cast<double>(product) + edge(2));
}

}  // namespace sluice::test
