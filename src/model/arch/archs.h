// The architectures, for registry.cc, and the tensor names that they share.
#pragma once

#include "model/arch_spec.h"

namespace sluice {

inline constexpr TensorNames kHfNames = {
    .embedding = "model.embed_tokens",
    .final_norm = "model.norm",
    .head = "lm_head",
    .attention_norm = "model.layers.{l}.input_layernorm",
    .q = "model.layers.{l}.self_attn.q_proj",
    .k = "model.layers.{l}.self_attn.k_proj",
    .v = "model.layers.{l}.self_attn.v_proj",
    .o = "model.layers.{l}.self_attn.o_proj",
    .q_norm = "model.layers.{l}.self_attn.q_norm",
    .k_norm = "model.layers.{l}.self_attn.k_norm",
    .ffn_norm = "model.layers.{l}.post_attention_layernorm",
    .gate = "model.layers.{l}.mlp.gate_proj",
    .up = "model.layers.{l}.mlp.up_proj",
    .down = "model.layers.{l}.mlp.down_proj",
    .router = "model.layers.{l}.mlp.gate",
    .experts_gate = "model.layers.{l}.mlp.switch_mlp.gate_proj",
    .experts_up = "model.layers.{l}.mlp.switch_mlp.up_proj",
    .experts_down = "model.layers.{l}.mlp.switch_mlp.down_proj",
    .expert_gate = "model.layers.{l}.mlp.experts.{e}.gate_proj",
    .expert_up = "model.layers.{l}.mlp.experts.{e}.up_proj",
    .expert_down = "model.layers.{l}.mlp.experts.{e}.down_proj",
};

inline constexpr TensorNames kGgufNames = {
    .embedding = "token_embd",
    .final_norm = "output_norm",
    .head = "output",
    .attention_norm = "blk.{l}.attn_norm",
    .q = "blk.{l}.attn_q",
    .k = "blk.{l}.attn_k",
    .v = "blk.{l}.attn_v",
    .o = "blk.{l}.attn_output",
    .q_norm = "blk.{l}.attn_q_norm",
    .k_norm = "blk.{l}.attn_k_norm",
    .ffn_norm = "blk.{l}.ffn_norm",
    .gate = "blk.{l}.ffn_gate",
    .up = "blk.{l}.ffn_up",
    .down = "blk.{l}.ffn_down",
    .router = "blk.{l}.ffn_gate_inp",
    .experts_gate = "blk.{l}.ffn_gate_exps",
    .experts_up = "blk.{l}.ffn_up_exps",
    .experts_down = "blk.{l}.ffn_down_exps",
    .expert_gate = "blk.{l}.ffn_gate.{e}",
    .expert_up = "blk.{l}.ffn_up.{e}",
    .expert_down = "blk.{l}.ffn_down.{e}",
};

extern const ArchSpec kLlama, kMistral, kQwen2, kQwen3, kQwen3Moe, kMixtral, kOlmoe;

}  // namespace sluice
