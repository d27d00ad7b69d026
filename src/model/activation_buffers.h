// The scratch of a forward pass, allocated once for the largest batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "model/model_spec.h"
#include "platform/memory_info.h"

namespace sluice {

// n is the number of token rows of a batch, k the experts per token.
struct ActivationBuffers {
  ActivationBuffers(const ModelSpec& spec, int64_t max_tokens);
  static uint64_t bytes(const ModelSpec& spec, int64_t max_tokens);  // what the constructor allocates

  int64_t max_tokens;
  float* residual;       // [n, hidden]            the stream that layers add to
  float* normed;         // [n, hidden]
  float* q;              // [n, n_heads * head_dim]
  float* k;              // [n, n_kv_heads * head_dim]
  float* v;              // [n, n_kv_heads * head_dim]
  float* attended;       // [n, n_heads * head_dim]
  float* cosines;        // [n, rotary_dim / 2]
  float* sines;          // [n, rotary_dim / 2]
  float* projected;      // [n, hidden]            what a block adds to the residual
  float* ffn_gate;       // [n, ffn_width], or [n * k, expert_width]
  float* ffn_up;         // the same
  float* expert_out;     // [n * k, hidden]
  float* router_logits;  // [n, n_experts]

  std::span<float> attention;  // what attention() asks for

  Activations input;   // of q/k/v, gate/up, router, head
  Activations middle;  // of o and down

 private:
  PageBuffer memory_;
};

// What logits [rows, vocab] take, in whole pages.
uint64_t logit_bytes(const ModelSpec& spec, int64_t rows);

}  // namespace sluice
