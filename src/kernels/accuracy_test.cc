// How far the default int8 products are from exact ones where the inputs have outlier channels, as trained
// models have them: no farther than llama.cpp's integer products, whose rounding of inputs is written here
// anew, and multiplied in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "encoding/encode.h"
#include "encoding/half.h"
#include "encoding/reference.h"
#include "kernels/isa_test.h"

namespace sluice {
namespace {

using test::Isa;

constexpr int64_t kCols = 2048, kRows = 128, kInputs = 16;

// Rounding to int8 as llama.cpp does it for weights in blocks of 32 (its Q8_0): scale in f16, but levels by
// the scale before it was rounded.
void round_as_q8_0(const float* x, double* out) {
  float greatest = 0;
  for (int i = 0; i < 32; ++i) greatest = std::max(greatest, std::abs(x[i]));
  const float scale = greatest / 127;
  const float stored = f16_to_f32(f32_to_f16(scale));
  for (int i = 0; i < 32; ++i)
    out[i] = scale == 0 ? 0 : static_cast<double>(stored) * std::round(x[i] / scale);
}

// The same for K-quants (its Q8_K): 256 values share an f32 scale, by the value of greatest magnitude.
void round_as_q8_k(const float* x, double* out) {
  float greatest = 0;  // with its sign
  for (int i = 0; i < 256; ++i) {
    if (std::abs(x[i]) > std::abs(greatest)) greatest = x[i];
  }
  const float inverse = greatest == 0 ? 0 : -127 / greatest;
  const float scale = greatest == 0 ? 0 : 1 / inverse;
  for (int i = 0; i < 256; ++i)
    out[i] = static_cast<double>(scale) * std::min(127.0F, std::nearbyint(inverse * x[i]));
}

// One scale for all of a row: what outliers do to a format that is too coarse.
void round_whole_row(const float* x, double* out) {
  float greatest = 0;
  for (int64_t i = 0; i < kCols; ++i) greatest = std::max(greatest, std::abs(x[i]));
  const float scale = greatest / 127;
  for (int64_t i = 0; i < kCols; ++i) out[i] = static_cast<double>(scale) * std::round(x[i] / scale);
}

std::vector<double> round_rows(const std::vector<float>& x, size_t block,
                               void (*round_block)(const float*, double*)) {
  std::vector<double> out(x.size());
  for (size_t i = 0; i < x.size(); i += block) round_block(&x[i], &out[i]);
  return out;
}

// Rows of normal values in which four channels, the same in all rows, are 50 times the rest.
std::vector<float> with_outliers(std::vector<float> x) {
  for (size_t i = 0; i < x.size(); ++i) {
    const auto channel = static_cast<int64_t>(i) % kCols;
    if (channel == 37 || channel == 700 || channel == 1211 || channel == 1933) x[i] *= 50;
  }
  return x;
}

struct AccuracyCase {
  Encoding encoding;
  bool is_k_quant;
  // Where blocks without an encoder have their f16 scale and, scale * min_ratio, their minimum; -1: not
  // there.
  int scale_at = -1;
  int min_at = -1;
  float min_ratio = 0;
};
constexpr AccuracyCase kCases[] = {
    {Encoding::kQ4_0, false},     {Encoding::kQ8_0, false},      {Encoding::kQ4_K, true, 0, 2, 7.5F},
    {Encoding::kQ6_K, true, 208}, {Encoding::kIQ4_NL, false, 0}, {Encoding::kMXFP4, false},
};

// [kRows, kCols] without gaps: normal values encoded, or random blocks with scales that differ by a factor of
// up to four and a mean of about 0.
std::vector<std::byte> make_weights(const AccuracyCase& c, std::mt19937& random) {
  const EncodingInfo& info = encoding_info(c.encoding);
  const size_t row = row_bytes(c.encoding, {}, kCols)[0];
  std::vector<std::byte> bytes(row * kRows);
  if (can_encode(c.encoding)) {
    const std::vector<float> values = test::random_floats(kRows * kCols, random);
    for (size_t r = 0; r < kRows; ++r)
      encode_row(c.encoding, {}, &values[r * kCols], kCols, std::span(bytes).subspan(r * row, row));
    return bytes;
  }
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  const auto put = [](std::byte* at, float value) {
    const uint16_t half = f32_to_f16(value);
    std::memcpy(at, &half, sizeof(half));
  };
  std::uniform_real_distribution<float> exponent(-8, -6);
  for (size_t at = 0; at < bytes.size(); at += info.bytes) {
    const float scale = std::exp2(exponent(random));
    if (c.scale_at >= 0) put(&bytes[at + static_cast<size_t>(c.scale_at)], scale);
    if (c.min_at >= 0) put(&bytes[at + static_cast<size_t>(c.min_at)], scale * c.min_ratio);
    if (c.encoding == Encoding::kMXFP4) bytes[at] = static_cast<std::byte>(119 + random() % 3);
  }
  return bytes;
}

// [kInputs, kRows]: decoded weights times inputs in double.
std::vector<double> products(const std::vector<float>& weights, const std::vector<double>& x) {
  std::vector<double> out;
  for (size_t t = 0; t < kInputs; ++t) {
    for (size_t r = 0; r < kRows; ++r) {
      double sum = 0;
      for (size_t i = 0; i < kCols; ++i)
        sum += static_cast<double>(weights[r * kCols + i]) * x[t * kCols + i];
      out.push_back(sum);
    }
  }
  return out;
}

// Rms of the error by the rms of the exact values.
template <class T>
double relative_error(const std::vector<T>& values, const std::vector<double>& exact) {
  double error = 0, square = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double difference = static_cast<double>(values[i]) - exact[i];
    error += difference * difference;
    square += exact[i] * exact[i];
  }
  return std::sqrt(error / square);
}

class Accuracy : public Isa {};

INSTANTIATE_TEST_SUITE_P(All, Accuracy, testing::ValuesIn(test::all_isas()), test::isa_test_name);

TEST_P(Accuracy, Int8ProductsAreNoFartherFromExactThanLlamaCpp) {
  std::printf("%-8s %-9s %12s %12s %8s\n", "weights", "inputs", "int8", "llama.cpp", "ratio");
  for (const AccuracyCase& c : kCases) {
    const std::string name(encoding_info(c.encoding).name);
    const std::vector<std::byte> bytes = make_weights(c, random_);
    WeightView view{.encoding = c.encoding, .rows = kRows, .cols = kCols};
    view.plane[0] = bytes.data();
    view.stride = row_bytes(c.encoding, {}, kCols);
    std::vector<float> weights(kRows * kCols);
    decode_matrix(view, weights.data());
    const std::vector<float> plain = test::random_floats(kInputs * kCols, random_);
    for (const bool has_outliers : {true, false}) {
      SCOPED_TRACE(name + (has_outliers ? " outliers" : " plain"));
      const std::vector<float> x = has_outliers ? with_outliers(plain) : plain;
      Activations input;
      input.set(x.data(), kInputs, kCols, kCols);
      input.prepare(compute_, c.encoding);
      std::vector<float> out(kInputs * kRows);
      const MatmulTask task{view, &input, {}, out.data(), kRows};
      matmul(compute_, std::span(&task, 1));

      const std::vector<double> exact = products(weights, std::vector<double>(x.begin(), x.end()));
      const std::vector<double> rounded =
          c.is_k_quant ? round_rows(x, 256, round_as_q8_k) : round_rows(x, 32, round_as_q8_0);
      const double ours = relative_error(out, exact);
      const double theirs = relative_error(products(weights, rounded), exact);
      std::printf("%-8s %-9s %12.3e %12.3e %8.4f\n", name.c_str(), has_outliers ? "outliers" : "plain", ours,
                  theirs, ours / theirs);
      EXPECT_GT(ours, 0);  // exact products would be the float path's
      EXPECT_LE(ours, 1.02 * theirs);
      if (has_outliers) {
        const double coarse = relative_error(products(weights, round_rows(x, kCols, round_whole_row)), exact);
        EXPECT_GT(coarse, 2 * theirs) << "these inputs would not tell a format that is too coarse";
      }
    }
  }
}

}  // namespace
}  // namespace sluice
