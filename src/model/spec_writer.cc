#include "model/spec_writer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"
#include "model/rope_table.h"

namespace sluice {
namespace {

const ArchSpec& arch_named(std::string_view name) {
  const auto all = all_archs();
  const auto found =
      std::find_if(all.begin(), all.end(), [name](const ArchSpec* arch) { return arch->name == name; });
  SLUICE_CHECK(found != all.end());
  return **found;
}

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
  throw_error(ErrorKind::kUnsupported, "%s: %s", where.c_str(), what.c_str());
}

// GGUF files give one window for all layers, and the architecture's name stands for its kind of router and
// for experts in every layer.
void check_gguf_can_say(const ArchSpec& arch, const ModelSpec& spec, const std::string& where) {
  for (const LayerSpec& layer : spec.layers) {
    if (layer.window != spec.layers[0].window) refuse(where, "GGUF cannot give layers windows of their own");
    if (spec.is_moe() && layer.ffn == FfnKind::kDense)
      refuse(where, "GGUF has no dense layers among those with experts for " + spec.architecture);
  }
  const bool keeps_weights = arch.name == "olmoe";
  if (spec.is_moe() && keeps_weights != (spec.router == RouterKind::kSoftmaxTopK)) {
    refuse(where, "GGUF has no key for norm_topk_prob, and " + std::string(arch.gguf_arch) +
                      " stands for the other value");
  }
  if (spec.rope.scaling == RopeScaling::kYarn && (spec.rope.attention_factor > 0 || !spec.rope.truncate))
    refuse(where, "GGUF has no keys for this kind of yarn (attention_factor, truncate)");
}

// Factors that llama3 scaling makes, under the parameters that its models have.
bool recognise_llama3(RopeSpec& rope) {
  for (const double factor : {8.0, 32.0, 16.0, 4.0}) {
    RopeSpec guess = rope;
    guess.scaling = RopeScaling::kLlama3;
    guess.factor = factor;
    guess.original_context = 8192;
    guess.low_freq_factor = 1.0;
    guess.high_freq_factor = 4.0;
    const std::vector<float> factors = gguf_rope_factors(guess);
    const bool same = std::equal(factors.begin(), factors.end(), rope.factors.begin(), rope.factors.end(),
                                 [](float a, float b) { return std::abs(a - b) <= 1e-4F * b; });
    if (!same) continue;
    rope = guess;
    return true;
  }
  return false;
}

nlohmann::ordered_json rope_scaling(const ModelSpec& spec, const std::string& where) {
  RopeSpec rope = spec.rope;
  if (rope.scaling == RopeScaling::kFactors && !recognise_llama3(rope))
    refuse(where, "rope_freqs.weight follows no rule that config.json can name");
  switch (rope.scaling) {
    case RopeScaling::kLinear:
      return {{"rope_type", "linear"}, {"factor", rope.factor}};
    case RopeScaling::kLlama3:
      return {{"rope_type", "llama3"},
              {"factor", rope.factor},
              {"low_freq_factor", rope.low_freq_factor},
              {"high_freq_factor", rope.high_freq_factor},
              {"original_max_position_embeddings", rope.original_context}};
    case RopeScaling::kYarn:
      return {{"rope_type", "yarn"},
              {"factor", rope.factor},
              {"original_max_position_embeddings", rope.original_context},
              {"beta_fast", rope.beta_fast},
              {"beta_slow", rope.beta_slow}};
    default:
      return nullptr;
  }
}

// The shortest decimal that is this float: 1e-06, not 9.9999999747524271e-07.
double shortest(float value) {
  return std::strtod(format_string("%.7g", static_cast<double>(value)).c_str(), nullptr);
}

}  // namespace

const ArchSpec& gguf_arch(const ArchSpec& arch) { return arch.gguf_names ? arch : arch_named("llama"); }

const ArchSpec& hf_arch(const ArchSpec& arch, const ModelSpec& spec) {
  if (arch.name != "llama") return arch;
  if (spec.is_moe()) return arch_named("mixtral");
  return spec.layers[0].window > 0 ? arch_named("mistral") : arch;
}

std::vector<float> gguf_rope_factors(const RopeSpec& rope) {
  if (rope.scaling == RopeScaling::kFactors) return rope.factors;
  if (rope.scaling != RopeScaling::kLlama3) return {};
  RopeSpec plain = rope;
  plain.scaling = RopeScaling::kNone;
  const RopeTable scaled(rope), unscaled(plain);
  std::vector<float> factors;
  for (size_t i = 0; i < scaled.frequencies().size(); ++i)
    factors.push_back(static_cast<float>(unscaled.frequencies()[i] / scaled.frequencies()[i]));
  return factors;
}

void write_gguf_spec(GgufWriter& writer, const ArchSpec& arch, const ModelSpec& spec,
                     const std::string& where) {
  check_gguf_can_say(arch, spec, where);
  const std::string prefix = std::string(arch.gguf_arch) + ".";
  const auto integer = [&](const char* key, int64_t value) {
    writer.add(prefix + key, GgufType::kU32, value);
  };
  const auto number = [&](const char* key, double value) { writer.add(prefix + key, GgufType::kF32, value); };
  writer.add("general.architecture", GgufType::kString, std::string(arch.gguf_arch));
  integer("context_length", spec.trained_context);
  integer("embedding_length", spec.hidden);
  integer("block_count", spec.n_layers);
  const bool width_of_experts = spec.is_moe() && (spec.ffn_width == 0 || arch.name != "qwen3_moe");
  integer("feed_forward_length", width_of_experts ? spec.expert_width : spec.ffn_width);
  integer("attention.head_count", spec.n_heads);
  integer("attention.head_count_kv", spec.n_kv_heads);
  integer("attention.key_length", spec.head_dim);
  integer("attention.value_length", spec.head_dim);
  number("attention.layer_norm_rms_epsilon", spec.norm_eps);
  if (spec.layers[0].window > 0) integer("attention.sliding_window", spec.layers[0].window);
  if (spec.clip_qkv > 0) number("attention.clamp_kqv", spec.clip_qkv);
  integer("rope.dimension_count", spec.rope.rotary_dim);
  number("rope.freq_base", spec.rope.theta);
  if (spec.rope.scaling == RopeScaling::kLinear || spec.rope.scaling == RopeScaling::kYarn) {
    const bool yarn = spec.rope.scaling == RopeScaling::kYarn;
    writer.add(prefix + "rope.scaling.type", GgufType::kString, std::string(yarn ? "yarn" : "linear"));
    number("rope.scaling.factor", spec.rope.factor);
    if (yarn) {
      integer("rope.scaling.original_context_length", spec.rope.original_context);
      number("rope.scaling.yarn_beta_fast", spec.rope.beta_fast);
      number("rope.scaling.yarn_beta_slow", spec.rope.beta_slow);
    }
  }
  integer("vocab_size", spec.vocab);
  if (spec.is_moe()) {
    integer("expert_count", spec.n_experts);
    integer("expert_used_count", spec.n_experts_per_token);
    integer("expert_feed_forward_length", spec.expert_width);
  }
}

nlohmann::ordered_json write_hf_config(const ArchSpec& arch, const ModelSpec& spec,
                                       const std::string& where) {
  nlohmann::ordered_json config = {{"architectures", {arch.hf_class}},
                                   {"model_type", arch.name},
                                   {"hidden_size", spec.hidden},
                                   {"num_hidden_layers", spec.n_layers},
                                   {"num_attention_heads", spec.n_heads},
                                   {"num_key_value_heads", spec.n_kv_heads},
                                   {"head_dim", spec.head_dim},
                                   {"vocab_size", spec.vocab},
                                   {"max_position_embeddings", spec.trained_context},
                                   {"rms_norm_eps", shortest(spec.norm_eps)},
                                   {"rope_theta", spec.rope.theta},
                                   {"hidden_act", "silu"},
                                   {"tie_word_embeddings", spec.tied_head}};
  if (auto scaling = rope_scaling(spec, where); !scaling.is_null()) config["rope_scaling"] = scaling;
  const bool width_of_experts = spec.is_moe() && (spec.ffn_width == 0 || arch.name != "qwen3_moe");
  config["intermediate_size"] = width_of_experts ? spec.expert_width : spec.ffn_width;
  if (spec.is_moe()) {
    config[arch.name == "mixtral" ? "num_local_experts" : "num_experts"] = spec.n_experts;
    config["num_experts_per_tok"] = spec.n_experts_per_token;
    if (arch.name == "qwen3_moe") config["moe_intermediate_size"] = spec.expert_width;
    if (arch.name != "mixtral") config["norm_topk_prob"] = spec.router == RouterKind::kSoftmaxTopKNorm;
  }
  if (spec.layers[0].window > 0) {
    config["sliding_window"] = spec.layers[0].window;
    if (arch.name.starts_with("qwen")) {
      config["use_sliding_window"] = true;
      config["max_window_layers"] = 0;
    }
  }
  if (spec.clip_qkv > 0) config["clip_qkv"] = spec.clip_qkv;
  return config;
}

}  // namespace sluice
