#include "plan/products.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <span>

#include "base/check.h"
#include "base/function_ref.h"
#include "encoding/encoding.h"
#include "kernels/kernels.h"
#include "platform/clock.h"
#include "platform/thread_pool.h"

namespace sluice {
namespace {

constexpr int64_t kSize = 2048;  // matrices are square
// In one parallel region, so many that what a region costs does not count.
constexpr size_t kMatrices[kNumProductRows] = {16, 8, 4, 2, 1};
constexpr uint64_t kSlack = 64;   // kernels may look a little beyond a row
constexpr std::byte kFill{0x2c};  // a small normal number in every float format

// Seconds that one `pass` takes: the median of three at least, of as many as `seconds` allow.
double median_seconds(double seconds, FunctionRef<void()> pass) {
  std::vector<double> times;
  const double begin = monotonic_seconds();
  while (times.size() < 3 || monotonic_seconds() - begin < seconds) {
    const double start = monotonic_seconds();
    pass();
    times.push_back(monotonic_seconds() - start);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace

ProductBench::ProductBench(int n_threads, uint64_t buffer_bytes)
    : n_threads_(n_threads), buffer_(std::max<uint64_t>(buffer_bytes, uint64_t{64} << 20)) {
  std::fill_n(buffer_.data(), buffer_.size(), kFill);
}

ProductSpeed ProductBench::product(const std::string& name, double seconds) const {
  const Encoding encoding = encoding_from_name(name);
  SLUICE_CHECK(encoding != Encoding::kCount, "%s", name.c_str());
  const EncodingParams params = encoding_info(encoding).family == Family::kAffine
                                    ? EncodingParams{64, ScaleType::kBF16}
                                    : EncodingParams{};
  const auto row = row_bytes(encoding, params, kSize);
  const uint64_t matrix_bytes = std::accumulate(row.begin(), row.end(), uint64_t{0}) * kSize;
  const uint64_t n_matrices = (buffer_.size() - kSlack) / matrix_bytes;
  ThreadPool pool(n_threads_);
  const Compute compute = {.table = &kernel_table(), .pool = &pool};
  const std::vector<float> x(static_cast<size_t>(kProductRows[kNumProductRows - 1] * kSize), 0.5F);
  std::vector<std::vector<float>> out(kMatrices[0]);
  Activations input;
  uint64_t next = 0;

  ProductSpeed speed = {.encoding = name, .bits_per_weight = bits_per_weight(encoding, params)};
  for (size_t i = 0; i < kNumProductRows; ++i) {
    const int64_t rows = kProductRows[i];
    std::vector<MatmulTask> tasks(kMatrices[i]);
    for (size_t t = 0; t < tasks.size(); ++t) out[t].resize(static_cast<size_t>(rows * kSize));
    // Passes go on where the one before ended, so that together they look at more than a cache holds.
    const uint64_t n_regions =
        std::max<uint64_t>(n_matrices / 8 / static_cast<uint64_t>(rows) / tasks.size(), 1);
    const double pass_s = median_seconds(seconds, [&] {
      for (uint64_t region = 0; region < n_regions; ++region) {
        input.set(x.data(), rows, kSize, kSize);
        input.prepare(compute, encoding);
        for (size_t t = 0; t < tasks.size(); ++t) {
          MatmulTask& task = tasks[t];
          task.weight = {.encoding = encoding, .params = params, .rows = kSize, .cols = kSize};
          const std::byte* at = buffer_.data() + next * matrix_bytes;
          for (size_t p = 0; p < plane_count(encoding); ++p) {
            task.weight.plane[p] = at;
            task.weight.stride[p] = row[p];
            at += row[p] * kSize;
          }
          task.weight.woven_rows = kSize;  // as what stays in memory is
          task.input = &input;
          task.output = out[t].data();
          task.output_stride = kSize;
          next = (next + 1) % n_matrices;
        }
        matmul(compute, tasks);
      }
    });
    speed.bytes_per_second[i] = static_cast<double>(n_regions * tasks.size() * matrix_bytes) / pass_s;
  }
  return speed;
}

AttentionSpeed ProductBench::attention(double seconds) const {
  constexpr int64_t kKvHeads = 8, kGroup = 4, kHeadDim = 128, kBlocks = 8, kQueries = 256;
  constexpr int64_t kContext = kBlocks * kKvBlockTokens;
  constexpr size_t kHeadBytes = kv_head_bytes(KvType::kF16, kHeadDim);
  constexpr size_t kBlockBytes = 2 * kKvHeads * kHeadBytes;
  const size_t n_layers = buffer_.size() / (kBlockBytes * kBlocks);
  ThreadPool pool(n_threads_);
  const Compute compute = {.table = &kernel_table(), .pool = &pool};
  const std::vector<float> q(static_cast<size_t>(kQueries * kKvHeads * kGroup * kHeadDim), 0.1F);
  std::vector<float> out(q.size());
  std::vector<float> scratch(static_cast<size_t>(attention_scratch_floats(kKvHeads * kGroup, kHeadDim)));
  std::array<const std::byte*, kBlocks> blocks;
  size_t layer = 0;
  const auto pass = [&](int64_t n_queries, size_t n) {
    for (size_t i = 0; i < n; ++i, layer = (layer + 1) % n_layers) {
      for (size_t b = 0; b < kBlocks; ++b) blocks[b] = buffer_.data() + (layer * kBlocks + b) * kBlockBytes;
      std::array<AttentionTask, kKvHeads> tasks;
      for (int64_t h = 0; h < kKvHeads; ++h) {
        AttentionTask& task = tasks[static_cast<size_t>(h)];
        task.q = q.data() + h * kGroup * kHeadDim;
        task.out = out.data() + h * kGroup * kHeadDim;
        task.q_stride = task.out_stride = kKvHeads * kGroup * kHeadDim;
        task.n_queries = n_queries;
        task.first_position = kContext - n_queries;
        task.blocks = blocks;
        task.k_offset = static_cast<size_t>(h) * kHeadBytes;
        task.v_offset = static_cast<size_t>(kKvHeads + h) * kHeadBytes;
        task.group = kGroup;
        task.head_dim = kHeadDim;
        task.scale = 0.1F;
      }
      sluice::attention(compute, tasks, scratch);
    }
  };
  const size_t n_short = std::min<size_t>(n_layers, 16);
  const double one = median_seconds(seconds, [&] { pass(1, n_short); });
  const double many = median_seconds(seconds, [&] { pass(kQueries, 1); });
  constexpr int64_t kSeen = kQueries * (kContext - kQueries) + kQueries * (kQueries + 1) / 2;
  return {.bytes_per_second = static_cast<double>(n_short * kBlocks * kBlockBytes) / one,
          .operations_per_second = 4.0 * static_cast<double>(kKvHeads * kGroup * kHeadDim * kSeen) / many};
}

std::vector<std::string> ProductBench::encodings() {
  std::vector<std::string> names;
  for (size_t e = 0; e < kNumEncodings; ++e) names.emplace_back(encoding_info(static_cast<Encoding>(e)).name);
  return names;
}

}  // namespace sluice
