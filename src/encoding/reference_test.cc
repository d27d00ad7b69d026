#include "encoding/reference.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "encoding/half.h"
#include "encoding/independent_decoder_test.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

using Bytes = std::vector<std::byte>;

Bytes bytes(const std::vector<int>& values) {
  Bytes out;
  for (const int v : values) out.push_back(static_cast<std::byte>(v));
  return out;
}

WeightView one_plane(Encoding encoding, const std::byte* data, int64_t rows, int64_t cols) {
  WeightView w;
  w.encoding = encoding;
  w.rows = rows;
  w.cols = cols;
  w.plane[0] = data;
  w.stride[0] = row_bytes(encoding, {}, static_cast<uint64_t>(cols))[0];
  return w;
}

std::vector<float> decoded(const WeightView& w) {
  std::vector<float> out(static_cast<size_t>(w.rows * w.cols));
  decode_matrix(w, out.data());
  return out;
}

// Bit for bit, NaN being equal to NaN. Returns the number of values compared.
int64_t expect_as_independent(const WeightView& w) {
  const std::vector<float> got = decoded(w);
  int64_t n = 0;
  for (int64_t row = 0; row < w.rows; ++row) {
    for (int64_t col = 0; col < w.cols; ++col, ++n) {
      const float want = test::independent_value(w, row, col);
      const float value = got[static_cast<size_t>(n)];
      if (std::isnan(want) && std::isnan(value)) continue;
      if (std::bit_cast<uint32_t>(value) == std::bit_cast<uint32_t>(want)) continue;
      ADD_FAILURE() << encoding_info(w.encoding).name << " row " << row << " col " << col << ": " << value
                    << " " << want;
      return n;
    }
  }
  return n;
}

// --- Real blocks

struct Golden {
  Encoding encoding;
  int64_t cols;
  double rms;  // relative error of dequantising, known to one digit; a wrong layout gives 0.5 or more
};

constexpr Golden kGoldens[] = {
    {Encoding::kQ4_0, 64, 0.06},   {Encoding::kQ4_1, 64, 0.06},   {Encoding::kQ5_0, 64, 0.03},
    {Encoding::kQ5_1, 64, 0.03},   {Encoding::kQ8_0, 64, 0.004},  {Encoding::kIQ4_NL, 64, 0.06},
    {Encoding::kQ2_K, 512, 0.23},  {Encoding::kQ3_K, 512, 0.12},  {Encoding::kQ4_K, 512, 0.055},
    {Encoding::kQ5_K, 512, 0.027}, {Encoding::kQ6_K, 512, 0.014},
};

TEST(Reference, QuantGoldensDequantiseToTheirInput) {
  SLUICE_REQUIRE_SHARED();
  int n_pairs = 0;
  int64_t n_values = 0;
  for (const Golden& golden : kGoldens) {
    for (const char* variant : {"noim", "im"}) {
      const std::string stem = "data/quant-goldens/ggml_quants/" +
                               std::string(encoding_info(golden.encoding).name) + "_" +
                               std::to_string(golden.cols) + "_" + variant;
      const std::string input = test::read_file(test::shared_path(stem + "_input.bin"));
      const std::string blocks = test::read_file(test::shared_path(stem + "_expected.bin"));
      const WeightView w =
          one_plane(golden.encoding, reinterpret_cast<const std::byte*>(blocks.data()), 2, golden.cols);
      ASSERT_EQ(blocks.size(), 2 * w.stride[0]);
      ASSERT_EQ(input.size(), static_cast<size_t>(2 * golden.cols) * sizeof(float));
      std::vector<float> want(static_cast<size_t>(2 * golden.cols));
      std::memcpy(want.data(), input.data(), input.size());

      const std::vector<float> got = decoded(w);
      double error = 0, power = 0;
      for (size_t i = 0; i < want.size(); ++i) {
        error += std::pow(static_cast<double>(got[i]) - want[i], 2);
        power += std::pow(want[i], 2);
      }
      const double rms = std::sqrt(error / power);
      EXPECT_NEAR(rms, golden.rms, 0.15 * golden.rms) << stem;
      n_values += expect_as_independent(w);
      ++n_pairs;
    }
  }
  EXPECT_EQ(n_pairs, 22);
  EXPECT_EQ(n_values, 2 * 2 * (6 * 64 + 5 * 512));
}

// --- Any bytes

// Random bytes hold every field value, and scales that are subnormal, infinite and NaN.
TEST(Reference, AgreesWithTheIndependentDecoderOnAnyBytes) {
  std::mt19937 random(1);
  constexpr int64_t kRows = 64, kCols = 512;
  int64_t n_values = 0;
  int n_cases = 0;
  for (size_t e = 0; e < kNumEncodings; ++e) {
    const auto encoding = static_cast<Encoding>(e);
    const bool affine = encoding_info(encoding).family == Family::kAffine;
    for (const uint16_t group : {32, 64, 128}) {
      for (const ScaleType type : {ScaleType::kF32, ScaleType::kF16, ScaleType::kBF16}) {
        const EncodingParams params = affine ? EncodingParams{group, type} : EncodingParams{};
        WeightView w;
        w.encoding = encoding;
        w.params = params;
        w.rows = kRows;
        w.cols = kCols;
        std::array<Bytes, kMaxPlanes> planes;
        for (size_t p = 0; p < plane_count(encoding); ++p) {
          w.stride[p] = row_bytes(encoding, params, kCols)[p] + 3;  // rows need not touch, nor be aligned
          planes[p].resize(kRows * w.stride[p] + 1);
          for (std::byte& b : planes[p]) b = static_cast<std::byte>(random());
          w.plane[p] = planes[p].data() + 1;
        }
        n_values += expect_as_independent(w);
        ++n_cases;
        if (!affine) break;
      }
      if (!affine) break;
    }
  }
  EXPECT_EQ(n_cases, 16 + 6 * 9);
  EXPECT_EQ(n_values, n_cases * kRows * kCols);
}

// --- Blocks made by hand, for what no golden covers

TEST(Reference, IQ4XSByHand) {
  // scale 0.5 (0x3800). Run scales: 33, 0, 63, 32, 31, 48, 1, 40, less 32: 1, -32, 31, 0, -1, 16, -31, 8.
  //   high bits 2 0 3 2 1 3 0 2 -> 10 00 11 10 01 11 00 10 from bit 0 -> 0b10'00'11'01'10'11'00'10 = 0x8DB2
  //   low bits  1 0 15 0 15 0 1 8 -> bytes 0x01 0x0F 0x0F 0x81
  std::vector<int> block = {0x00, 0x38, 0xB2, 0x8D, 0x01, 0x0F, 0x0F, 0x81};
  // In every run byte j is 0x10 * (15 - j) + j: value j has index j, value j + 16 index 15 - j.
  for (int run = 0; run < 8; ++run)
    for (int j = 0; j < 16; ++j) block.push_back(0x10 * (15 - j) + j);
  const float level[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  const float run_scale[8] = {0.5f, -16, 15.5f, 0, -0.5f, 8, -15.5f, 4};

  const Bytes data = bytes(block);
  const std::vector<float> got = decoded(one_plane(Encoding::kIQ4_XS, data.data(), 1, 256));
  for (size_t run = 0; run < 8; ++run) {
    for (size_t j = 0; j < 16; ++j) {
      EXPECT_EQ(got[32 * run + j], run_scale[run] * level[j]) << run << " " << j;
      EXPECT_EQ(got[32 * run + 16 + j], run_scale[run] * level[15 - j]) << run << " " << j;
    }
  }
  EXPECT_EQ(got[0], -63.5f);
  EXPECT_EQ(got[32 + 15], -1808.0f);
}

TEST(Reference, MXFP4ByHand) {
  // Four blocks with exponents 128 (2), 0 (2^-127), 254 (2^127), 255 (NaN); byte j is 0x10 * (15 - j) + j.
  std::vector<int> blocks;
  for (const int exponent : {128, 0, 254, 255}) {
    blocks.push_back(exponent);
    for (int j = 0; j < 16; ++j) blocks.push_back(0x10 * (15 - j) + j);
  }
  const float twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const Bytes data = bytes(blocks);
  const std::vector<float> got = decoded(one_plane(Encoding::kMXFP4, data.data(), 1, 128));
  for (size_t j = 0; j < 16; ++j) {
    EXPECT_EQ(got[j], twice[j]) << j;
    EXPECT_EQ(got[16 + j], twice[15 - j]) << j;
    EXPECT_EQ(got[32 + j], twice[j] * 0x1p-128f) << j;
    EXPECT_TRUE(std::isnan(got[96 + j])) << j;
  }
  EXPECT_EQ(got[64], 0.0f);
  EXPECT_EQ(got[64 + 1], 0x1p126f);
  EXPECT_EQ(got[64 + 3], 0x1.8p127f);
  EXPECT_EQ(got[64 + 7], HUGE_VALF);
  EXPECT_EQ(got[64 + 15], -HUGE_VALF);
}

struct AffineCase {
  Encoding encoding;
  std::vector<int> values;  // eight
  std::vector<int> stream;  // the same as a bit stream
};

const AffineCase kAffineCases[] = {
    {Encoding::kAffine2, {0, 1, 2, 3, 3, 2, 1, 0}, {0b11'10'01'00, 0b00'01'10'11}},
    {Encoding::kAffine3, {0, 1, 2, 3, 4, 5, 6, 7}, {0b10'001'000, 0b1'100'011'0, 0b111'110'10}},
    {Encoding::kAffine4, {1, 2, 4, 8, 15, 0, 9, 6}, {0x21, 0x84, 0x0F, 0x69}},
    {Encoding::kAffine5,
     {1, 30, 4, 19, 16, 31, 0, 21},
     {0b110'00001, 0b1'00100'11, 0b0000'1001, 0b0'11111'1, 0b10101'000}},
    {Encoding::kAffine6,
     {1, 62, 4, 35, 32, 63, 0, 42},
     {0b10'000001, 0b0100'1111, 0b100011'00, 0b11'100000, 0b0000'1111, 0b101010'00}},
    {Encoding::kAffine8, {0, 1, 127, 128, 255, 85, 170, 3}, {0, 1, 127, 128, 255, 85, 170, 3}},
};

// The bytes of an array of `type`, from values that each type holds exactly.
Bytes scale_array(ScaleType type, const std::vector<float>& values) {
  Bytes out(values.size() * scale_bytes(type));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t narrow = type == ScaleType::kF16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    const void* source = type == ScaleType::kF32 ? static_cast<const void*>(&values[i]) : &narrow;
    std::memcpy(out.data() + i * scale_bytes(type), source, scale_bytes(type));
  }
  return out;
}

TEST(Reference, AffineByHand) {
  int n_values = 0;
  for (const AffineCase& c : kAffineCases) {
    for (const uint16_t group : {32, 64, 128}) {
      for (const ScaleType type : {ScaleType::kF32, ScaleType::kF16, ScaleType::kBF16}) {
        // One row of two groups, the second with a negative scale.
        const std::vector<float> scales = {0.5f, -0.25f}, biases = {-3.0f, 7.0f};
        const Bytes scale_bytes = scale_array(type, scales), bias_bytes = scale_array(type, biases);
        Bytes stream;
        for (int i = 0; i < 2 * group; i += 8)
          for (const std::byte b : bytes(c.stream)) stream.push_back(b);
        WeightView w;
        w.encoding = c.encoding;
        w.params = {group, type};
        w.rows = 1;
        w.cols = 2 * group;
        w.plane = {stream.data(), scale_bytes.data(), bias_bytes.data()};
        w.stride = row_bytes(c.encoding, w.params, static_cast<uint64_t>(w.cols));
        ASSERT_EQ(w.stride[0], stream.size());
        ASSERT_EQ(w.stride[1], scale_bytes.size());

        const std::vector<float> got = decoded(w);
        for (size_t i = 0; i < got.size(); ++i, ++n_values) {
          const size_t g = i / group;
          const float want = scales[g] * static_cast<float>(c.values[i % 8]) + biases[g];
          ASSERT_EQ(got[i], want) << encoding_info(c.encoding).name << " group " << group << " value " << i;
        }
      }
    }
  }
  EXPECT_EQ(n_values, 6 * 3 * 2 * (32 + 64 + 128));
}

// With f32 scales the product is rounded before the sum: (1 + 2^-23) * 3 - 3 is 2^-21 then, and not 3 *
// 2^-23.
TEST(Reference, AffineRoundsTheProduct) {
  const float scale = 1 + 0x1p-23f, bias = -3;
  const Bytes stream(32 / 4, std::byte{0xff});
  WeightView w;
  w.encoding = Encoding::kAffine2;
  w.params = {32, ScaleType::kF32};
  w.rows = 1;
  w.cols = 32;
  w.plane = {stream.data(), reinterpret_cast<const std::byte*>(&scale),
             reinterpret_cast<const std::byte*>(&bias)};
  w.stride = row_bytes(w.encoding, w.params, 32);
  for (const float value : decoded(w)) EXPECT_EQ(value, 0x1p-21f);
}

}  // namespace
}  // namespace sluice
