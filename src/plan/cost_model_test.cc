#include "plan/cost_model.h"

#include <gtest/gtest.h>

#include <cmath>

namespace sluice {
namespace {

constexpr uint64_t kMB = 1'000'000;
constexpr Routing kUniform = {Routing::Kind::kZipf, 0};
constexpr Routing kZipf1 = {Routing::Kind::kZipf, 1};

// A machine of round numbers: the disk 1 GB/s at any block and depth, memory and kernels 10 GB/s.
HardwareProfile machine() {
  HardwareProfile m;
  for (const uint64_t block : {4096, 1 << 20})
    for (const uint64_t depth : {1, 32}) m.disk.push_back({block, depth, true, DiskPattern::kRandom, 1e9});
  m.disk.push_back({1 << 20, 16, true, DiskPattern::kInOrder, 1e9});
  m.disk.push_back({1 << 20, 16, false, DiskPattern::kInOrder, 2e9});
  m.reads = {{.n_threads = 1, .bytes_per_second = 10e9}};
  m.arithmetic = {.int8 = 1e12, .f32 = 1e11, .bf16 = 0};
  m.products = {
      {.encoding = "q4_0", .bytes_per_second = {10e9, 10e9, 10e9, 10e9, 10e9}, .bits_per_weight = 4.5}};
  m.attention = {.bytes_per_second = 1e12, .operations_per_second = 1e15};
  return m;
}

ModelInfo dense() {  // 1 GB, without layers to speak of, so that overheads are small
  ModelInfo model;
  model.n_layers = 1;
  model.hidden = 1000;
  model.n_heads = 1;
  model.head_dim = 1;
  model.vocab = 1000;
  model.n_active_parameters = model.n_parameters = 1777 * int64_t{kMB};
  model.encodings = {{"q4_0", model.n_parameters, 1000 * kMB}};
  model.file_bytes = model.bytes_per_token = 1000 * kMB;
  model.attention_windows = {0};
  return model;
}

// 10 layers of 100 experts of 1 MB, 2 a token, beside 100 MB.
ModelInfo experts() {
  ModelInfo model = dense();
  model.n_layers = model.n_moe_layers = 10;
  model.n_experts = 100;
  model.n_experts_per_token = 2;
  model.expert_bytes = kMB;
  model.experts_bytes = 1000 * kMB;
  model.expert_parameters = 1'777'778;
  model.bytes_per_token = 120 * kMB;
  model.n_active_parameters = 213'000'000;
  model.n_parameters = 1'955'000'000;
  model.attention_windows.assign(10, 0);
  return model;
}

MemoryOutlook outlook(uint64_t pinned, uint64_t cache, uint64_t streamed) {
  MemoryOutlook o;
  o.fits = true;
  o.prefill_chunk = 256;
  o.pinned_bytes = pinned;
  o.cache_bytes = cache;
  o.streamed_bytes = streamed;
  return o;
}

TEST(CostModel, ADenseModelInMemoryIsAsFastAsItsKernels) {
  const Prediction p = predict(dense(), outlook(1000 * kMB, 0, 0), machine(), {});
  EXPECT_NEAR(p.decode_tok_s, 10, 3);  // 1 GB at 10 GB/s, at less than the kernels' speed
  EXPECT_LT(p.decode_tok_s, 10.0001);
  EXPECT_EQ(p.bound, "memory");
  EXPECT_EQ(p.disk_bytes, 0);
  EXPECT_NEAR(p.load_s, 0.5 / 0.6, 1e-9);  // through the page cache, at 0.6 of 2 GB/s
  EXPECT_NEAR(p.first_token_s, p.load_s + 256 / p.prefill_tok_s, 1e-9);
}

TEST(CostModel, AStreamedModelWaitsForTheDisk) {
  const Prediction p = predict(dense(), outlook(250 * kMB, 0, 750 * kMB), machine(), {});
  EXPECT_NEAR(p.decode_tok_s, 1 / 0.75, 1e-9);
  EXPECT_EQ(p.bound, "ssd");
  EXPECT_EQ(p.disk_bytes, 750e6);
  EXPECT_NEAR(p.load_s, 0.25 / 0.6, 1e-9);  // around the page cache, at 0.6 of 1 GB/s
}

TEST(CostModel, ComputeBindsWhereArithmeticIsScarce) {
  HardwareProfile slow = machine();
  slow.arithmetic.int8 = 1e9;
  EXPECT_EQ(predict(dense(), outlook(1000 * kMB, 0, 0), slow, {}).bound, "compute");
}

TEST(CostModel, MissesFollowFromTheSlots) {
  const PlanWorkload uniform = {.routing = kUniform};
  // Half of the 1000 experts: 10 of the 20 a token are read.
  const Prediction half = predict(experts(), outlook(100 * kMB, 500 * kMB, 0), machine(), uniform);
  EXPECT_NEAR(half.hit_rate, 0.5, 1e-9);
  EXPECT_NEAR(half.disk_bytes, 10e6, 1);
  // Per layer 0, 1 or 2 misses with chances 1/4, 1/2, 1/4: a mean of 1 MB, at 0.9 of 1 GB/s, and 0.25 ms for
  // three layers of four.
  EXPECT_NEAR(half.disk_s, 10 * (0.001 / 0.9 + 0.75 * 0.00025), 1e-9);
  const Prediction few = predict(experts(), outlook(100 * kMB, 19 * kMB, 0), machine(), uniform);
  EXPECT_NEAR(few.hit_rate, 0.019, 1e-9);
  // Whole caches miss nothing, and are loaded.
  const Prediction whole = predict(experts(), outlook(100 * kMB, 1000 * kMB, 0), machine(), uniform);
  EXPECT_EQ(whole.hit_rate, 1);
  EXPECT_EQ(whole.disk_bytes, 0);
  EXPECT_NEAR(whole.load_s, 0.55 / 0.6, 1e-9);
  EXPECT_LT(few.decode_tok_s, half.decode_tok_s);
  EXPECT_LT(half.decode_tok_s, whole.decode_tok_s);
}

double hit_rate(const Routing& routing, double share) { return expected_hit_rate(routing, 128, 8, share); }

TEST(CostModel, TextKeepsToSomeExperts) {
  for (const double share : {0.05, 0.25, 0.5, 0.9}) {
    EXPECT_NEAR(hit_rate(kUniform, share), share, 1e-6);
    EXPECT_GT(hit_rate({}, share), share);
    EXPECT_GT(hit_rate(kZipf1, share), hit_rate({}, share));
    EXPECT_LT(hit_rate(kZipf1, share), 1);
  }
  for (const Routing& routing : {Routing{}, kUniform, kZipf1}) {
    EXPECT_EQ(hit_rate(routing, 0), 0);
    EXPECT_NEAR(hit_rate(routing, 1), 1, 1e-9);
  }
}

// The policy's counts on forged routing: docs/performance.md, "The expert cache on real routing".
TEST(CostModel, ZipfHitsAreThoseOfTheSimulator) {
  const std::pair<double, double> counted[] = {{0.1, 0.609}, {0.2, 0.783}, {0.3, 0.860},
                                               {0.5, 0.932}, {0.7, 0.969}, {0.9, 0.988}};
  for (const auto& [share, hits] : counted) EXPECT_NEAR(hit_rate(kZipf1, share), hits, 0.01) << share;
}

TEST(CostModel, RoutingsHaveNames) {
  EXPECT_EQ(parse_routing("typical")->kind, Routing::Kind::kTypical);
  EXPECT_EQ(parse_routing("uniform")->exponent, 0);
  EXPECT_EQ(parse_routing("zipf:1.25")->exponent, 1.25);
  for (const char* wrong : {"", "zipf", "zipf:", "zipf:-1", "zipf:9", "zipf:nan", "zipf:1x", "Uniform"})
    EXPECT_FALSE(parse_routing(wrong)) << wrong;
}

TEST(CostModel, MoreMemoryIsNeverSlower) {
  for (const Routing& routing : {Routing{}, kUniform, kZipf1}) {
    double before = 0;
    for (uint64_t cache = kMB; cache <= 1000 * kMB; cache += 3 * kMB) {
      const Prediction p = predict(experts(), outlook(100 * kMB, cache, 0), machine(), {.routing = routing});
      EXPECT_GE(p.decode_tok_s, before * (1 - 1e-12)) << cache;
      before = p.decode_tok_s;
    }
  }
  double before = 0;
  for (uint64_t pinned = 0; pinned <= 1000 * kMB; pinned += 10 * kMB) {
    const Prediction p = predict(dense(), outlook(pinned, 0, 1000 * kMB - pinned), machine(), {});
    EXPECT_GE(p.decode_tok_s, before);
    before = p.decode_tok_s;
  }
}

TEST(CostModel, APromptReadsTheWeightsOncePerChunk) {
  MemoryOutlook o = outlook(0, 0, 1000 * kMB);
  o.prefill_chunk = 64;
  // 4 chunks of a second each.
  EXPECT_NEAR(predict(dense(), o, machine(), {}).prefill_tok_s, 64, 0.1);
  o.prefill_chunk = 256;
  EXPECT_NEAR(predict(dense(), o, machine(), {}).prefill_tok_s, 256, 0.1);
}

TEST(CostModel, APromptFindsWhatThoseBeforeItLeft) {
  MemoryOutlook o = outlook(100 * kMB, 500 * kMB, 0);
  o.prefill_chunk = 256;  // touches nearly all experts of a layer, of which half are there
  const Prediction uniform = predict(experts(), o, machine(), {.routing = kUniform});
  const double first_s = uniform.first_token_s - uniform.load_s, later_s = 256 / uniform.prefill_tok_s;
  EXPECT_NEAR(first_s / later_s, 2, 0.05);
  // The other half is rarely asked for.
  const Prediction zipf = predict(experts(), o, machine(), {.routing = {Routing::Kind::kZipf, 3}});
  EXPECT_LT(256 / zipf.prefill_tok_s, 0.5 * later_s);
}

TEST(CostModel, LongerContextsCost) {
  ModelInfo model = dense();
  model.kv_bytes_per_token = 100'000;
  HardwareProfile m = machine();
  m.attention.bytes_per_second = 10e9;
  const MemoryOutlook o = outlook(1000 * kMB, 0, 0);
  const double near = predict(model, o, m, {.prompt_tokens = 100}).decode_tok_s;
  const double far = predict(model, o, m, {.prompt_tokens = 10'000}).decode_tok_s;
  EXPECT_NEAR(1 / far - 1 / near, 9900 * 1e5 / 10e9, 1e-3);
  model.attention_windows = {100};
  EXPECT_NEAR(predict(model, o, m, {.prompt_tokens = 10'000}).decode_tok_s, near, near * 0.01);
}

TEST(Knee, IsWhereMoreMemoryNoLongerPays) {
  // Speed rises with memory to 500 and is flat beyond.
  EXPECT_NEAR(static_cast<double>(find_knee(
                  100, 1000, [](uint64_t b) { return std::min<double>(static_cast<double>(b), 500); })),
              500 / 1.05, 25);
  // It rises to the end: all of it is worth having.
  EXPECT_NEAR(static_cast<double>(find_knee(100, 1000, [](uint64_t b) { return static_cast<double>(b); })),
              960, 45);
  // It never rises.
  EXPECT_EQ(find_knee(100, 1000, [](uint64_t) { return 1.0; }), 100U);
  // A flat stretch before a cliff is no knee.
  EXPECT_GT(find_knee(100, 1000, [](uint64_t b) { return b < 900 ? 1.0 : 10.0; }), 800U);
  EXPECT_EQ(find_knee(700, 700, [](uint64_t) { return 1.0; }), 700U);
}

}  // namespace
}  // namespace sluice
