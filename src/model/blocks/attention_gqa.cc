#include "model/blocks/attention_gqa.h"

#include <algorithm>
#include <cmath>

namespace sluice {
namespace {

void norm_heads(const Compute& compute, const ModelSpec& spec, float* x, int64_t n_heads,
                const std::vector<float>& weight) {
  const int64_t rows = spec.qk_norm == QkNorm::kFull ? 1 : n_heads;
  const int64_t cols = spec.qk_norm == QkNorm::kFull ? n_heads * spec.head_dim : spec.head_dim;
  rms_norm(compute, x, cols, weight.data(), spec.norm_eps, x, cols, rows, cols);
}

// Norms, clips and rotates one row of q and k.
void finish_row(const Compute& compute, const ModelSpec& spec, const LayerWeights& weights, int64_t row,
                ActivationBuffers& b) {
  const int64_t q_width = spec.n_heads * spec.head_dim, kv_width = spec.n_kv_heads * spec.head_dim;
  float* const q = b.q + row * q_width;   // [n_heads, head_dim]
  float* const k = b.k + row * kv_width;  // [n_kv_heads, head_dim]
  float* const v = b.v + row * kv_width;  // [n_kv_heads, head_dim]
  if (spec.qk_norm != QkNorm::kNone) {
    norm_heads(compute, spec, q, spec.n_heads, weights.q_norm);
    norm_heads(compute, spec, k, spec.n_kv_heads, weights.k_norm);
  }
  if (spec.clip_qkv > 0) {
    const auto clip = [&](float* x, int64_t n) {
      for (int64_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], -spec.clip_qkv, spec.clip_qkv);
    };
    clip(q, q_width), clip(k, kv_width), clip(v, kv_width);
  }
  const int64_t half = spec.rope.rotary_dim / 2;
  const float* cosines = b.cosines + row * half;
  const float* sines = b.sines + row * half;
  rope(compute, spec.rope.style, q, spec.n_heads, spec.head_dim, spec.rope.rotary_dim, cosines, sines);
  rope(compute, spec.rope.style, k, spec.n_kv_heads, spec.head_dim, spec.rope.rotary_dim, cosines, sines);
}

// Stores the keys and values of the batch in the caches, block by block and head by head: the positions of a
// block share cache lines.
void store_rows(const Compute& compute, const ModelSpec& spec, int64_t layer,
                std::span<const BatchSpan> batch, const ActivationBuffers& b) {
  struct Part {
    SequenceState* sequence;
    int64_t row, position, n;
  };
  std::vector<Part> parts;
  for (const BatchSpan& span : batch) {
    for (int64_t i = 0; i < span.n_tokens;) {
      const int64_t position = span.sequence->n_tokens() + i;
      const int64_t n = std::min(span.n_tokens - i, kKvBlockTokens - position % kKvBlockTokens);
      parts.push_back({span.sequence, span.first_row + i, position, n});
      i += n;
    }
  }
  const auto n_parts = static_cast<int64_t>(parts.size());
  compute.pool->run(n_parts * spec.n_kv_heads, [&](int64_t task, int) {
    const Part& part = parts[static_cast<size_t>(task / spec.n_kv_heads)];
    const int64_t h = task % spec.n_kv_heads, kv_width = spec.n_kv_heads * spec.head_dim;
    const int64_t offset = part.row * kv_width + h * spec.head_dim;
    const KvShape& shape = part.sequence->shape();
    std::byte* const block = part.sequence->block(layer, part.position / kKvBlockTokens);
    const int64_t slot = part.position % kKvBlockTokens;
    store_keys(compute, shape.type, b.k + offset, kv_width, part.n, spec.head_dim, block + shape.k_offset(h),
               slot);
    store_values(compute, shape.type, b.v + offset, kv_width, part.n, spec.head_dim,
                 block + shape.v_offset(h), slot);
  });
}

}  // namespace

void attention_gqa(ExecContext& context, const ModelSpec& spec, int64_t layer, const LayerWeights& weights,
                   std::span<const BatchSpan> batch, ActivationBuffers& b) {
  const Compute& compute = context.compute;
  const int64_t q_width = spec.n_heads * spec.head_dim, kv_width = spec.n_kv_heads * spec.head_dim;
  const int64_t n = b.input.rows();

  const LinearOp qkv[] = {{&weights.q, &b.input, b.q, q_width},
                          {&weights.k, &b.input, b.k, kv_width},
                          {&weights.v, &b.input, b.v, kv_width}};
  linear(context, Operator::kQkv, qkv);

  {
    const ProfileScope scope(*context.profile, Operator::kRope);
    compute.pool->run(n, [&](int64_t row, int) { finish_row(compute, spec, weights, row, b); });
    store_rows(compute, spec, layer, batch, b);
  }

  const int64_t group = spec.n_heads / spec.n_kv_heads;
  const int64_t window = spec.layers[static_cast<size_t>(layer)].window;
  std::vector<AttentionTask> tasks;
  tasks.reserve(batch.size() * static_cast<size_t>(spec.n_kv_heads));
  for (const BatchSpan& span : batch) {
    const KvShape& shape = span.sequence->shape();
    for (int64_t h = 0; h < spec.n_kv_heads; ++h) {
      const int64_t offset = span.first_row * q_width + h * group * spec.head_dim;
      tasks.push_back({.q = b.q + offset,
                       .q_stride = q_width,
                       .n_queries = span.n_tokens,
                       .first_position = span.sequence->n_tokens(),
                       .blocks = span.sequence->blocks(layer),
                       .k_offset = shape.k_offset(h),
                       .v_offset = shape.v_offset(h),
                       .kv_type = shape.type,
                       .group = group,
                       .head_dim = spec.head_dim,
                       .window = window,
                       .scale = 1.0F / std::sqrt(static_cast<float>(spec.head_dim)),
                       .out = b.attended + offset,
                       .out_stride = q_width});
    }
  }
  {
    ProfileScope scope(*context.profile, Operator::kAttention);
    for (const BatchSpan& span : batch) {  // the keys and values that the last query sees
      const int64_t n_keys = span.sequence->n_tokens() + span.n_tokens;
      const auto n_seen = static_cast<uint64_t>(window > 0 ? std::min(window, n_keys) : n_keys);
      scope.add_bytes(n_seen * span.sequence->shape().layer_block_bytes() / kKvBlockTokens);
    }
    attention(compute, tasks, b.attention);
  }

  b.middle.set(b.attended, n, q_width, q_width);
  const LinearOp out[] = {{&weights.o, &b.middle, b.projected, spec.hidden}};
  linear(context, Operator::kAttentionOut, out);
}

}  // namespace sluice
