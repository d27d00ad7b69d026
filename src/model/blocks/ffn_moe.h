// The mixture-of-experts feed-forward block, expert-major: each chosen expert is leased once per batch and
// multiplied with all the tokens that chose it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/activation_buffers.h"
#include "model/blocks/linear.h"

namespace sluice {

inline constexpr int32_t kDroppedExpert = -1;  // of lossy routing; its weight is 0

// The routing of one layer over a batch of n tokens. Kept from call to call for its memory.
struct MoeRouting {
  std::vector<int32_t> experts;  // [n, k] in router order
  std::vector<float> weights;    // [n, k]
  // [n, k] 1: computed from the expert's stand-in; empty if none is
  std::vector<uint8_t> by_stand_in;

  // The same by expert: assignment a is (token, expert), sorted by expert, then token.
  std::vector<int32_t> active;  // [n_active] expert ids, ascending; n_experts + id for stand-ins
  std::vector<int32_t> first;   // [n_active + 1] where each one's assignments begin
  std::vector<int32_t> tokens;  // [n * k] token of each assignment
  // [n, k] the assignments of a token, by ascending expert id; -1: dropped
  std::vector<int32_t> assignment_of;
  std::vector<float> weight_of;  // [n, k] and their weights
};

// In: buffers.normed, set as buffers.input. Out: buffers.projected, and the routing for whoever observes it.
// Experts compute as they arrive; each token's sum runs over ascending expert ids, so the cache never changes
// the result.
void ffn_moe(ExecContext& context, const ModelSpec& spec, int64_t layer, const LayerWeights& weights,
             ActivationBuffers& buffers, MoeRouting& routing);

}  // namespace sluice
