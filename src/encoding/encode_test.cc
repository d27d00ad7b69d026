#include "encoding/encode.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "encoding/half.h"
#include "encoding/independent_decoder_test.h"
#include "encoding/reference.h"
#include "sluice/error.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

constexpr Encoding kAffineEncodings[] = {Encoding::kAffine2, Encoding::kAffine3, Encoding::kAffine4,
                                         Encoding::kAffine5, Encoding::kAffine6, Encoding::kAffine8};
constexpr ScaleType kScaleTypes[] = {ScaleType::kF32, ScaleType::kF16, ScaleType::kBF16};

// A row in its encoded form.
struct EncodedRow {
  EncodedRow(Encoding encoding, EncodingParams params, const std::vector<float>& in) {
    const auto cols = static_cast<uint64_t>(in.size());
    view.encoding = encoding;
    view.params = params;
    view.rows = 1;
    view.cols = static_cast<int64_t>(cols);
    view.stride = row_bytes(encoding, params, cols);
    for (size_t p = 0; p < kMaxPlanes; ++p) {
      plane[p].resize(view.stride[p]);
      view.plane[p] = plane[p].data();
    }
    encode_row(encoding, params, in.data(), view.cols, plane[0], plane[1], plane[2]);
  }
  std::vector<float> decoded() const {
    std::vector<float> out(static_cast<size_t>(view.cols));
    decode_row(view, 0, out.data());
    return out;
  }
  EncodedRow(const EncodedRow&) = delete;

  std::vector<std::byte> plane[kMaxPlanes];
  WeightView view;
};

// Rows as weights are, and as they should not be: centred, shifted, one-sided, constant, zero, of any size.
rc::Gen<std::vector<float>> row_of(int cols) {
  // At the nominal size inRange() draws from all of its range.
  return rc::gen::resize(rc::kNominalSize, rc::gen::exec([cols] {
                           const double size = std::ldexp(1.0, *rc::gen::inRange(-12, 10));
                           const double shift = *rc::gen::element(0.0, 0.0, 0.5, 1.0, -1.0, -8.0);
                           const double spread = *rc::gen::element(1.0, 1.0, 1.0, 0.0, 0.01);
                           const auto units = *rc::gen::container<std::vector<int>>(
                               static_cast<size_t>(cols), rc::gen::inRange(-10000, 10001));
                           std::vector<float> row;
                           for (const int unit : units)
                             row.push_back(static_cast<float>(size * (shift + spread * unit / 10000.0)));
                           return row;
                         }));
}

// --- Floats

TEST(Encode, F32IsACopy) {
  const std::vector<float> in = {0.0f, -0.0f, 1.5f, -3e38f, 1e-45f};
  const EncodedRow row(Encoding::kF32, {}, in);
  EXPECT_EQ(std::memcmp(row.plane[0].data(), in.data(), 4 * in.size()), 0);
}

RC_GTEST_PROP(Encode, SixteenBitFloatsAreTheNearest, ()) {
  const std::vector<float> in = *row_of(32);
  for (const Encoding encoding : {Encoding::kF16, Encoding::kBF16}) {
    const bool f16 = encoding == Encoding::kF16;
    const std::vector<float> out = EncodedRow(encoding, {}, in).decoded();
    for (size_t i = 0; i < in.size(); ++i) {
      const float half_step = std::fmax(std::fabs(in[i]) * (f16 ? 0x1p-11f : 0x1p-8f), 0x1p-25f);
      RC_ASSERT(std::fabs(out[i] - in[i]) <= half_step);
    }
  }
}

// --- Q4_0, Q8_0

TEST(Encode, EqualsTheQuantGoldensByteForByte) {
  SLUICE_REQUIRE_SHARED();
  int n_rows = 0, n_different = 0;
  size_t n_bytes = 0;
  for (const Encoding encoding : {Encoding::kQ4_0, Encoding::kQ8_0}) {
    const std::string stem =
        "data/quant-goldens/ggml_quants/" + std::string(encoding_info(encoding).name) + "_64_noim";
    const std::string input = test::read_file(test::shared_path(stem + "_input.bin"));
    const std::string want = test::read_file(test::shared_path(stem + "_expected.bin"));
    ASSERT_EQ(input.size(), 2 * 64 * sizeof(float));
    for (size_t r = 0; r < 2; ++r, ++n_rows) {
      std::vector<float> in(64);
      std::memcpy(in.data(), input.data() + r * 64 * sizeof(float), 64 * sizeof(float));
      const EncodedRow row(encoding, {}, in);
      const size_t bytes = row.plane[0].size();
      ASSERT_EQ(want.size(), 2 * bytes);
      for (size_t i = 0; i < bytes; ++i, ++n_bytes)
        n_different += row.plane[0][i] != static_cast<std::byte>(want[r * bytes + i]);
    }
  }
  EXPECT_EQ(n_different, 0);
  EXPECT_EQ(n_rows, 4);
  EXPECT_EQ(n_bytes, 2 * 36u + 2 * 68u);
}

// The formulas of ggml's reference as one would say them, value by value.
std::vector<std::byte> plain_ggml(Encoding encoding, const std::vector<float>& in) {
  std::vector<std::byte> out;
  const auto put = [&](int value) { out.push_back(static_cast<std::byte>(value)); };
  for (size_t start = 0; start < in.size(); start += 32) {
    const float* x = in.data() + start;
    const float extreme =
        *std::max_element(x, x + 32, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
    const bool q8 = encoding == Encoding::kQ8_0;
    const float scale = q8 ? std::fabs(extreme) / 127 : extreme / -8;
    const float inverse = scale != 0 ? 1 / scale : 0;
    put(f32_to_f16(scale) & 255);
    put(f32_to_f16(scale) >> 8);
    if (q8) {
      for (int i = 0; i < 32; ++i) put(static_cast<int>(std::round(x[i] * inverse)));
    } else {
      const auto level = [&](int i) {
        return std::min(15, static_cast<int>(std::floor(x[i] * inverse + 8.5f)));
      };
      for (int j = 0; j < 16; ++j) put(level(j) + 16 * level(j + 16));
    }
  }
  return out;
}

RC_GTEST_PROP(Encode, BlocksFollowGgmlsFormulas, ()) {
  const std::vector<float> in = *row_of(64);
  for (const Encoding encoding : {Encoding::kQ4_0, Encoding::kQ8_0})
    RC_ASSERT(EncodedRow(encoding, {}, in).plane[0] == plain_ggml(encoding, in));
}

TEST(Encode, Q8RoundsTiesAwayFromZero) {
  // The first value makes the scale exactly 1.
  for (int k = 0; k < 127; ++k) {
    const float tie = static_cast<float>(k) + 0.5f;
    std::vector<float> in(32, 0.0f);
    in[0] = 127;
    in[1] = tie;
    in[2] = -tie;
    in[3] = std::nextafterf(tie, 0.0f);
    in[4] = std::nextafterf(-tie, 0.0f);
    const std::vector<float> out = EncodedRow(Encoding::kQ8_0, {}, in).decoded();
    const auto level = static_cast<float>(k);
    EXPECT_EQ(out[1], level + 1);
    EXPECT_EQ(out[2], -(level + 1));
    EXPECT_EQ(out[3], level);
    EXPECT_EQ(out[4], -level);
  }
}

RC_GTEST_PROP(Encode, BlockErrorIsHalfAStep, ()) {
  const std::vector<float> in = *row_of(32);
  float largest = 0;
  for (const float x : in) largest = std::fmax(largest, std::fabs(x));
  for (const Encoding encoding : {Encoding::kQ4_0, Encoding::kQ8_0}) {
    const bool q8 = encoding == Encoding::kQ8_0;
    const float step = largest / (q8 ? 127 : 8);
    // The stored scale is an f16: up to 2^-11 off in the normal range, 2^-25 below.
    const float scale_error = largest * 0x1p-11f + 127 * 0x1p-25f;
    const std::vector<float> out = EncodedRow(encoding, {}, in).decoded();
    for (size_t i = 0; i < in.size(); ++i) {
      const bool far_end = !q8 && std::fabs(in[i]) > 7.5f * step;
      RC_ASSERT(std::fabs(out[i] - in[i]) <= (far_end ? 1.0f : 0.5f) * step * 1.0001f + scale_error);
    }
  }
}

// --- Affine

// Scale (plane 1) or bias (plane 2) of a group as it was stored.
double stored(const EncodedRow& row, size_t plane, int64_t group) {
  const test::IndependentDecoder array(row.plane[plane].data());
  switch (row.view.params.scale_type) {
    case ScaleType::kF32:
      return array.ieee(4 * group, 23, 8);
    case ScaleType::kF16:
      return array.ieee(2 * group, 10, 5);
    case ScaleType::kBF16:
      break;
  }
  return array.ieee(2 * group, 7, 8);
}

RC_GTEST_PROP(Encode, AffineTakesTheNearestLevel, ()) {
  const auto group = *rc::gen::element<uint16_t>(32, 64, 128);
  const std::vector<float> in = *row_of(2 * group);
  for (const Encoding encoding : kAffineEncodings) {
    for (const ScaleType type : kScaleTypes) {
      const EncodedRow row(encoding, {group, type}, in);
      const std::vector<float> out = row.decoded();
      const double largest_level = (1 << encoding_info(encoding).bits) - 1;
      const double precision = type == ScaleType::kF32 ? 0x1p-24 : type == ScaleType::kF16 ? 0x1p-11 : 0x1p-8;
      const double smallest = type == ScaleType::kF16 ? 0x1p-25 : 0;
      for (size_t i = 0; i < in.size(); ++i) {
        const auto g = static_cast<int64_t>(i) / group;
        const double scale = stored(row, 1, g), bias = stored(row, 2, g);
        const double level = std::clamp(std::round((in[i] - bias) / scale), 0.0, largest_level);
        const double least = std::fabs(scale * level + bias - in[i]);
        const double error = std::fabs(static_cast<double>(out[i]) - in[i]);
        const double f32_error = 0x1p-21 * (std::fabs(bias) + largest_level * std::fabs(scale));
        RC_ASSERT(error <= least + f32_error);
        // The grid that was wanted lies off the stored one by no more than the rounding of scale and bias.
        const double stored_error = precision * (std::fabs(bias) + largest_level * std::fabs(scale)) * 1.01 +
                                    smallest * (1 + largest_level);
        RC_ASSERT(error <= std::fabs(scale) + stored_error + f32_error);
      }
    }
  }
}

// With f32 scales nothing is lost in storing: half a step, but for the end opposite to the bias, where making
// zero a level can cost a whole one.
RC_GTEST_PROP(Encode, AffineErrorIsHalfAStep, ()) {
  const std::vector<float> in = *row_of(64);
  const auto [min, max] = std::minmax_element(in.begin(), in.end());
  const float range = *max - *min;
  for (const Encoding encoding : kAffineEncodings) {
    const EncodedRow row(encoding, {64, ScaleType::kF32}, in);
    const std::vector<float> out = row.decoded();
    const double step = std::fabs(stored(row, 1, 0)), bias = stored(row, 2, 0);
    const double largest_level = (1 << encoding_info(encoding).bits) - 1;
    for (size_t i = 0; i < in.size(); ++i) {
      const bool far_end = std::fabs(in[i] - bias) > (largest_level + 0.5) * step;
      const double tolerance = 0x1p-21 * (std::fabs(bias) + static_cast<double>(range));
      RC_ASSERT(std::fabs(static_cast<double>(out[i]) - in[i]) <= (far_end ? 1.0 : 0.5) * step + tolerance);
    }
  }
}

TEST(Encode, AffineByHand) {
  // Range -0.75 to 1.5 in 15 steps of 0.15. The larger end is 1.5: it is the bias, the scale goes down from
  // it, and zero is level 10. The negated row has the negated scale and bias, and the same levels.
  for (const float sign : {1.0f, -1.0f}) {
    std::vector<float> in(32, 0.0f);
    in[0] = sign * 1.5f;
    in[2] = sign * -0.75f;
    in[3] = sign * 1.05f;
    in[31] = sign * 0.68f;  // between levels 5 (0.75) and 6 (0.6)
    const EncodedRow row(Encoding::kAffine4, {32, ScaleType::kF32}, in);
    EXPECT_EQ(static_cast<float>(stored(row, 1, 0)), sign * (1.5f / -10));
    EXPECT_EQ(stored(row, 2, 0), static_cast<double>(sign * 1.5f));
    std::vector<std::byte> want(16, std::byte{0xAA});
    want[0] = std::byte{0xA0};
    want[1] = std::byte{0x3F};
    want[15] = std::byte{0x5A};
    EXPECT_EQ(row.plane[0], want);
  }
}

TEST(Encode, AffineMakesZeroALevel) {
  // Range -0.5 to 2 in 3 steps: zero would be level 2.4. It becomes level 2, and the step 2 / 2.
  for (const float sign : {1.0f, -1.0f}) {
    std::vector<float> in(32, 0.0f);
    in[5] = sign * 2.0f;
    in[6] = sign * -0.5f;  // level 2.5: ties go to the even one
    const EncodedRow row(Encoding::kAffine2, {32, ScaleType::kBF16}, in);
    EXPECT_EQ(stored(row, 1, 0), static_cast<double>(-sign));
    std::vector<float> want(32, 0.0f);
    want[5] = sign * 2.0f;
    EXPECT_EQ(row.decoded(), want);
  }
}

TEST(Encode, AffineKeepsConstantGroupsAndZeros) {
  for (const Encoding encoding : kAffineEncodings) {
    for (const ScaleType type : kScaleTypes) {
      for (const float value : {0.0f, 1.5f, -96.0f}) {
        const EncodedRow row(encoding, {32, type}, std::vector<float>(32, value));
        for (const float out : row.decoded()) EXPECT_EQ(out, value);
      }
    }
  }
}

// --- What cannot be encoded

std::string refusal(Encoding encoding, EncodingParams params, const std::vector<float>& in) {
  try {
    const EncodedRow row(encoding, params, in);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kInvalid);
    return e.what();
  }
  return "";
}

TEST(Encode, RefusesWhatIsNotFinite) {
  int n_refused = 0;
  for (size_t e = 0; e < kNumEncodings; ++e) {
    const auto encoding = static_cast<Encoding>(e);
    if (!can_encode(encoding)) continue;
    for (const float bad : {NAN, -NAN, HUGE_VALF, -HUGE_VALF}) {
      for (const size_t at : {0, 77, 127}) {
        std::vector<float> in(128, 1.0f);
        in[at] = bad;
        const std::string message = refusal(encoding, {64, ScaleType::kBF16}, in);
        EXPECT_NE(message.find("value " + std::to_string(at) + " "), std::string::npos) << message;
        EXPECT_NE(message.find(std::isnan(bad) ? "NaN" : "infinite"), std::string::npos) << message;
        ++n_refused;
      }
    }
  }
  EXPECT_EQ(n_refused, 11 * 4 * 3);
}

TEST(Encode, RefusesWhatIsTooLarge) {
  const auto row = [](float value) {
    std::vector<float> in(32, 0.0f);
    in[7] = value;
    return in;
  };
  const struct {
    Encoding encoding;
    ScaleType type;
    float fits, too_large;
  } cases[] = {
      {Encoding::kF16, ScaleType::kF32, -65504.0f, -65505.0f},
      {Encoding::kBF16, ScaleType::kF32, 0x1.fep127f, 0x1.ffp127f},
      {Encoding::kQ4_0, ScaleType::kF32, 524032.0f, 524064.0f},
      {Encoding::kQ8_0, ScaleType::kF32, -8319008.0f, -8319010.0f},
      {Encoding::kAffine4, ScaleType::kF16, 65504.0f, 65520.0f},
      {Encoding::kAffine8, ScaleType::kBF16, 0x1.fep127f, 0x1.ffp127f},
  };
  for (const auto& c : cases) {
    const EncodingParams params = {32, c.type};
    EXPECT_EQ(refusal(c.encoding, params, row(c.fits)), "");
    const std::string message = refusal(c.encoding, params, row(c.too_large));
    EXPECT_NE(message.find("wider range"), std::string::npos)
        << encoding_info(c.encoding).name << ": " << message;
    for (const float value : EncodedRow(c.encoding, params, row(c.fits)).decoded())
      EXPECT_TRUE(std::isfinite(value));
  }
  std::vector<float> both_ends = row(3e38f);
  both_ends[8] = -3e38f;
  EXPECT_NE(refusal(Encoding::kAffine2, {32, ScaleType::kF32}, both_ends), "");
}

TEST(EncodeDeathTest, PlanesMustFit) {
  const std::vector<float> in(32);
  std::vector<std::byte> plane(17);
  EXPECT_DEATH(encode_row(Encoding::kQ4_0, {}, in.data(), 32, plane), "check failed");
  EXPECT_DEATH(encode_row(Encoding::kQ4_K, {}, in.data(), 32, plane), "check failed");
}

TEST(Encode, CanEncodeWhatIsPromised) {
  std::string names;
  for (size_t e = 0; e < kNumEncodings; ++e)
    if (can_encode(static_cast<Encoding>(e)))
      names += std::string(encoding_info(static_cast<Encoding>(e)).name) + " ";
  EXPECT_EQ(names, "f32 f16 bf16 q4_0 q8_0 affine2 affine3 affine4 affine5 affine6 affine8 ");
  EXPECT_FALSE(can_encode(Encoding::kCount));
}

}  // namespace
}  // namespace sluice
