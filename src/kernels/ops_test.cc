// Norms, gates, rotations, conversions and exp against double precision.
#include <cmath>
#include <cstring>
#include <limits>

#include "encoding/half.h"
#include "kernels/isa_test.h"
#include "kernels/table.h"

namespace sluice {
namespace {

using test::random_floats;

class Ops : public test::Isa {};
INSTANTIATE_TEST_SUITE_P(All, Ops, testing::ValuesIn(test::base_isas()), test::isa_test_name);

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST_P(Ops, ExpIsWithinTwoUlp) {
  std::vector<float> x;
  for (float v = -87.3f; v < 88.7f; v += 0.00137f) x.push_back(v);
  std::vector<float> out(x.size());
  compute_.table->exp(x.data(), out.data(), static_cast<int64_t>(x.size()));
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<double>(x[i]));
    const double ulp = std::nextafter(static_cast<float>(exact), kInfinity) - static_cast<float>(exact);
    worst = std::fmax(worst, std::fabs(out[i] - exact) / ulp);
  }
  EXPECT_LE(worst, 2.0);
  const float edges[] = {0, -87.4f, -1e30f, -kInfinity, 88.8f, kInfinity, std::nanf("")};
  float at_edges[7];
  compute_.table->exp(edges, at_edges, 7);
  const float expected[] = {1, 0, 0, 0, kInfinity, kInfinity};
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(at_edges[i], expected[i]) << edges[i];
  EXPECT_TRUE(std::isnan(at_edges[6]));
}

TEST_P(Ops, RmsNorm) {
  for (int64_t cols : {1, 7, 64, 172, 2048}) {
    const int64_t rows = 40, stride = cols + 3;  // enough for several threads at 2048
    std::vector<float> x = random_floats(rows * stride, random_);
    const std::vector<float> weight = random_floats(cols, random_);
    std::vector<float> out(static_cast<size_t>(rows * cols));
    rms_norm(compute_, x.data(), stride, weight.data(), 1e-5f, out.data(), cols, rows, cols);
    for (int64_t t = 0; t < rows; ++t) {
      const float* row = &x[static_cast<size_t>(t * stride)];
      double squares = 0;
      for (int64_t i = 0; i < cols; ++i) squares += static_cast<double>(row[i]) * row[i];
      const double scale = 1 / std::sqrt(squares / static_cast<double>(cols) + 1e-5);
      for (int64_t i = 0; i < cols; ++i) {
        const double expected = row[i] * scale * weight[static_cast<size_t>(i)];
        ASSERT_NEAR(out[static_cast<size_t>(t * cols + i)], expected, 2e-6 * std::fabs(expected) + 1e-7);
      }
    }
    rms_norm(compute_, x.data(), stride, weight.data(), 1e-5f, x.data(), stride, rows, cols);  // in place
    for (int64_t t = 0; t < rows; ++t) {
      EXPECT_EQ(std::memcmp(&x[static_cast<size_t>(t * stride)], &out[static_cast<size_t>(t * cols)],
                            static_cast<size_t>(cols) * sizeof(float)),
                0);
    }
  }
}

TEST_P(Ops, SwiGlu) {
  for (int64_t cols : {1, 13, 64, 2051}) {
    std::vector<float> gate = random_floats(20 * cols, random_);
    const std::vector<float> up = random_floats(20 * cols, random_);
    gate[0] = -200;
    const std::vector<float> before = gate;
    swiglu(compute_, gate.data(), up.data(), 20, cols);
    for (size_t i = 0; i < gate.size(); ++i) {
      const double expected = before[i] / (1 + std::exp(-static_cast<double>(before[i]))) * up[i];
      ASSERT_NEAR(gate[i], expected, 1e-6 * std::fabs(expected) + 1e-30);
    }
  }
}

TEST_P(Ops, AddScaled) {
  std::vector<float> x = random_floats(77, random_);
  const std::vector<float> y = random_floats(77, random_), before = x;
  add_scaled(compute_, x.data(), y.data(), 0.3f, 77);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], before[i] + 0.3 * y[i], 1e-6);
}

TEST_P(Ops, RopeRotatesThePairsOfItsStyle) {
  for (RopeStyle style : {RopeStyle::kHalves, RopeStyle::kPairs}) {
    for (int64_t rotary_dim : {2, 8, 36, 128}) {
      const int64_t head_dim = rotary_dim + 4, n_heads = 3, half = rotary_dim / 2;
      std::vector<float> x = random_floats(n_heads * head_dim, random_), cosines, sines;
      for (int64_t i = 0; i < half; ++i) {
        cosines.push_back(std::cos(static_cast<float>(i) + 0.5f));
        sines.push_back(std::sin(static_cast<float>(i) + 0.5f));
      }
      const std::vector<float> before = x;
      rope(compute_, style, x.data(), n_heads, head_dim, rotary_dim, cosines.data(), sines.data());
      std::vector<double> expected(before.begin(), before.end());
      for (int64_t h = 0; h < n_heads; ++h) {
        for (int64_t i = 0; i < half; ++i) {
          const auto a = static_cast<size_t>(h * head_dim + (style == RopeStyle::kHalves ? i : 2 * i));
          const size_t b = a + static_cast<size_t>(style == RopeStyle::kHalves ? half : 1);
          const double c = cosines[static_cast<size_t>(i)], s = sines[static_cast<size_t>(i)];
          expected[a] = before[a] * c - before[b] * s;
          expected[b] = before[b] * c + before[a] * s;
        }
      }
      for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], expected[i], 1e-6);
    }
  }
}

TEST_P(Ops, KeysAndValuesAreRoundedToNearestEven) {
  std::vector<float> x = random_floats(101, random_);
  const float special[] = {0.0f,      -0.0f,      1e-8f,       65504,   65520,        1e38f,
                           kInfinity, -kInfinity, 1.00048828f, 6.1e-5f, 1.001953125f, 3.39e38f};
  x.insert(x.end(), std::begin(special), std::end(special));
  const auto n = static_cast<int64_t>(x.size());
  std::vector<float> f32(x.size());
  std::vector<uint16_t> f16(x.size()), bf16(x.size());
  compute_.table->convert_kv(KvType::kF32, x.data(), f32.data(), n);
  compute_.table->convert_kv(KvType::kF16, x.data(), f16.data(), n);
  compute_.table->convert_kv(KvType::kBF16, x.data(), bf16.data(), n);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(f32[i], x[i]);
    EXPECT_EQ(f16[i], f32_to_f16(x[i])) << x[i];
    EXPECT_EQ(bf16[i], f32_to_bf16(x[i])) << x[i];
  }
}

TEST_P(Ops, KeysAndValuesAsInt8) {
  for (int64_t n : {2, 16, 37, 128}) {
    const std::vector<float> x = random_floats(n, random_);
    float greatest = 0;
    for (float v : x) greatest = std::fmax(greatest, std::fabs(v));
    std::vector<int8_t> q(x.size());
    EXPECT_EQ(compute_.table->quantize_kv(x.data(), q.data(), n), greatest / 127.0f);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(q[i], std::nearbyint(x[i] * (127.0f / greatest)));
  }
  std::vector<float> x = {127, 0.5f, 1.5f, -2.5f, -127, 0};  // the scale is 1: ties go to even
  std::vector<int8_t> q(x.size());
  EXPECT_EQ(compute_.table->quantize_kv(x.data(), q.data(), 6), 1.0f);
  EXPECT_EQ(q, (std::vector<int8_t>{127, 0, 2, -2, -127, 0}));
  x.assign(6, 0.0f);
  EXPECT_EQ(compute_.table->quantize_kv(x.data(), q.data(), 6), 0.0f);
  EXPECT_EQ(q, std::vector<int8_t>(6, 0));
  for (float bad : {kInfinity, -kInfinity, std::nanf("")}) {
    x[5] = bad;
    EXPECT_TRUE(std::isnan(compute_.table->quantize_kv(x.data(), q.data(), 6)));
  }
}

}  // namespace
}  // namespace sluice
