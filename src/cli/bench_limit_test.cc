#include "cli/bench_limit.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

ModelInfo two_layers() {
  ModelInfo info;
  info.n_layers = 2;
  info.hidden = 8;
  info.vocab = 100;
  info.n_heads = 4;
  info.head_dim = 2;
  info.n_experts = 4;
  info.n_experts_per_token = 1;
  info.bytes_per_token = 1000;
  info.expert_bytes = 100;
  info.kv_bytes_per_token = 20;
  info.n_active_parameters = 2000;
  info.n_parameters = 4000;
  info.encodings = {{"q4_0", 3000, 1500}, {"bf16", 1000, 2000}};
  info.attention_windows = {0, 16};
  return info;
}

TEST(Work, OfAStepCountsExpertsOnceAndKeysWithinWindows) {
  Measured measured{.test = {.tokens = 2, .depth = 30}, .n_sequences = 3};
  // Two steps: layer 0 touches 2 and 1 experts, layer 1 touches 3 and 2.
  measured.add(
      {.seconds = 1,
       .n_tokens = 6,
       .n_steps = 2,
       .trace = {0, 1, 1ULL << 32, (1ULL << 32) + 1, (1ULL << 32) + 2, 0, 1ULL << 32, (1ULL << 32) + 1}});
  const Work work = work_of(two_layers(), measured, 1 << 20, false);
  EXPECT_EQ(work.experts_per_layer, 2);
  EXPECT_EQ(work.weight_bytes, 800 + 4 * 100);
  // Queries at 30 and 31 see 31 and 32 keys, or 16 in the layer with a window.
  EXPECT_EQ(work.kv_bytes, 3 * (31.5 + 16) * 10);
  EXPECT_EQ(work.disk_bytes, 0);
  EXPECT_EQ(work.int8_operations, 2 * 2000 * 3 * 0.75);
  EXPECT_EQ(work.float_operations, 2 * 2000 * 3 * 0.25 + 4 * 8 * (31.5 + 16) * 3);
  EXPECT_EQ(work_of(two_layers(), measured, 1 << 20, true).int8_operations, 0);
  // Of 800 bytes of dense weights 300 do not fit, and no expert does.
  EXPECT_EQ(work_of(two_layers(), measured, 500, false).disk_bytes, 300 + 4 * 100);
}

TEST(Work, OfAPromptReadsWeightsInEveryPassAndTheHeadInTheLast) {
  ModelInfo info = two_layers();
  info.n_experts = info.n_experts_per_token = 0;
  info.expert_bytes = 0;
  info.encodings = {{"q4_0", 4000, 2000}};
  Measured measured{.test = {.prefill = true, .tokens = 10}};
  measured.add({.seconds = 1, .n_tokens = 10, .n_steps = 2, .trace = {}});
  const Work work = work_of(info, measured, 1 << 20, false);
  EXPECT_EQ(work.weight_bytes, 2 * 1000 - 1000.0 * 800 / 2000);
  EXPECT_EQ(work.int8_operations, 2 * (1200 * 10 + 800));
  EXPECT_EQ(work.float_operations, 4 * 8 * (55 + 55));  // 1 + 2 + ... + 10 keys in either layer
}

TEST(Limit, IsTheLargestOfTheThree) {
  Peaks peaks;
  peaks.reads = {{.bytes_per_second = 50}, {.bytes_per_second = 100}};
  peaks.arithmetic = {.int8 = 1000, .f32 = 100, .bf16 = 200};
  const Work work = {.weight_bytes = 300, .kv_bytes = 100, .int8_operations = 2000, .float_operations = 600};
  Limit limit = limit_of(work, peaks);
  EXPECT_EQ(limit.memory_s, 4);
  EXPECT_EQ(limit.compute_s, 5);
  EXPECT_STREQ(limit.bound(), "compute");
  peaks.arithmetic.int8 = 2000;
  limit = limit_of(work, peaks);
  EXPECT_EQ(limit.seconds(), 4);
  EXPECT_STREQ(limit.bound(), "memory");
}

}  // namespace
}  // namespace sluice
