// The shape of one model on axes: what decoder.cc switches on. Filled from config.json or GGUF metadata by
// the architecture's file in arch/, checked by bind.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace sluice {

enum class FfnKind : uint8_t { kDense, kMoe };

enum class RouterKind : uint8_t {
  kSoftmaxTopK,      // softmax over all experts, then the best k as they are (OLMoE)
  kSoftmaxTopKNorm,  // the same, renormalised to sum 1 (Qwen3-MoE); equal to a softmax over the best k
                     // (Mixtral)
};

enum class QkNorm : uint8_t {
  kNone,
  kPerHead,  // RMS norm over each head (Qwen3)
  kFull,     // RMS norm over all heads side by side (OLMoE)
};

enum class RopeScaling : uint8_t { kNone, kLinear, kLlama3, kYarn, kFactors };

struct RopeSpec {
  RopeStyle style = RopeStyle::kHalves;
  double theta = 10000.0;
  int64_t rotary_dim = 0;  // head_dim unless partial
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  int64_t original_context = 0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0, beta_slow = 1.0;              // yarn
  double attention_factor = 0.0;                         // yarn; 0: 0.1 ln(factor) + 1
  bool truncate = true;                                  // yarn: whole-number correction range
  std::vector<float> factors;  // kFactors: divisors of the frequencies (GGUF rope_freqs)
};

struct LayerSpec {
  FfnKind ffn = FfnKind::kDense;
  int64_t window = 0;  // sliding attention window in tokens; 0: all
};

struct ModelSpec {
  std::string architecture;  // "qwen3_moe"
  int64_t n_layers = 0;
  int64_t hidden = 0;
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t ffn_width = 0;  // of dense layers
  int64_t vocab = 0;
  int64_t trained_context = 0;
  float norm_eps = 1e-5F;
  bool tied_head = false;

  bool qkv_bias = false;
  bool o_bias = false;
  bool ffn_bias = false;
  QkNorm qk_norm = QkNorm::kNone;
  float clip_qkv = 0;  // clamp q, k and v to ±this; 0: off (OLMoE)

  int64_t n_experts = 0;
  int64_t n_experts_per_token = 0;
  int64_t expert_width = 0;
  RouterKind router = RouterKind::kSoftmaxTopKNorm;

  RopeSpec rope;
  std::vector<LayerSpec> layers;  // [n_layers]

  bool is_moe() const noexcept { return n_experts > 0; }
};

}  // namespace sluice
