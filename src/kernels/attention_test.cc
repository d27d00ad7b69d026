// Attention against double precision, and the order rule for it.
#include <cmath>
#include <cstring>
#include <limits>

#include "encoding/half.h"
#include "kernels/isa_test.h"
#include "tests/guarded_allocator.h"

namespace sluice {
namespace {

using test::random_floats;

class Attention : public test::Isa {};
INSTANTIATE_TEST_SUITE_P(All, Attention, testing::ValuesIn(test::all_isas()), test::isa_test_name);

// Keys and values of one KV head, in guarded blocks of exactly their size. What no query may see is NaN.
struct Cache {
  KvType type;
  int64_t head_dim;
  std::vector<test::GuardedBytes> blocks;
  std::vector<const std::byte*> pointers;
  size_t v_offset() const { return static_cast<size_t>(kKvBlockTokens * head_dim) * kv_type_bytes(type); }

  void put(size_t offset, int64_t position, const float* row) {
    std::byte* at = blocks[static_cast<size_t>(position / kKvBlockTokens)].data() + offset +
                    static_cast<size_t>(position % kKvBlockTokens * head_dim) * kv_type_bytes(type);
    for (int64_t d = 0; d < head_dim; ++d) {
      const uint16_t half = type == KvType::kF16 ? f32_to_f16(row[d]) : f32_to_bf16(row[d]);
      if (type == KvType::kF32)
        std::memcpy(at + 4 * d, row + d, 4);
      else
        std::memcpy(at + 2 * d, &half, 2);
    }
  }
  double get(size_t offset, int64_t position, int64_t d) const {
    const std::byte* at = pointers[static_cast<size_t>(position / kKvBlockTokens)] + offset +
                          static_cast<size_t>(position % kKvBlockTokens * head_dim + d) * kv_type_bytes(type);
    float value;
    uint16_t half;
    if (type == KvType::kF32) {
      std::memcpy(&value, at, 4);
      return value;
    }
    std::memcpy(&half, at, 2);
    return type == KvType::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
  }
};

Cache random_cache(KvType type, int64_t head_dim, int64_t n_keys, std::mt19937& random) {
  Cache cache{type, head_dim, {}, {}};
  const std::vector<float> nan(static_cast<size_t>(head_dim), std::numeric_limits<float>::quiet_NaN());
  const int64_t n_blocks = (n_keys + kKvBlockTokens - 1) / kKvBlockTokens;
  for (int64_t b = 0; b < n_blocks; ++b) cache.blocks.emplace_back(2 * cache.v_offset());
  for (const auto& block : cache.blocks) cache.pointers.push_back(block.data());
  for (int64_t p = 0; p < n_blocks * kKvBlockTokens; ++p) {
    for (size_t offset : {size_t{0}, cache.v_offset()}) {
      cache.put(offset, p, p < n_keys ? random_floats(head_dim, random).data() : nan.data());
    }
  }
  return cache;
}

AttentionTask make_task(const Cache& cache, const std::vector<float>& q, int64_t group,
                        int64_t first_position, int64_t n_queries, int64_t window, std::vector<float>& out) {
  AttentionTask task;
  task.q = q.data();
  task.q_stride = task.out_stride = group * cache.head_dim;
  task.n_queries = n_queries;
  task.first_position = first_position;
  task.blocks = cache.pointers;
  task.v_offset = cache.v_offset();
  task.kv_type = cache.type;
  task.group = group;
  task.head_dim = cache.head_dim;
  task.window = window;
  task.scale = 1 / std::sqrt(static_cast<float>(cache.head_dim));
  task.out = out.data();
  return task;
}

TEST_P(Attention, MatchesDoublePrecision) {
  for (KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16}) {
    for (int64_t head_dim : {2, 6, 8, 16, 32, 64, 80, 128, 256}) {
      const int64_t group = 1 + static_cast<int64_t>(random_() % 5);
      const int64_t n_queries = 1 + static_cast<int64_t>(random_() % 20);
      const int64_t first = static_cast<int64_t>(random_() % 150);
      const int64_t window = random_() % 2 == 0 ? 0 : 1 + static_cast<int64_t>(random_() % 100);
      SCOPED_TRACE(std::to_string(static_cast<int>(type)) + " dim " + std::to_string(head_dim) + " group " +
                   std::to_string(group) + " queries " + std::to_string(n_queries) + " first " +
                   std::to_string(first) + " window " + std::to_string(window));
      const Cache cache = random_cache(type, head_dim, first + n_queries, random_);
      const std::vector<float> q = random_floats(n_queries * group * head_dim, random_);
      std::vector<float> out(q.size(), std::numeric_limits<float>::quiet_NaN());
      const AttentionTask task = make_task(cache, q, group, first, n_queries, window, out);
      attention(compute_, std::span(&task, 1));
      for (int64_t i = 0; i < n_queries * group; ++i) {
        const int64_t position = first + i / group;
        std::vector<double> expected(static_cast<size_t>(head_dim));
        double total = 0;
        for (int64_t k = window == 0 ? 0 : std::max<int64_t>(0, position - window + 1); k <= position; ++k) {
          double score = 0;
          for (int64_t d = 0; d < head_dim; ++d)
            score += q[static_cast<size_t>(i * head_dim + d)] * cache.get(0, k, d);
          const double weight = std::exp(score * task.scale);
          total += weight;
          for (int64_t d = 0; d < head_dim; ++d) {
            expected[static_cast<size_t>(d)] += weight * cache.get(cache.v_offset(), k, d);
          }
        }
        for (int64_t d = 0; d < head_dim; ++d) {
          ASSERT_NEAR(out[static_cast<size_t>(i * head_dim + d)], expected[static_cast<size_t>(d)] / total,
                      3e-6)
              << "row " << i;
        }
      }
    }
  }
}

TEST_P(Attention, NeitherChunksNorThreadsChangeABit) {
  const int64_t head_dim = 80, group = 3, n = 150, first = 37;
  for (int64_t window : {0, 50}) {
    const Cache cache = random_cache(KvType::kF16, head_dim, first + n, random_);
    const std::vector<float> q = random_floats(n * group * head_dim, random_);
    std::vector<float> whole(q.size());
    const AttentionTask all = make_task(cache, q, group, first, n, window, whole);
    attention(compute_, std::span(&all, 1));
    for (int threads : {1, 4}) {
      ThreadPool pool(threads);
      Compute compute = compute_;
      compute.pool = &pool;
      for (int64_t chunk : {1, 7, 64}) {
        std::vector<float> out(q.size());
        std::vector<AttentionTask> tasks;  // all chunks together: also several tasks in one region
        for (int64_t t = 0; t < n; t += chunk) {
          AttentionTask task = make_task(cache, q, group, first + t, std::min(chunk, n - t), window, out);
          task.q += t * task.q_stride;
          task.out += t * task.out_stride;
          tasks.push_back(task);
        }
        attention(compute, tasks);
        EXPECT_EQ(std::memcmp(out.data(), whole.data(), out.size() * sizeof(float)), 0)
            << "chunk " << chunk << " window " << window;
      }
    }
  }
}

TEST_P(Attention, LargeScoresDoNotOverflow) {
  Cache cache = random_cache(KvType::kF32, 16, 70, random_);
  std::vector<float> q(16, 1e4f), out(16);
  AttentionTask task = make_task(cache, q, 1, 69, 1, 0, out);
  task.scale = 1;
  attention(compute_, std::span(&task, 1));
  for (float v : out) EXPECT_TRUE(std::isfinite(v));
}

}  // namespace
}  // namespace sluice
