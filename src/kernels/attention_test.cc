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
INSTANTIATE_TEST_SUITE_P(All, Attention, testing::ValuesIn(test::base_isas()), test::isa_test_name);

constexpr KvType kTypes[] = {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8};

// Keys and values of one KV head, in guarded blocks of exactly their size. What no query may see is NaN.
struct Cache {
  KvType type;
  int64_t head_dim;
  std::vector<test::GuardedBytes> blocks;
  std::vector<const std::byte*> pointers;
  size_t v_offset() const { return kv_head_bytes(type, head_dim); }

  // The stored number at `index` of a head's keys or values, times its row's scale.
  double get(size_t offset, int64_t position, int64_t index) const {
    const std::byte* head = pointers[static_cast<size_t>(position / kKvBlockTokens)] + offset;
    const std::byte* at = head + static_cast<size_t>(index) * kv_type_bytes(type);
    float value;
    uint16_t half;
    switch (type) {
      case KvType::kF32:
        std::memcpy(&value, at, 4);
        return value;
      case KvType::kInt8:
        std::memcpy(&value, head + kKvBlockTokens * head_dim + 4 * (position % kKvBlockTokens), 4);
        return static_cast<double>(value) * static_cast<int8_t>(*at);
      default:
        std::memcpy(&half, at, 2);
        return type == KvType::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
    }
  }
  double key(int64_t position, int64_t d) const {
    return get(0, position, d * kKvBlockTokens + position % kKvBlockTokens);
  }
  double value(int64_t position, int64_t d) const {
    return get(v_offset(), position, position % kKvBlockTokens * head_dim + d);
  }
};

Cache random_cache(const Compute& compute, KvType type, int64_t head_dim, int64_t n_keys,
                   std::mt19937& random) {
  Cache cache{type, head_dim, {}, {}};
  const std::vector<float> nan(static_cast<size_t>(head_dim), std::numeric_limits<float>::quiet_NaN());
  const int64_t n_blocks = (n_keys + kKvBlockTokens - 1) / kKvBlockTokens;
  for (int64_t b = 0; b < n_blocks; ++b) cache.blocks.emplace_back(2 * cache.v_offset());
  for (const auto& block : cache.blocks) cache.pointers.push_back(block.data());
  for (int64_t p = 0; p < n_blocks * kKvBlockTokens; ++p) {
    std::byte* block = cache.blocks[static_cast<size_t>(p / kKvBlockTokens)].data();
    const int64_t slot = p % kKvBlockTokens;
    const auto row = [&] { return p < n_keys ? random_floats(head_dim, random) : nan; };
    store_keys(compute, type, row().data(), head_dim, 1, head_dim, block, slot);
    store_values(compute, type, row().data(), head_dim, 1, head_dim, block + cache.v_offset(), slot);
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

// Row i of the task, divided by `total`.
std::vector<double> exact_row(const Cache& cache, const AttentionTask& task, int64_t i) {
  const int64_t position = task.first_position + i / task.group;
  const float* q = task.q + i * task.head_dim;
  std::vector<double> expected(static_cast<size_t>(task.head_dim));
  double total = task.sinks == nullptr ? 0 : std::exp(static_cast<double>(task.sinks[i % task.group]));
  const int64_t first = task.window == 0 ? 0 : std::max<int64_t>(0, position - task.window + 1);
  for (int64_t k = first; k <= position; ++k) {
    double score = 0;
    for (int64_t d = 0; d < task.head_dim; ++d) score += q[d] * cache.key(k, d);
    const double weight = std::exp(score * task.scale);
    total += weight;
    for (int64_t d = 0; d < task.head_dim; ++d) {
      expected[static_cast<size_t>(d)] += weight * cache.value(k, d);
    }
  }
  for (double& v : expected) v /= total;
  return expected;
}

TEST_P(Attention, MatchesDoublePrecision) {
  for (KvType type : kTypes) {
    for (int64_t head_dim : {2, 6, 8, 16, 32, 64, 74, 80, 128, 256}) {
      const int64_t group = 1 + static_cast<int64_t>(random_() % 9);
      const int64_t n_queries = random_() % 2 == 0 ? 1 : 1 + static_cast<int64_t>(random_() % 20);
      const int64_t first = static_cast<int64_t>(random_() % (random_() % 4 == 0 ? 1300 : 150));
      const int64_t window = random_() % 2 == 0 ? 0 : 1 + static_cast<int64_t>(random_() % 100);
      std::vector<float> sinks = random_floats(group, random_);
      sinks[0] += 5;  // outweighs the keys
      SCOPED_TRACE(std::to_string(static_cast<int>(type)) + " dim " + std::to_string(head_dim) + " group " +
                   std::to_string(group) + " queries " + std::to_string(n_queries) + " first " +
                   std::to_string(first) + " window " + std::to_string(window));
      const Cache cache = random_cache(compute_, type, head_dim, first + n_queries, random_);
      const std::vector<float> q = random_floats(n_queries * group * head_dim, random_);
      for (const float* sink :
           {static_cast<const float*>(nullptr), static_cast<const float*>(sinks.data())}) {
        std::vector<float> out(q.size(), std::numeric_limits<float>::quiet_NaN());
        AttentionTask task = make_task(cache, q, group, first, n_queries, window, out);
        task.sinks = sink;
        attention(compute_, std::span(&task, 1), {});
        for (int64_t i = 0; i < n_queries * group; ++i) {
          const std::vector<double> expected = exact_row(cache, task, i);
          for (int64_t d = 0; d < head_dim; ++d) {
            ASSERT_NEAR(out[static_cast<size_t>(i * head_dim + d)], expected[static_cast<size_t>(d)], 3e-6)
                << "row " << i << (sink == nullptr ? "" : " with sinks");
          }
        }
      }
    }
  }
}

// Chunks of every size, threads and scratch for any number of segments at a time: the same bits.
TEST_P(Attention, NeitherChunksNorThreadsNorScratchChangeABit) {
  struct Case {
    KvType type;
    int64_t head_dim, group, first, n, window;
  };
  const Case cases[] = {
      {KvType::kF16, 80, 3, 37, 150, 0},     {KvType::kF16, 80, 3, 37, 150, 50},
      {KvType::kF16, 64, 4, 1490, 20, 0},    {KvType::kInt8, 64, 8, 1490, 20, 600},
      {KvType::kBF16, 32, 9, 505, 20, 0},    {KvType::kF32, 128, 5, 1010, 20, 0},
      {KvType::kInt8, 256, 2, 1000, 40, 0},  {KvType::kF16, 42, 2, 1000, 40, 700},
      {KvType::kF16, 400, 7, 1020, 10, 700},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE("dim " + std::to_string(c.head_dim) + " first " + std::to_string(c.first));
    const Cache cache = random_cache(compute_, c.type, c.head_dim, c.first + c.n, random_);
    const std::vector<float> q = random_floats(c.n * c.group * c.head_dim, random_);
    const std::vector<float> sinks = random_floats(c.group, random_);
    std::vector<float> whole(q.size());
    AttentionTask all = make_task(cache, q, c.group, c.first, c.n, c.window, whole);
    all.sinks = sinks.data();
    attention(compute_, std::span(&all, 1), {});
    const int64_t least = attention_scratch_floats(1, c.head_dim);  // room for a few segments
    const int64_t most = attention_scratch_floats(c.group, c.head_dim);
    struct Run {
      int threads;
      int64_t chunk, n_scratch;
    };
    for (const Run& run : {Run{1, 1, 0}, Run{1, 7, most}, Run{2, 64, 0}, Run{4, 1, 0}, Run{2, 1, most},
                           Run{4, 1, least}, Run{2, 7, least}, Run{4, 7, most}, Run{4, 64, least}}) {
      ThreadPool pool(run.threads);
      Compute compute = compute_;
      compute.pool = &pool;
      std::vector<float> out(q.size(), std::numeric_limits<float>::quiet_NaN());
      std::vector<float> scratch(static_cast<size_t>(run.n_scratch), std::numeric_limits<float>::quiet_NaN());
      std::vector<AttentionTask> tasks;
      for (int64_t t = 0; t < c.n; t += run.chunk) {
        AttentionTask task =
            make_task(cache, q, c.group, c.first + t, std::min(run.chunk, c.n - t), c.window, out);
        task.q += t * task.q_stride;
        task.out += t * task.out_stride;
        task.sinks = sinks.data();
        tasks.push_back(task);
      }
      // All together, or a few at a time, which are cut along the context.
      const size_t at_once = run.n_scratch == 0 ? tasks.size() : 3;
      for (size_t i = 0; i < tasks.size(); i += at_once) {
        attention(compute, std::span(tasks).subspan(i, std::min(at_once, tasks.size() - i)), scratch);
      }
      ASSERT_EQ(std::memcmp(out.data(), whole.data(), out.size() * sizeof(float)), 0)
          << "chunk " << run.chunk << " threads " << run.threads << " scratch " << run.n_scratch;
    }
  }
}

TEST_P(Attention, LargeScoresDoNotOverflow) {
  Cache cache = random_cache(compute_, KvType::kF32, 16, 70, random_);
  std::vector<float> q(16), out(16);
  for (float magnitude : {1e4f, 1e20f, 1e35f}) {
    q.assign(16, magnitude);
    AttentionTask task = make_task(cache, q, 1, 69, 1, 0, out);
    task.scale = 1;
    attention(compute_, std::span(&task, 1), {});
    for (float v : out) EXPECT_TRUE(std::isfinite(v)) << magnitude;
  }
}

// Positions stored one by one or together are the same, and what lies beside them stays.
TEST_P(Attention, StoredRowsDoNotDependOnTheirNumber) {
  const int64_t head_dim = 20;
  const std::vector<float> rows = random_floats(64 * head_dim, random_);
  for (KvType type : kTypes) {
    std::vector<std::byte> one(kv_head_bytes(type, head_dim), std::byte{0x5a}), many = one;
    for (auto store : {store_keys, store_values}) {
      store(compute_, type, rows.data(), head_dim, 40, head_dim, many.data(), 3);
      for (int64_t i = 0; i < 40; ++i) {
        store(compute_, type, rows.data() + i * head_dim, head_dim, 1, head_dim, one.data(), 3 + i);
      }
      EXPECT_EQ(one, many);
    }
  }
}

}  // namespace
}  // namespace sluice
