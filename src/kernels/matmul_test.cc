// Every encoding, input format and instruction set that this CPU has, against the scalar truth; and the order
// rule, bit for bit.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>

#include "base/error.h"
#include "encoding/half.h"
#include "encoding/reference.h"
#include "encoding/woven.h"
#include "kernels/activation.h"
#include "kernels/isa_test.h"
#include "kernels/table.h"
#include "tests/guarded_allocator.h"

namespace sluice {
namespace {

using test::Isa;
using test::random_floats;

// A weight in guarded buffers of exactly its size, so that the first byte too many is a fault.
struct TestWeight {
  WeightView view;
  test::GuardedBytes plane[kMaxPlanes];
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
  const auto fill = [&](test::GuardedBytes& plane, ScaleType type, float factor) {
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

std::vector<float> multiply(const Compute& compute, const WeightView& w, const float* x, int64_t n,
                            int64_t stride, std::span<const int32_t> input_rows = {}) {
  Activations input;
  input.set(x, n, w.cols, stride);
  if (input_rows.empty())
    input.prepare(compute, w.encoding);
  else
    input.prepare_rows(compute, w.encoding);
  const int64_t n_out = input_rows.empty() ? n : static_cast<int64_t>(input_rows.size());
  std::vector<float> out(static_cast<size_t>(n_out * w.rows), -1e30f);
  const MatmulTask task{w, &input, input_rows, out.data(), w.rows};
  matmul(compute, std::span(&task, 1));
  return out;
}

std::vector<ActivationBlock> quantised(const Compute& compute, const float* x, int64_t cols, int64_t span) {
  std::vector<ActivationBlock> blocks(static_cast<size_t>(cols / kActivationBlock));
  compute.table->quantize_row(x, cols, span, blocks.data());
  return blocks;
}

// Row [cols] of `x` as an int8 kernel sees it.
std::vector<double> as_int8(const Compute& compute, Encoding encoding, const float* x, int64_t cols) {
  const std::vector<ActivationBlock> blocks = quantised(compute, x, cols, input_span(encoding));
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

class Matmul : public Isa {};

INSTANTIATE_TEST_SUITE_P(All, Matmul, testing::ValuesIn(test::all_isas()), test::isa_test_name);

TEST_P(Matmul, ProductsMatchTheReference) {
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
      const Activation activation = activation_of(compute_, c.encoding);
      std::vector<float> weight(static_cast<size_t>(cols));
      for (int64_t t = 0; t < n; ++t) {
        std::vector<double> input(&x[static_cast<size_t>(t * cols)],
                                  &x[static_cast<size_t>(t * cols)] + cols);
        if (activation == Activation::kInt8)
          input = as_int8(compute_, c.encoding, &x[static_cast<size_t>(t * cols)], cols);
        if (activation == Activation::kBF16) {
          for (double& v : input) v = bf16_to_f32(f32_to_bf16(static_cast<float>(v)));
        }
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

// The documented int8 product in plain code: exact integers, one chain of fused sums.
TEST_P(Matmul, Int8ProductsAreTheDocumentedChainBitForBit) {
  for (const Case& c : {Case{Encoding::kQ4_0, {}}, Case{Encoding::kQ8_0, {}}}) {
    const int64_t rows = 37, cols = 32 * 19;
    const TestWeight w = random_weight(c.encoding, c.params, rows, cols, random_);
    const std::vector<float> x = random_floats(cols, random_);
    const std::vector<float> out = multiply(compute_, w.view, x.data(), 1, cols);
    const std::vector<ActivationBlock> input = quantised(compute_, x.data(), cols, kActivationBlock);
    std::vector<float> weight(static_cast<size_t>(cols));
    for (int64_t r = 0; r < rows; ++r) {
      decode_row(w.view, r, weight.data());
      float sum = 0;
      for (size_t b = 0; b < input.size(); ++b) {
        uint16_t half;
        std::memcpy(
            &half,
            &w.plane[0][static_cast<size_t>(r) * w.view.stride[0] + b * encoding_info(c.encoding).bytes], 2);
        const float scale = f16_to_f32(half);
        int dot = 0;
        for (size_t i = 0; i < 32; ++i)
          dot += static_cast<int>(std::lround(weight[32 * b + i] / scale)) * input[b].q[i];
        sum = std::fma(static_cast<float>(dot), scale * input[b].scale, sum);
      }
      ASSERT_EQ(out[static_cast<size_t>(r)], sum) << "row " << r;
    }
  }
}

// The same for inputs with one scale for 256 columns, by which a part is multiplied once.
TEST_P(Matmul, Int8ProductsOfLongSpansAreTheDocumentedChainBitForBit) {
  const int64_t rows = 37, cols = 256 * 5;
  const TestWeight w = random_weight(Encoding::kQ6_K, {}, rows, cols, random_);
  const std::vector<float> x = random_floats(cols, random_);
  const std::vector<float> out = multiply(compute_, w.view, x.data(), 1, cols);
  const std::vector<ActivationBlock> input = quantised(compute_, x.data(), cols, kLongSpan);
  std::vector<float> weight(static_cast<size_t>(cols));
  for (int64_t r = 0; r < rows; ++r) {
    decode_row(w.view, r, weight.data());
    float sum = 0;
    for (int64_t s = 0; s < cols / 256; ++s) {
      const std::byte* const superblock = w.view.plane[0] + static_cast<uint64_t>(r) * w.view.stride[0] +
                                          s * encoding_info(Encoding::kQ6_K).bytes;
      uint16_t half;
      std::memcpy(&half, superblock + 208, 2);
      float part = 0;
      for (int64_t run = 0; run < 16; ++run) {
        const float scale = f16_to_f32(half) * static_cast<float>(static_cast<int8_t>(superblock[192 + run]));
        int dot = 0;
        for (int64_t i = 0; i < 16 && scale != 0; ++i) {
          const int64_t col = 256 * s + 16 * run + i;
          const float value = std::round(weight[static_cast<size_t>(col)] / scale);
          dot += static_cast<int>(value) * input[static_cast<size_t>(col / 32)].q[col % 32];
        }
        part = std::fma(static_cast<float>(dot), scale, part);
      }
      sum = std::fma(part, input[static_cast<size_t>(8 * s)].scale, sum);
    }
    ASSERT_EQ(out[static_cast<size_t>(r)], sum) << "row " << r;
  }
}

TEST_P(Matmul, Int8ProductsAreTheSameOnAllInstructionSets) {
  Compute baseline = compute_;
  baseline.table = &kernel_table("generic");
  for (const Case& c : all_cases()) {
    if (encoding_info(c.encoding).activation != Activation::kInt8) continue;
    const TestWeight w = random_weight(c.encoding, c.params, 21, 256, random_);
    const std::vector<float> x = random_floats(21 * 256, random_);
    const std::vector<float> expected = multiply(baseline, w.view, x.data(), 21, 256);
    for (int64_t n : {3, 6, 21}) {  // each may have another way to the dots
      const std::vector<float> out = multiply(compute_, w.view, x.data(), n, 256);
      EXPECT_TRUE(std::equal(out.begin(), out.end(), expected.begin())) << describe(c) << " inputs " << n;
    }
  }
}

// Sums of products are exact integers in as few bits as they fit: where all are as large as they get, too.
TEST_P(Matmul, TheGreatestSumsAreTheSameOnAllInstructionSets) {
  Compute baseline = compute_;
  baseline.table = &kernel_table("generic");
  const int64_t n = 21, cols = 256;
  for (const Case& c : all_cases()) {
    const EncodingInfo& info = encoding_info(c.encoding);
    if (info.activation != Activation::kInt8 || c.params.scale_type != ScaleType::kBF16) continue;
    std::vector<int> scales = scale_offsets(c.encoding);
    if (c.encoding == Encoding::kMXFP4) scales = {0};
    for (const int value : {0x00, 0x77, 0x80, 0xff}) {  // 0x77: the greatest levels of MXFP4
      TestWeight w = random_weight(c.encoding, c.params, n, cols, random_);
      for (size_t i = 0; i < w.plane[0].size(); ++i) {
        const int at = static_cast<int>(i % info.bytes);
        const bool is_scale =
            info.family == Family::kBlock && std::any_of(scales.begin(), scales.end(), [&](int s) {
              return at == s || (at == s + 1 && c.encoding != Encoding::kMXFP4);
            });
        if (!is_scale) w.plane[0][i] = static_cast<std::byte>(value);
      }
      for (const float sign : {1.0f, -1.0f}) {
        const std::vector<float> x(static_cast<size_t>(n * cols), sign);
        const std::vector<float> expected = multiply(baseline, w.view, x.data(), n, cols);
        for (int64_t inputs : {int64_t{1}, int64_t{4}, n}) {
          const std::vector<float> out = multiply(compute_, w.view, x.data(), inputs, cols);
          EXPECT_TRUE(std::equal(out.begin(), out.end(), expected.begin()))
              << describe(c) << " bytes " << value << " inputs " << inputs;
        }
      }
    }
  }
}

TEST_P(Matmul, NeitherBatchNorThreadsNorTheRowSplitChangeABit) {
  const bool is_slow = GetParam() == "generic";
  const int64_t n = 300, rows = is_slow ? 9 : 75, first_lower = is_slow ? 5 : 13;
  for (const Case& c : all_cases()) {
    if (c.params.scale_type != ScaleType::kBF16 || c.params.group == 128) continue;
    for (bool f32 : {false, true}) {
      compute_.f32_activations = f32;
      SCOPED_TRACE(describe(c) + (f32 ? " f32" : " default"));
      const int64_t cols = encoding_info(c.encoding).family == Family::kFloat ? 301 : is_slow ? 256 : 768;
      const TestWeight w = random_weight(c.encoding, c.params, rows, cols, random_);
      const std::vector<float> x = random_floats(n * cols, random_);
      const std::vector<float> whole = multiply(compute_, w.view, x.data(), n, cols);
      const auto expect_rows = [&](const std::vector<float>& part, int64_t first) {
        ASSERT_EQ(
            std::memcmp(part.data(), &whole[static_cast<size_t>(first * rows)], part.size() * sizeof(float)),
            0);
      };
      for (int64_t batch : {1, 2, 3, 4, 5, 7, 8, 17, 64, 290}) {
        SCOPED_TRACE(batch);
        for (int64_t first : {int64_t{0}, n - batch}) {
          if (batch > 64 && first == 0) continue;  // emulated CPUs take long: once is enough
          expect_rows(multiply(compute_, w.view, &x[static_cast<size_t>(first * cols)], batch, cols), first);
        }
      }
      for (int threads : {1, 4}) {
        ThreadPool other(threads);
        Compute with_other = compute_;
        with_other.pool = &other;
        expect_rows(multiply(with_other, w.view, x.data(), 70, cols), 0);
      }
      WeightView lower = w.view;  // rows from first_lower on
      for (size_t p = 0; p < plane_count(c.encoding); ++p)
        lower.plane[p] += static_cast<uint64_t>(first_lower) * lower.stride[p];
      lower.rows -= first_lower;
      const std::vector<float> part = multiply(compute_, lower, x.data(), 5, cols);
      for (int64_t t = 0; t < 5; ++t) {
        ASSERT_EQ(std::memcmp(&part[static_cast<size_t>(t * lower.rows)],
                              &whole[static_cast<size_t>(t * rows + first_lower)],
                              static_cast<size_t>(lower.rows) * sizeof(float)),
                  0);
      }
    }
  }
}

// Also where columns end within a tile of 256, or inputs within one of 32.
TEST_P(Matmul, PackedInputsGiveTheSameBitsAsRows) {
  constexpr int64_t kRows = 40;
  for (const Case& c : all_cases()) {
    const Activation activation = activation_of(compute_, c.encoding);
    if (activation == Activation::kF32 || c.params.scale_type != ScaleType::kBF16) continue;
    const bool is_int8 = activation == Activation::kInt8;
    SCOPED_TRACE(describe(c));
    for (const auto& [n, cols] :
         {std::pair<int64_t, int64_t>{32, 128}, {37, 640}, {37, 768}, {37, 777}, {259, 1280}}) {
      if (!cols_fit(c.encoding, c.params, static_cast<uint64_t>(cols))) continue;
      if (n > 64 && GetParam() == "generic") continue;
      SCOPED_TRACE(n);
      const TestWeight w = random_weight(c.encoding, c.params, kRows, cols, random_);
      const std::vector<float> x = random_floats(n * cols, random_);
      Activations input;
      input.reserve(4 * n, cols);
      std::vector<float> out[2];
      for (const bool is_packed : {true, false}) {
        input.set(x.data(), n, cols, cols);
        is_packed ? input.prepare(compute_, c.encoding) : input.prepare_rows(compute_, c.encoding);
        const InputForm packed = is_int8 ? InputForm::kPacked : InputForm::kRounded;
        const InputForm rows = is_int8 ? InputForm::kRows : InputForm::kNone;
        EXPECT_EQ(ActivationAccess::impl(input).copy(input_span(c.encoding)).form, is_packed ? packed : rows);
        out[is_packed].resize(static_cast<size_t>(n * kRows), -1e30f);
        const MatmulTask task{w.view, &input, {}, out[is_packed].data(), kRows};
        matmul(compute_, std::span(&task, 1));
      }
      ASSERT_EQ(std::memcmp(out[0].data(), out[1].data(), out[0].size() * sizeof(float)), 0);
    }
  }
}

// There is one copy of the inputs for long spans and one for the rest: of the latter the last format prepared
// has it, and products of bf16 do without.
TEST_P(Matmul, ProductsOfSeveralFormatsShareTheirInputs) {
  constexpr int64_t kRows = 40, kInputs = 64, kCols = 512;
  const TestWeight weights[] = {random_weight(Encoding::kBF16, {}, kRows, kCols, random_),
                                random_weight(Encoding::kQ8_0, {}, kRows, kCols, random_),
                                random_weight(Encoding::kF32, {}, kRows, kCols, random_),
                                random_weight(Encoding::kQ4_K, {}, kRows, kCols, random_)};
  const std::vector<float> x = random_floats(kInputs * kCols, random_);
  for (const auto& order : {std::array{0, 1, 2, 3}, {1, 3, 0, 2}, {3, 2, 1, 0}, {0, 2, 3, 1}}) {
    Activations input;
    input.set(x.data(), kInputs, kCols, kCols);
    std::vector<std::vector<float>> out(std::size(weights), std::vector<float>(kInputs * kRows));
    std::vector<MatmulTask> tasks;
    for (const int i : order) {
      const WeightView& w = weights[i].view;
      input.prepare(compute_, w.encoding);
      tasks.push_back({w, &input, {}, out[static_cast<size_t>(i)].data(), kRows});
    }
    matmul(compute_, tasks);
    for (size_t i = 0; i < std::size(weights); ++i) {
      EXPECT_EQ(out[i], multiply(compute_, weights[i].view, x.data(), kInputs, kCols));
    }
  }
}

bool has_whole_words(const Case& c, int64_t cols) {
  const auto bytes = row_bytes(c.encoding, c.params, static_cast<uint64_t>(cols));
  return std::all_of(bytes.begin(), bytes.end(), [](uint64_t n) { return n % kWovenWord == 0; });
}

// The same weight, woven where that is possible.
TestWeight woven(const Compute& compute, const TestWeight& w) {
  TestWeight out;
  out.view = w.view;
  std::vector<std::byte> scratch;
  for (size_t p = 0; p < plane_count(w.view.encoding); ++p) {
    out.plane[p].resize(w.plane[p].size());
    std::copy(w.plane[p].begin(), w.plane[p].end(), out.plane[p].begin());
    out.view.plane[p] = out.plane[p].data();
    out.view.woven_rows =
        weave(*compute.table, out.plane[p].data(), w.view.rows, w.view.stride[p], w.view.encoding, scratch);
  }
  return out;
}

TEST_P(Matmul, WovenWeightsGiveTheSameBits) {
  const bool is_slow = GetParam() == "generic";
  for (const Case& c : all_cases()) {
    const bool is_float = encoding_info(c.encoding).family == Family::kFloat;
    for (const int64_t rows : {int64_t{16}, int64_t{is_slow ? 21 : 151}}) {
      // Superblocks at every place within a word, and a rest of columns after eight blocks.
      int64_t cols = is_float             ? 302
                     : col_unit(c) == 256 ? 1024
                                          : 2 * 256 + 2 * std::max<int64_t>(c.params.group, 64);
      // In the smaller weight an odd number of blocks, where these are whole words.
      if (rows == 16 && col_unit(c) == 32 && has_whole_words(c, cols + 32)) cols += 32;
      const TestWeight plain = random_weight(c.encoding, c.params, rows, cols, random_);
      const TestWeight w = woven(compute_, plain);
      ASSERT_EQ(w.view.woven_rows, rows / 16 * 16) << describe(c);
      for (size_t p = 0; p < plane_count(c.encoding); ++p) {
        std::vector<std::byte> expected(plain.plane[p].begin(), plain.plane[p].end());
        weave_rows(expected.data(), rows, plain.view.stride[p], c.encoding);
        ASSERT_TRUE(std::equal(expected.begin(), expected.end(), w.plane[p].begin())) << describe(c);
      }
      const int64_t n = is_slow ? 20 : 70;
      const std::vector<float> x = random_floats(n * cols, random_);
      for (int64_t batch :
           {int64_t{1}, int64_t{2}, int64_t{3}, int64_t{4}, int64_t{6}, int64_t{7}, int64_t{9}, n}) {
        const std::vector<float> expected = multiply(compute_, plain.view, x.data(), batch, cols);
        const std::vector<float> out = multiply(compute_, w.view, x.data(), batch, cols);
        ASSERT_EQ(std::memcmp(out.data(), expected.data(), out.size() * sizeof(float)), 0)
            << describe(c) << " " << rows << "x" << cols << "x" << batch;
      }
      std::vector<float> row(static_cast<size_t>(cols)), expected(row);
      for (int64_t r = 0; r < rows; ++r) {
        decode_row(plain.view, r, expected.data());
        decode_row(w.view, r, row.data());
        ASSERT_EQ(std::memcmp(row.data(), expected.data(), row.size() * sizeof(float)), 0)
            << describe(c) << r;
        WeightView one = w.view;
        one.first_row = r;
        one.rows = 1;
        decode_row(one, 0, row.data());
        ASSERT_EQ(std::memcmp(row.data(), expected.data(), row.size() * sizeof(float)), 0)
            << describe(c) << r;
      }
    }
  }
}

// With one input groups of such rows are read in turns; seven rows and two groups of these are left over.
TEST_P(Matmul, LongWovenRowsGiveTheSameBits) {
  for (const Case& c : all_cases()) {
    if (encoding_info(c.encoding).family != Family::kBlock) continue;
    const int64_t rows = 103, cols = col_unit(c) == 256 ? 4608 : 4608 + 64 * 2;
    const TestWeight plain = random_weight(c.encoding, c.params, rows, cols, random_);
    const TestWeight w = woven(compute_, plain);
    ASSERT_EQ(w.view.woven_rows, 96) << describe(c);
    const std::vector<float> x = random_floats(cols, random_);
    ASSERT_EQ(multiply(compute_, w.view, x.data(), 1, cols),
              multiply(compute_, plain.view, x.data(), 1, cols))
        << describe(c);
  }
}

TEST_P(Matmul, RowsThatAreNotWholeWordsAreNotWoven) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{40, 31}, {15, 32}}) {
    const TestWeight plain = random_weight(Encoding::kF16, {}, rows, cols, random_);
    const TestWeight w = woven(compute_, plain);
    EXPECT_EQ(w.view.woven_rows, 0);
    EXPECT_TRUE(std::equal(w.plane[0].begin(), w.plane[0].end(), plain.plane[0].begin()));
  }
}

TEST_P(Matmul, SeveralProductsWithChosenInputRowsRunTogether) {
  const TestWeight a = random_weight(Encoding::kQ4_K, {}, 90, 512, random_);
  const TestWeight b = random_weight(Encoding::kF16, {}, 33, 512, random_);
  const std::vector<float> x = random_floats(6 * 512, random_);
  Activations input;
  input.set(x.data(), 6, 512, 512);
  input.prepare(compute_, Encoding::kQ4_K);
  const std::vector<int32_t> some = {4, 1, 1}, one = {5};
  std::vector<float> out_a(3 * 90), out_b(6 * 40, -1), out_c(90);
  const MatmulTask tasks[] = {{a.view, &input, some, out_a.data(), 90},
                              {b.view, &input, {}, out_b.data(), 40},
                              {a.view, &input, one, out_c.data(), 90}};
  matmul(compute_, tasks);
  const std::vector<float> all_a = multiply(compute_, a.view, x.data(), 6, 512);
  const std::vector<float> all_b = multiply(compute_, b.view, x.data(), 6, 512);
  for (size_t r = 0; r < 90; ++r) {
    for (size_t t = 0; t < 3; ++t) EXPECT_EQ(out_a[t * 90 + r], all_a[static_cast<size_t>(some[t]) * 90 + r]);
    EXPECT_EQ(out_c[r], all_a[5 * 90 + r]);
  }
  for (size_t t = 0; t < 6; ++t) {
    for (size_t r = 0; r < 33; ++r) EXPECT_EQ(out_b[t * 40 + r], all_b[t * 33 + r]);
    for (size_t r = 33; r < 40; ++r) EXPECT_EQ(out_b[t * 40 + r], -1);  // beyond the rows, within the stride
  }
}

TEST_P(Matmul, OneBadInputRowSpoilsNoOther) {
  for (Encoding encoding : {Encoding::kQ4_0, Encoding::kQ6_K, Encoding::kF32, Encoding::kBF16}) {
    const TestWeight w = random_weight(encoding, {}, 40, 256, random_);
    std::vector<float> x = random_floats(8 * 256, random_);
    const std::vector<float> good = multiply(compute_, w.view, x.data(), 8, 256);
    x[2 * 256 + 100] = std::numeric_limits<float>::quiet_NaN();
    x[5 * 256 + 7] = std::numeric_limits<float>::infinity();
    const std::vector<float> out = multiply(compute_, w.view, x.data(), 8, 256);
    for (size_t t = 0; t < 8; ++t) {
      for (size_t r = 0; r < 40; ++r) {
        if (t == 2 || t == 5)
          EXPECT_FALSE(std::isfinite(out[t * 40 + r]));
        else
          EXPECT_EQ(out[t * 40 + r], good[t * 40 + r]);
      }
    }
  }
}

TEST_P(Matmul, RowsOfLongSpansAreTheDocumentedFormat) {
  std::vector<float> x = random_floats(256 * 4, random_);
  x[7] = 50;
  for (size_t i = 256; i < 512; ++i) x[i] *= 1e-35F;
  x[600] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<ActivationBlock> blocks = quantised(compute_, x.data(), 256 * 4, kLongSpan);
  for (size_t s = 0; s < 4; ++s) {
    float amax = 0;
    for (size_t i = 256 * s; i < 256 * (s + 1); ++i) amax = std::fmax(amax, std::fabs(x[i]));
    for (size_t b = 8 * s; b < 8 * (s + 1); ++b) {
      SCOPED_TRACE(b);
      int sum[2] = {};
      for (size_t i = 0; i < 32; ++i) {
        const bool is_0 = s == 1 || s == 2;
        const int q = is_0 ? 0 : static_cast<int>(std::nearbyint(x[32 * b + i] * (127 / amax)));
        ASSERT_EQ(blocks[b].q[i], q);
        sum[i / 16] += q;
      }
      if (s == 2)
        EXPECT_TRUE(std::isnan(blocks[b].scale));
      else
        EXPECT_EQ(blocks[b].scale, s == 1 ? 0 : amax / 127);
      EXPECT_EQ(blocks[b].neg_q, -(sum[0] + sum[1]));
      EXPECT_EQ(blocks[b].sum, static_cast<float>(sum[0] + sum[1]));
      for (size_t h = 0; h < 2; ++h) {
        EXPECT_EQ(blocks[b].neg_q16[h], -sum[h]);
        EXPECT_EQ(blocks[b].sum16[h], static_cast<float>(sum[h]));
      }
    }
  }
}

TEST_P(Matmul, Int8RowsAreTheDocumentedFormat) {
  std::vector<float> x = random_floats(32 * 6, random_);
  for (size_t i = 0; i < 32; ++i) {
    x[32 + i] = 0;
    x[64 + i] *= 1e-35f;
    x[96 + i] *= 1e30f;
    x[128 + i] = static_cast<float>(i) - 15.5f;
  }
  x[128] = 127;  // steps of one: ties
  x[160 + 3] = -std::numeric_limits<float>::infinity();
  const std::vector<ActivationBlock> blocks = quantised(compute_, x.data(), 32 * 6, kActivationBlock);
  for (size_t b = 0; b < 6; ++b) {
    SCOPED_TRACE(b);
    float amax = 0;
    for (size_t i = 0; i < 32; ++i) amax = std::fmax(amax, std::fabs(x[32 * b + i]));
    if (b == 5) {
      EXPECT_TRUE(std::isnan(blocks[b].scale) && std::isnan(blocks[b].sum) && blocks[b].q[0] == 0);
      continue;
    }
    const bool is_zero = amax < 0x1p-100f;
    EXPECT_EQ(blocks[b].scale, is_zero ? 0 : amax / 127);
    int sum[2] = {};
    for (size_t i = 0; i < 32; ++i) {
      const int q = is_zero ? 0 : static_cast<int>(std::nearbyint(x[32 * b + i] * (127 / amax)));
      EXPECT_EQ(blocks[b].q[i], q);
      sum[i / 16] += q;
    }
    EXPECT_EQ(blocks[b].neg_q, -(sum[0] + sum[1]));
    EXPECT_EQ(blocks[b].sum, blocks[b].scale * static_cast<float>(sum[0] + sum[1]));
    for (size_t h = 0; h < 2; ++h) {
      EXPECT_EQ(blocks[b].neg_q16[h], -sum[h]);
      EXPECT_EQ(blocks[b].sum16[h], blocks[b].scale * static_cast<float>(sum[h]));
    }
  }
}

TEST(Activations, ReserveAllocatesWhatBufferBytesSays) {
  EXPECT_EQ(Activations::buffer_bytes(3, 64), 2u * 3 * 2 * sizeof(ActivationBlock));
  Activations moved_from;
  moved_from.reserve(3, 64);
  Activations input(std::move(moved_from));
  const std::vector<float> x(3 * 64, 1.0f);
  input.set(x.data(), 3, 64, 64);
  EXPECT_EQ(input.rows(), 3);
  EXPECT_EQ(input.cols(), 64);
}

TEST(KernelTable, AnUnknownNameIsRefusedWithTheNamesThereAre) {
  try {
    kernel_table("mmx");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("generic"), std::string::npos) << error.what();
  }
  EXPECT_STREQ(kernel_isa(kernel_table()), available_isas().front().c_str());
}

TEST(KernelTable, WhatThisCpuHasIsTested) {
  const std::vector<std::string> tested = test::all_isas();
  for (const std::string& isa : available_isas()) {
    EXPECT_TRUE(std::find(tested.begin(), tested.end(), isa) != tested.end()) << isa;
  }
}

}  // namespace
}  // namespace sluice
