#include "model/activation_buffers.h"

#include <algorithm>
#include <array>

#include "base/align.h"

namespace sluice {
namespace {

struct Sizes {
  int64_t q, kv, half, ffn, expert_out, router, middle;  // values per token
};

Sizes sizes_of(const ModelSpec& spec) {
  const int64_t k = spec.n_experts_per_token;
  const int64_t q = spec.n_heads * spec.head_dim;
  const int64_t ffn = std::max(spec.ffn_width, k * spec.expert_width);
  return {.q = q,
          .kv = spec.n_kv_heads * spec.head_dim,
          .half = spec.rope.rotary_dim / 2,
          .ffn = ffn,
          .expert_out = k * spec.hidden,
          .router = spec.n_experts,
          .middle = std::max(q, ffn)};
}

// The buffers in order, floats per token.
std::array<int64_t, 13> widths(const ModelSpec& spec) {
  const Sizes s = sizes_of(spec);
  return {spec.hidden, spec.hidden, s.q,   s.kv,  s.kv,         s.q,     s.half,
          s.half,      spec.hidden, s.ffn, s.ffn, s.expert_out, s.router};
}

uint64_t padded_floats(int64_t width, int64_t max_tokens) {
  return round_up(static_cast<uint64_t>(width * max_tokens), kCacheLineBytes / sizeof(float));
}

int64_t attention_floats(const ModelSpec& spec) {
  return attention_scratch_floats(spec.n_heads, spec.head_dim);
}

uint64_t float_bytes(const ModelSpec& spec, int64_t max_tokens) {
  uint64_t floats = padded_floats(attention_floats(spec), 1);
  for (const int64_t width : widths(spec)) floats += padded_floats(width, max_tokens);
  return floats * sizeof(float);
}

}  // namespace

ActivationBuffers::ActivationBuffers(const ModelSpec& spec, int64_t n)
    : max_tokens(n), memory_(float_bytes(spec, n)) {
  auto* next = reinterpret_cast<float*>(memory_.data());
  const auto sizes = widths(spec);
  float** const buffers[] = {&residual, &normed,    &q,        &k,      &v,          &attended,     &cosines,
                             &sines,    &projected, &ffn_gate, &ffn_up, &expert_out, &router_logits};
  static_assert(std::size(buffers) == sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) {
    *buffers[i] = next;
    next += padded_floats(sizes[i], n);
  }
  attention = {next, static_cast<size_t>(attention_floats(spec))};
  input.reserve(n, spec.hidden);
  middle.reserve(n, sizes_of(spec).middle);
}

uint64_t ActivationBuffers::bytes(const ModelSpec& spec, int64_t n) {
  return float_bytes(spec, n) + Activations::buffer_bytes(n, spec.hidden) +
         Activations::buffer_bytes(n, sizes_of(spec).middle);
}

uint64_t logit_bytes(const ModelSpec& spec, int64_t rows) {
  return round_up(static_cast<uint64_t>(rows * spec.vocab) * sizeof(float), kPageBytes);
}

}  // namespace sluice
