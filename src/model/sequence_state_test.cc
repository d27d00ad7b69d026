#include "model/sequence_state.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sluice {
namespace {

constexpr KvShape kKvShape = {.n_layers = 3, .n_kv_heads = 2, .head_dim = 8, .type = KvType::kF16};

TEST(SequenceState, GrowsByBlocksAndChargesThem) {
  MemoryBudget budget(UINT64_MAX);
  {
    SequenceState state(kKvShape, budget);
    EXPECT_EQ(state.bytes(), 0u);
    state.reserve(1);
    EXPECT_EQ(state.bytes(), kKvShape.bytes_per_block());
    EXPECT_EQ(kKvShape.bytes_per_block(), 3u * 2 * 2 * 64 * 8 * 2);
    state.reserve(64);
    EXPECT_EQ(state.blocks(2).size(), 1u);
    state.reserve(65);
    EXPECT_EQ(state.blocks(2).size(), 2u);
    EXPECT_EQ(state.blocks(2)[1], state.block(2, 1));
    state.advance(65);
    EXPECT_EQ(budget.used(MemoryUse::kKvCache), state.bytes());
    state.truncate(64);
    EXPECT_EQ(state.blocks(0).size(), 1u);
    EXPECT_EQ(state.n_tokens(), 64);
  }
  EXPECT_EQ(budget.used(MemoryUse::kKvCache), 0u);
}

TEST(SequenceState, EveryTypeTakesWhatItsNumbersAndScalesTake) {
  KvShape shape = kKvShape;
  const size_t rows = 3u * 2 * 2 * 64;  // of keys and values in a block
  for (const auto& [type, row_bytes] : {std::pair{KvType::kF32, 8u * 4},
                                        {KvType::kF16, 8u * 2},
                                        {KvType::kBF16, 8u * 2},
                                        {KvType::kInt8, 8u + 4}}) {
    shape.type = type;
    EXPECT_EQ(shape.bytes_per_block(), rows * row_bytes);
    EXPECT_EQ(shape.v_offset(1) + shape.head_bytes(), shape.layer_block_bytes());
  }
}

TEST(SequenceState, RefusesBeyondTheBudgetAndStaysUsable) {
  MemoryBudget budget(kKvShape.bytes_per_block() + 100);
  SequenceState state(kKvShape, budget);
  state.reserve(64);
  state.advance(10);
  EXPECT_THROW(state.reserve(65), Error);
  EXPECT_EQ(state.n_tokens(), 10);
  EXPECT_EQ(state.blocks(0).size(), 1u);
  EXPECT_EQ(budget.used(MemoryUse::kKvCache), kKvShape.bytes_per_block());
}

}  // namespace
}  // namespace sluice
