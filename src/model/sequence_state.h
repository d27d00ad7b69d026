// What one sequence carries from pass to pass: per layer, keys and values in blocks of kKvBlockTokens
// positions behind a table. Blocks are allocated as tokens come and charged to the MemoryBudget.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "platform/memory_budget.h"
#include "platform/memory_info.h"

namespace sluice {

struct KvShape {
  int64_t n_layers = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  KvType type = KvType::kF16;

  // One block of one layer: the keys of every KV head, then the values, as kernels.h lays them out.
  size_t head_bytes() const { return kv_head_bytes(type, head_dim); }
  size_t layer_block_bytes() const { return 2 * static_cast<size_t>(n_kv_heads) * head_bytes(); }
  size_t k_offset(int64_t kv_head) const { return static_cast<size_t>(kv_head) * head_bytes(); }
  size_t v_offset(int64_t kv_head) const { return static_cast<size_t>(n_kv_heads + kv_head) * head_bytes(); }
  size_t bytes_per_block() const { return static_cast<size_t>(n_layers) * layer_block_bytes(); }
};

// Not thread-safe. Owned by a session; its budget must outlive it.
class SequenceState {
 public:
  SequenceState(const KvShape& shape, MemoryBudget& budget);
  ~SequenceState();
  SequenceState(const SequenceState&) = delete;
  SequenceState& operator=(const SequenceState&) = delete;

  int64_t n_tokens() const noexcept { return n_tokens_; }
  uint64_t bytes() const noexcept;

  // Makes room for positions up to n_tokens. Throws Error(kNoMemory) and changes nothing.
  void reserve(int64_t n_tokens);
  // The tokens up to n_tokens are written in every layer. Precondition: reserved.
  void advance(int64_t n_tokens);
  // Forgets all but the first n_tokens; gives back whole blocks.
  void truncate(int64_t n_tokens);

  const KvShape& shape() const noexcept { return shape_; }
  // The layer's blocks by position / kKvBlockTokens.
  std::span<const std::byte* const> blocks(int64_t layer) const noexcept;
  std::byte* block(int64_t layer, int64_t index) noexcept;

 private:
  KvShape shape_;
  MemoryBudget& budget_;
  int64_t n_tokens_ = 0;
  std::vector<PageBuffer> storage_;                   // one per block index, all layers
  std::vector<std::vector<const std::byte*>> table_;  // [n_layers][n_blocks]
};

}  // namespace sluice
