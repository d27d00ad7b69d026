// The preset shapes, as the config.json of the models that they stand for.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "forge/forge.h"
#include "platform/file.h"

namespace sluice {
namespace {

struct Preset {
  const char* name;
  const char* config;
};

constexpr Preset kPresets[] = {
    // Llama-3.2-1B
    {"llama-1b", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048,
      "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
      "intermediate_size": 8192, "vocab_size": 128256, "tie_word_embeddings": true, "rope_theta": 500000.0,
      "rms_norm_eps": 1e-5, "max_position_embeddings": 131072})"},
    // Mistral-7B
    {"dense-7b", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
      "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
      "intermediate_size": 14336, "vocab_size": 32000, "tie_word_embeddings": false, "rope_theta": 10000.0,
      "rms_norm_eps": 1e-5, "max_position_embeddings": 32768})"},
    // A small Qwen3-MoE
    {"moe-small",
     R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 1024,
      "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 128,
      "intermediate_size": 3072, "moe_intermediate_size": 512, "num_experts": 128, "num_experts_per_tok": 8,
      "norm_topk_prob": true, "vocab_size": 32000, "tie_word_embeddings": false, "rope_theta": 1000000.0,
      "rms_norm_eps": 1e-6, "max_position_embeddings": 32768})"},
    // Half the layers of Qwen3-30B-A3B
    {"moe-8g", R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048,
      "num_hidden_layers": 24, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
      "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
      "norm_topk_prob": true, "vocab_size": 32000, "tie_word_embeddings": false, "rope_theta": 1000000.0,
      "rms_norm_eps": 1e-6, "max_position_embeddings": 32768})"},
    // For tests: a few megabytes
    {"llama-tiny", R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256,
      "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
      "intermediate_size": 768, "vocab_size": 1024, "tie_word_embeddings": false, "rope_theta": 10000.0,
      "rms_norm_eps": 1e-5, "max_position_embeddings": 2048})"},
    {"moe-tiny", R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 256,
      "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
      "intermediate_size": 512, "moe_intermediate_size": 256, "num_experts": 16, "num_experts_per_tok": 4,
      "norm_topk_prob": true, "vocab_size": 1024, "tie_word_embeddings": false, "rope_theta": 1000000.0,
      "rms_norm_eps": 1e-6, "max_position_embeddings": 2048})"},
};

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;

}  // namespace

nlohmann::ordered_json forge_config(const std::string& shape) {
  std::string names;
  for (const Preset& preset : kPresets) {
    if (shape == preset.name) return nlohmann::ordered_json::parse(preset.config);
    names += std::string(names.empty() ? "" : ", ") + preset.name;
  }
  if (!std::filesystem::is_regular_file(shape)) {
    throw_error(ErrorKind::kInvalid, "--shape: '%s' is neither a config.json nor one of %s",
                printable(shape).c_str(), names.c_str());
  }
  auto config = nlohmann::ordered_json::parse(read_text_file(shape, kMaxConfigBytes), nullptr, false);
  if (!config.is_object()) {
    throw_error(ErrorKind::kCorrupt, "%s: not a JSON object", shape.c_str());
  }
  return config;
}

}  // namespace sluice
