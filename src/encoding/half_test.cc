#include "encoding/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "encoding/independent_decoder_test.h"

namespace sluice {
namespace {

constexpr int kPatterns = 65536;

double ieee16(uint16_t bits, int fraction_bits, int exponent_bits) {
  return test::IndependentDecoder(reinterpret_cast<const std::byte*>(&bits))
      .ieee(0, fraction_bits, exponent_bits);
}

TEST(Half, F16DecodesEveryPattern) {
  int finite = 0, infinite = 0, nan = 0;
  for (int i = 0; i < kPatterns; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const float got = f16_to_f32(bits);
    if (std::isnan(ieee16(bits, 10, 5))) {
      ASSERT_TRUE(std::isnan(got)) << bits;
      ASSERT_EQ(std::bit_cast<uint32_t>(got), (bits & 0x8000u) << 16 | 0x7fc00000u | (bits & 0x3ffu) << 13);
      ++nan;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(got),
                std::bit_cast<uint32_t>(static_cast<float>(ieee16(bits, 10, 5))));
      ++(std::isinf(got) ? infinite : finite);
    }
  }
  EXPECT_EQ(finite, 63488);
  EXPECT_EQ(infinite, 2);
  EXPECT_EQ(nan, 2046);
}

TEST(Half, Bf16DecodesEveryPattern) {
  for (int i = 0; i < kPatterns; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    ASSERT_EQ(std::bit_cast<uint32_t>(bf16_to_f32(bits)), static_cast<uint32_t>(i) << 16);
    const double want = ieee16(bits, 7, 8);
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(bf16_to_f32(bits)));
    } else {
      ASSERT_EQ(static_cast<double>(bf16_to_f32(bits)), want);
    }
  }
}

TEST(Half, EveryPatternSurvivesTheRoundTrip) {
  for (int i = 0; i < kPatterns; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const bool f16_nan = std::isnan(ieee16(bits, 10, 5));
    ASSERT_EQ(f32_to_f16(f16_to_f32(bits)), f16_nan ? bits | 0x200 : bits);
    const bool bf16_nan = std::isnan(ieee16(bits, 7, 8));
    ASSERT_EQ(f32_to_bf16(bf16_to_f32(bits)), bf16_nan ? bits | 0x40 : bits);
  }
}

// Between each pair of neighbours: the middle goes to the even one, and anything beside it to the nearer.
template <typename Encode>
int check_rounding(uint16_t largest, int fraction_bits, int exponent_bits, Encode encode) {
  int n_pairs = 0;
  for (int low = 0; low < largest; ++low) {
    const double a = ieee16(static_cast<uint16_t>(low), fraction_bits, exponent_bits);
    const double b = ieee16(static_cast<uint16_t>(low + 1), fraction_bits, exponent_bits);
    const auto middle = static_cast<float>((a + b) / 2);
    const int even = low % 2 == 0 ? low : low + 1;
    for (const int sign : {0, 0x8000}) {
      const float s = sign ? -1.0f : 1.0f;
      EXPECT_EQ(encode(s * middle), sign | even) << low;
      EXPECT_EQ(encode(s * std::nextafterf(middle, 0.0f)), sign | low) << low;
      EXPECT_EQ(encode(s * std::nextafterf(middle, HUGE_VALF)), sign | (low + 1)) << low;
    }
    ++n_pairs;
  }
  return n_pairs;
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(check_rounding(0x7bff, 10, 5, f32_to_f16), 0x7bff);
  EXPECT_EQ(check_rounding(0x7f7f, 7, 8, f32_to_bf16), 0x7f7f);
}

TEST(Half, OverflowsToInfinityAndUnderflowsToZero) {
  EXPECT_EQ(f32_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-3e38f), 0xfc00);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0x0000);
  EXPECT_EQ(f32_to_f16(-0x1p-149f), 0x8000);
  EXPECT_EQ(f32_to_bf16(0x1.fefffep127f), 0x7f7f);
  EXPECT_EQ(f32_to_bf16(0x1.ffp127f), 0x7f80);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x7f800001u)), 0x7fc0);
  EXPECT_EQ(f32_to_f16(std::bit_cast<float>(0xff800001u)), 0xfe00);
}

}  // namespace
}  // namespace sluice
