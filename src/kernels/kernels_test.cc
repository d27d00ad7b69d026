// Every encoding, input format and instruction set that this CPU has, against the scalar truth; and the order
// rule, bit for bit. NEON runs here too, in the cross build under qemu.
#include "kernels/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "encoding/half.h"
#include "encoding/reference.h"
#include "kernels/activation.h"
#include "kernels/table.h"

namespace sluice {
namespace {

// A weight in buffers of exactly its size, so that a sanitizer sees the first byte too many.
struct TestWeight {
  WeightView view;
  std::vector<std::byte> plane[kMaxPlanes];
};

uint16_t half_of(float value, bool is_bf16) { return is_bf16 ? f32_to_bf16(value) : f32_to_f16(value); }

void put_u16(std::byte* p, uint16_t value) { std::memcpy(p, &value, 2); }

// Offsets of the f16 scales within a block.
std::vector<int> scale_offsets(Encoding encoding) {
  switch (encoding) {
    case Encoding::kQ4_1:
    case Encoding::kQ5_1:
    case Encoding::kQ4_K:
    case Encoding::kQ5_K:
      return {0, 2};
    case Encoding::kQ2_K:
      return {80, 82};
    case Encoding::kQ3_K:
      return {108};
    case Encoding::kQ6_K:
      return {208};
    case Encoding::kMXFP4:
      return {};
    default:
      return {0};
  }
}

// Random bytes with scales of either sign around 0.01.
TestWeight random_weight(Encoding encoding, EncodingParams params, int64_t rows, int64_t cols,
                         std::mt19937& random) {
  const EncodingInfo& info = encoding_info(encoding);
  std::normal_distribution<float> normal;
  TestWeight w;
  w.view.encoding = encoding;
  w.view.params = params;
  w.view.rows = rows;
  w.view.cols = cols;
  const auto bytes = row_bytes(encoding, params, static_cast<uint64_t>(cols));
  for (size_t p = 0; p < plane_count(encoding); ++p) {
    w.plane[p].resize(bytes[p] * static_cast<uint64_t>(rows));
    for (std::byte& b : w.plane[p]) b = static_cast<std::byte>(random());
    w.view.plane[p] = w.plane[p].data();
    w.view.stride[p] = bytes[p];
  }
  const auto fill = [&](std::vector<std::byte>& plane, ScaleType type, float factor) {
    for (size_t i = 0; i < plane.size(); i += scale_bytes(type)) {
      const float value = normal(random) * factor;
      if (type == ScaleType::kF32)
        std::memcpy(&plane[i], &value, 4);
      else
        put_u16(&plane[i], half_of(value, type == ScaleType::kBF16));
    }
  };
  switch (info.family) {
    case Family::kFloat:
      fill(w.plane[0],
           encoding == Encoding::kF32   ? ScaleType::kF32
           : encoding == Encoding::kF16 ? ScaleType::kF16
                                        : ScaleType::kBF16,
           0.1f);
      break;
    case Family::kBlock:
      for (size_t at = 0; at < w.plane[0].size(); at += info.bytes) {
        for (int offset : scale_offsets(encoding)) {
          put_u16(&w.plane[0][at + static_cast<size_t>(offset)], f32_to_f16(normal(random) * 0.01f));
        }
        if (encoding == Encoding::kMXFP4) w.plane[0][at] = static_cast<std::byte>(118 + random() % 10);
      }
      break;
    case Family::kAffine:
      fill(w.plane[1], params.scale_type, 0.01f);
      fill(w.plane[2], params.scale_type, 0.1f);
      break;
  }
  return w;
}

std::vector<float> random_floats(int64_t n, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = normal(random);
  return x;
}

std::vector<float> multiply(const Compute& compute, const WeightView& w, const float* x, int64_t n,
                            int64_t stride, std::span<const int32_t> input_rows = {}) {
  Activations input;
  input.set(x, n, w.cols, stride);
  input.prepare(compute, w.encoding);
  const int64_t n_out = input_rows.empty() ? n : static_cast<int64_t>(input_rows.size());
  std::vector<float> out(static_cast<size_t>(n_out * w.rows), -1e30f);
  const MatmulTask task{w, &input, input_rows, out.data(), w.rows};
  matmul(compute, std::span(&task, 1));
  return out;
}

// Row [cols] of `x` as an int8 kernel sees it.
std::vector<double> as_int8(const Compute& compute, const float* x, int64_t cols) {
  std::vector<ActivationBlock> blocks(static_cast<size_t>(cols / kActivationBlock));
  compute.table->quantize_row(x, cols, blocks.data());
  std::vector<double> out;
  for (const ActivationBlock& block : blocks) {
    for (int8_t q : block.q) out.push_back(static_cast<double>(block.scale) * q);
  }
  return out;
}

struct Case {
  Encoding encoding;
  EncodingParams params;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (size_t e = 0; e < kNumEncodings; ++e) {
    const auto encoding = static_cast<Encoding>(e);
    if (encoding_info(encoding).family != Family::kAffine) {
      cases.push_back({encoding, {}});
      continue;
    }
    for (uint16_t group : {32, 64, 128}) {
      for (ScaleType type : {ScaleType::kF32, ScaleType::kF16, ScaleType::kBF16}) {
        cases.push_back({encoding, {group, type}});
      }
    }
  }
  return cases;
}

int64_t col_unit(const Case& c) {
  return encoding_info(c.encoding).family == Family::kAffine ? c.params.group
                                                             : encoding_info(c.encoding).block;
}

std::string describe(const Case& c) {
  return std::string(encoding_info(c.encoding).name) + " group " + std::to_string(c.params.group);
}

class Isa : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    for (const std::string& isa : available_isas()) {
      if (isa == GetParam()) compute_.table = &kernel_table(isa);
    }
    if (compute_.table == nullptr) GTEST_SKIP() << "this CPU has no " << GetParam();
    compute_.pool = &pool_;
  }
  ThreadPool pool_{2};
  Compute compute_;
  std::mt19937 random_{7};
};

INSTANTIATE_TEST_SUITE_P(All, Isa,
#if defined(__x86_64__)
                         testing::Values("generic", "avx2", "avx2-vnni", "avx512"),
#elif defined(__aarch64__)
                         testing::Values("generic", "neon", "neon-dotprod"),
#else
                         testing::Values("generic"),
#endif
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST_P(Isa, ProductsMatchTheReference) {
  for (const Case& c : all_cases()) {
    for (bool f32 : {false, true}) {
      compute_.f32_activations = f32;
      const int64_t unit = col_unit(c);
      const int64_t rows = 1 + static_cast<int64_t>(random_() % 70);
      const int64_t cols =
          unit * (1 + static_cast<int64_t>(random_() % static_cast<uint32_t>(1 + 700 / unit)));
      const int64_t n = 1 + static_cast<int64_t>(random_() % 9);
      SCOPED_TRACE(describe(c) + (f32 ? " f32 " : " default ") + std::to_string(rows) + "x" +
                   std::to_string(cols) + "x" + std::to_string(n));
      const TestWeight w = random_weight(c.encoding, c.params, rows, cols, random_);
      const std::vector<float> x = random_floats(n * cols, random_);
      const std::vector<float> out = multiply(compute_, w.view, x.data(), n, cols);
      const bool is_int8 = !f32 && encoding_info(c.encoding).activation == Activation::kInt8;
      std::vector<float> weight(static_cast<size_t>(cols));
      for (int64_t t = 0; t < n; ++t) {
        std::vector<double> input(&x[static_cast<size_t>(t * cols)],
                                  &x[static_cast<size_t>(t * cols)] + cols);
        if (is_int8) input = as_int8(compute_, &x[static_cast<size_t>(t * cols)], cols);
        for (int64_t r = 0; r < rows; ++r) {
          decode_row(w.view, r, weight.data());
          double sum = 0, magnitude = 0;
          for (size_t i = 0; i < weight.size(); ++i) {
            sum += weight[i] * input[i];
            magnitude += std::fabs(weight[i] * input[i]);
          }
          ASSERT_NEAR(out[static_cast<size_t>(t * rows + r)], sum, 2e-6 * magnitude + 1e-9) << "row " << r;
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice
