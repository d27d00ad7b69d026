// Grouped-query attention over the sequences' KV caches.
#pragma once

#include <cstdint>
#include <span>

#include "model/activation_buffers.h"
#include "model/blocks/linear.h"
#include "model/bound_model.h"
#include "model/sequence_state.h"

namespace sluice {

// Rows [first_row, first_row + n_tokens) of the batch belong to this sequence, at consecutive positions from
// sequence->n_tokens() on. Their KV room is reserved.
struct BatchSpan {
  SequenceState* sequence = nullptr;
  int64_t first_row = 0;
  int64_t n_tokens = 0;
};

// projected = o(attention(q, k, v of normed)) for the whole batch; writes the new keys and values of `layer`.
// In: buffers.normed, set as buffers.input; buffers.cosines and sines. Out: buffers.projected.
void attention_gqa(ExecContext& context, const ModelSpec& spec, int64_t layer, const LayerWeights& weights,
                   std::span<const BatchSpan> batch, ActivationBuffers& buffers);

}  // namespace sluice
