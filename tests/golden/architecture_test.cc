// Every architecture of both file families against a forward pass written independently of the engine
// (reference_forward.h), on tiny forged checkpoints whose norms and biases vary.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "forge/forge.h"
#include "tests/golden/model_runner.h"
#include "tests/golden/reference_forward.h"
#include "tests/scratch.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr int64_t kTokens = 40;
constexpr double kTolerance = 1e-4;  // of the largest logit

struct Case {
  const char* name;
  const char* config;                    // what differs from the common config below
  std::vector<const char*> encodings;    // forged in whichever family stores them
  bool hf_only = false;                  // GGUF cannot say it
  std::vector<const char*> matter = {};  // keys without which the logits must be others
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

ordered_json config_of(const Case& c) {
  ordered_json config = ordered_json::parse(R"({"hidden_size": 64, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 384,
    "tie_word_embeddings": false, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "max_position_embeddings": 512})");
  config.update(ordered_json::parse(c.config));
  return config;
}

const Case kCases[] = {
    {"llama",
     R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama"})",
     {"f32", "q8_0", "q4_0", "affine4"},
     false,
     {"rope_theta"}},
    {"llama_tied",
     R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": true,
       "num_key_value_heads": 1})",
     {"f32", "q8_0", "affine8"},
     false,
     {}},
    {"llama3",
     R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "head_dim": 32, "rope_scaling":
       {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}})",
     {"f32"},
     false,
     {"rope_scaling"}},
    {"linear",
     R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
       "rope_scaling": {"type": "linear", "factor": 4.0}})",
     {"f32"},
     false,
     {"rope_scaling"}},
    {"yarn",
     R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "head_dim": 32, "rope_scaling":
       {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}})",
     {"f32"},
     false,
     {"rope_scaling"}},
    {"yarn_told",
     R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "head_dim": 32,
       "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128,
       "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.25}})",
     {"f32"},
     true,
     {"rope_scaling"}},
    {"mistral",
     R"({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 11})",
     {"f32", "q8_0"},
     false,
     {"sliding_window"}},
    {"qwen2",
     R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "tie_word_embeddings": true,
       "sliding_window": 8, "use_sliding_window": false, "max_window_layers": 1})",
     {"f32", "q8_0", "affine4"},
     false,
     {}},
    {"qwen2_default_window",
     R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
       "sliding_window": 8, "max_window_layers": 1})",
     {"f32"},
     true,
     {}},
    {"qwen2_window",
     R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
       "sliding_window": 8, "use_sliding_window": true, "max_window_layers": 1})",
     {"f32"},
     true,
     {"use_sliding_window", "max_window_layers"}},
    {"qwen3",
     R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 32,
       "rope_theta": 1000000.0})",
     {"f32", "q8_0", "affine4"},
     false,
     {}},
    {"qwen3_moe",
     R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "head_dim": 32,
       "moe_intermediate_size": 32, "num_experts": 12, "num_experts_per_tok": 3, "norm_topk_prob": true})",
     {"f32", "q8_0"},
     false,
     {"norm_topk_prob"}},
    {"qwen3_moe_affine",
     R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
       "head_dim": 32, "moe_intermediate_size": 64, "num_experts": 12, "num_experts_per_tok": 3,
       "norm_topk_prob": true})",
     {"affine4"},
     true,
     {}},
    {"qwen3_moe_dense_layers",
     R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
       "head_dim": 16, "moe_intermediate_size": 32, "num_experts": 12, "num_experts_per_tok": 3,
       "num_hidden_layers": 4, "mlp_only_layers": [1], "decoder_sparse_step": 2, "norm_topk_prob": false})",
     {"f32"},
     true,
     {}},
    {"mixtral",
     R"({"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": 6,
       "num_experts_per_tok": 2, "sliding_window": null})",
     {"f32", "q8_0", "affine4"},
     false,
     {}},
    {"olmoe",
     R"({"architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "num_experts": 10,
       "num_experts_per_tok": 4, "norm_topk_prob": false, "num_key_value_heads": 4})",
     {"f32", "q8_0"},
     false,
     {}},
    {"olmoe_clip",
     R"({"architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "num_experts": 10,
       "num_experts_per_tok": 4, "norm_topk_prob": true, "clip_qkv": 0.9})",
     {"f32"},
     true,
     {"clip_qkv", "norm_topk_prob"}},
};

class Architecture : public testing::TestWithParam<Case> {
 protected:
  Architecture() {
    shape_ = directory_ / "shape.json";
    write(shape_, config_of(GetParam()));
    std::mt19937 random(11);
    for (int64_t i = 0; i < kTokens; ++i) tokens_.push_back(static_cast<int32_t>(random() % 384));
  }

  static void write(const fs::path& path, const ordered_json& json) { std::ofstream(path) << json; }

  std::string forged(const std::string& encoding, CheckpointFamily family) const {
    const bool gguf = family == CheckpointFamily::kGguf;
    const std::string out = directory_ / (encoding + (gguf ? ".gguf" : ""));
    forge({.shape = shape_,
           .encoding = encoding_from_name(encoding),
           .group = 32,
           .family = family,
           .seed = 3,
           .varied = true,
           .out = out});
    return out;
  }

  void expect_same(const std::string& path) const {
    const std::vector<double> expected = reference_forward(path, tokens_).logits;
    ModelRunner runner(path, {.n_threads = 2, .chunk = 16});
    const std::vector<float> logits = runner.all_logits(tokens_);
    ASSERT_EQ(logits.size(), expected.size());
    EXPECT_LE(relative_difference({logits.begin(), logits.end()}, expected), kTolerance) << path;

    // Greedy, the reference's way: the best of all logits, appended.
    std::vector<int32_t> ids(tokens_.begin(), tokens_.begin() + 5);
    for (int i = 0; i < 4; ++i) {
      const ReferenceResult result = reference_forward(path, ids);
      const auto last = result.logits.end() - result.vocab;
      ids.push_back(static_cast<int32_t>(std::max_element(last, result.logits.end()) - last));
    }
    EXPECT_EQ(runner.greedy({ids.begin(), ids.begin() + 5}, 4), ids) << path;
  }

  static double relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
    double worst = 0, largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const double difference = std::abs(a[i] - b[i]);
      if (!(difference <= worst)) worst = difference;
      largest = std::max(largest, std::abs(b[i]));
    }
    return worst / largest;
  }

  Scratch directory_;
  std::string shape_;
  std::vector<int32_t> tokens_;
};

TEST_P(Architecture, HuggingFaceLikeTheReference) {
  for (const char* name : GetParam().encodings) {
    if (encoding_info(encoding_from_name(name)).family == Family::kBlock) continue;
    expect_same(forged(name, CheckpointFamily::kHuggingFace));
  }
}

TEST_P(Architecture, GgufLikeTheReference) {
  if (GetParam().hf_only) GTEST_SKIP() << "skipped: GGUF files cannot say this";
  for (const char* name : GetParam().encodings) {
    if (encoding_info(encoding_from_name(name)).family == Family::kAffine) continue;
    expect_same(forged(name, CheckpointFamily::kGguf));
  }
}

// What a case is there for shows in its logits: without the key they are others, by far more than the
// tolerance.
TEST_P(Architecture, ItsKeysMatter) {
  const std::string path = forged("f32", CheckpointFamily::kHuggingFace);
  const std::vector<double> expected = reference_forward(path, tokens_).logits;
  for (const std::string key : GetParam().matter) {
    ordered_json config = config_of(GetParam());
    if (key == "rope_theta") {
      config[key] = 500000.0;  // it has no default that all readers share
    } else {
      config.erase(key);
    }
    write(fs::path(path) / "config.json", config);
    EXPECT_GT(relative_difference(reference_forward(path, tokens_).logits, expected), 100 * kTolerance)
        << key;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Architecture, testing::ValuesIn(kCases),
                         [](const testing::TestParamInfo<Case>& tested) {
                           return std::string(tested.param.name);
                         });

}  // namespace
}  // namespace sluice::test
