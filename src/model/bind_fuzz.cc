// Any hyperparameters over fixed tables of tiny tensors, in both file families. The input is lines: the first
// byte of each names a key, the rest is its value as JSON (or as text, if it is not JSON); the very first
// byte picks the table. What binds must also run, within the scratch that it states.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "model/model.h"
#include "model/sequence_state.h"
#include "sluice/error.h"

using namespace sluice;
using nlohmann::ordered_json;

namespace {

constexpr uint64_t kHidden = 8, kKv = 4, kFfn = 6, kExperts = 3, kVocab = 5;

const char* const kHfKeys[] = {"architectures",
                               "model_type",
                               "num_hidden_layers",
                               "hidden_size",
                               "num_attention_heads",
                               "num_key_value_heads",
                               "head_dim",
                               "intermediate_size",
                               "moe_intermediate_size",
                               "vocab_size",
                               "max_position_embeddings",
                               "rms_norm_eps",
                               "rope_theta",
                               "tie_word_embeddings",
                               "hidden_act",
                               "num_experts",
                               "num_local_experts",
                               "num_experts_per_tok",
                               "norm_topk_prob",
                               "decoder_sparse_step",
                               "mlp_only_layers",
                               "sliding_window",
                               "use_sliding_window",
                               "max_window_layers",
                               "layer_types",
                               "clip_qkv",
                               "partial_rotary_factor",
                               "quantization",
                               "rope_parameters",
                               "rope_scaling",
                               "rope_scaling/rope_type",
                               "rope_scaling/type",
                               "rope_scaling/factor",
                               "rope_scaling/original_max_position_embeddings",
                               "rope_scaling/low_freq_factor",
                               "rope_scaling/high_freq_factor",
                               "rope_scaling/beta_fast",
                               "rope_scaling/beta_slow",
                               "rope_scaling/attention_factor",
                               "rope_scaling/truncate"};

const char* const kGgufKeys[] = {"block_count",
                                 "embedding_length",
                                 "attention.head_count",
                                 "attention.head_count_kv",
                                 "attention.key_length",
                                 "feed_forward_length",
                                 "expert_feed_forward_length",
                                 "context_length",
                                 "attention.layer_norm_rms_epsilon",
                                 "rope.freq_base",
                                 "rope.dimension_count",
                                 "expert_count",
                                 "expert_used_count",
                                 "attention.sliding_window",
                                 "attention.clamp_kqv",
                                 "rope.scaling.type",
                                 "rope.scaling.factor",
                                 "rope.scaling.original_context_length",
                                 "rope.scaling.yarn_beta_fast",
                                 "rope.scaling.yarn_beta_slow"};

struct Table {
  bool gguf;
  const char* arch;  // model_type; in GGUF files general.architecture
  const char* hf_class;
  uint64_t q_norm;  // width of the norms of q and k; 0: none
  bool bias;
  bool moe;
};

constexpr Table kTables[] = {
    {false, "llama", "LlamaForCausalLM", 0, false, false},
    {false, "mistral", "MistralForCausalLM", 0, true, false},
    {false, "qwen2", "Qwen2ForCausalLM", 0, true, false},
    {false, "qwen3", "Qwen3ForCausalLM", 4, false, false},
    {false, "qwen3_moe", "Qwen3MoeForCausalLM", 4, false, true},
    {false, "mixtral", "MixtralForCausalLM", 0, false, true},
    {false, "olmoe", "OlmoeForCausalLM", 8, false, true},
    {true, "llama", "", 0, false, false},
    {true, "llama", "", 0, false, true},
    {true, "qwen2", "", 0, true, false},
    {true, "qwen3moe", "", 4, false, true},
    {true, "olmoe", "", 8, false, true},
};

struct Shape {
  std::string name;
  std::vector<uint64_t> dims;
};

// Of one layer.
std::vector<Shape> tensors_of(const Table& table) {
  const bool gguf = table.gguf;
  const std::string layer = gguf ? "blk.0." : "model.layers.0.";
  std::vector<Shape> list;
  const auto add = [&](const char* hf, const char* in_gguf, std::vector<uint64_t> dims) {
    list.push_back({layer + (gguf ? in_gguf : hf), std::move(dims)});
  };
  list.push_back({gguf ? "token_embd.weight" : "model.embed_tokens.weight", {kVocab, kHidden}});
  list.push_back({gguf ? "output_norm.weight" : "model.norm.weight", {kHidden}});
  list.push_back({gguf ? "output.weight" : "lm_head.weight", {kVocab, kHidden}});
  add("input_layernorm.weight", "attn_norm.weight", {kHidden});
  add("post_attention_layernorm.weight", "ffn_norm.weight", {kHidden});
  add("self_attn.q_proj.weight", "attn_q.weight", {kHidden, kHidden});
  add("self_attn.k_proj.weight", "attn_k.weight", {kKv, kHidden});
  add("self_attn.v_proj.weight", "attn_v.weight", {kKv, kHidden});
  add("self_attn.o_proj.weight", "attn_output.weight", {kHidden, kHidden});
  if (table.bias) {
    add("self_attn.q_proj.bias", "attn_q.bias", {kHidden});
    add("self_attn.k_proj.bias", "attn_k.bias", {kKv});
    add("self_attn.v_proj.bias", "attn_v.bias", {kKv});
  }
  if (table.q_norm > 0) {
    add("self_attn.q_norm.weight", "attn_q_norm.weight", {table.q_norm});
    add("self_attn.k_norm.weight", "attn_k_norm.weight", {std::min(table.q_norm, kKv)});
  }
  if (!table.moe) {
    add("mlp.gate_proj.weight", "ffn_gate.weight", {kFfn, kHidden});
    add("mlp.up_proj.weight", "ffn_up.weight", {kFfn, kHidden});
    add("mlp.down_proj.weight", "ffn_down.weight", {kHidden, kFfn});
  } else if (gguf) {
    add("", "ffn_gate_inp.weight", {kExperts, kHidden});
    add("", "ffn_gate_exps.weight", {kExperts, kFfn, kHidden});
    add("", "ffn_up_exps.weight", {kExperts, kFfn, kHidden});
    add("", "ffn_down_exps.weight", {kExperts, kHidden, kFfn});
  } else {
    const bool mixtral = std::string_view(table.arch) == "mixtral";
    const std::string block = mixtral ? "block_sparse_moe." : "mlp.";
    add((block + "gate.weight").c_str(), "", {kExperts, kHidden});
    for (uint64_t e = 0; e < kExperts; ++e) {
      const std::string expert = block + "experts." + std::to_string(e) + ".";
      add((expert + (mixtral ? "w1.weight" : "gate_proj.weight")).c_str(), "", {kFfn, kHidden});
      add((expert + (mixtral ? "w3.weight" : "up_proj.weight")).c_str(), "", {kFfn, kHidden});
      add((expert + (mixtral ? "w2.weight" : "down_proj.weight")).c_str(), "", {kHidden, kFfn});
    }
  }
  return list;
}

// Works with both writers.
template <typename Writer>
void write_values(Writer& writer, const std::vector<Shape>& tensors) {
  writer.begin_data();
  for (const Shape& tensor : tensors) {
    uint64_t n = 1;
    for (const uint64_t d : tensor.dims) n *= d;
    std::vector<float> values(n);
    for (size_t i = 0; i < values.size(); ++i) values[i] = 0.1F * static_cast<float>(i % 7) - 0.25F;
    writer.write(std::as_bytes(std::span<const float>(values)));
  }
  writer.commit();
}

using Fields = std::vector<std::pair<std::string_view, ordered_json>>;  // behind the right ones, or over them

class Directory {
 public:
  Directory() : path_("/dev/shm/sluice_bind_fuzz_" + std::to_string(::getpid())) {
    std::filesystem::create_directory(path_);
    for (const Table& table : kTables) {
      if (!table.gguf) write_hf(table);
    }
  }
  ~Directory() { std::filesystem::remove_all(path_); }

  std::string checkpoint(const Table& table, const Fields& fields) const {
    return table.gguf ? write_gguf(table, fields) : write_config(table, fields);
  }

 private:
  void write_hf(const Table& table) const {
    std::filesystem::create_directory(path_ / table.arch);
    SafetensorsWriter writer((path_ / table.arch / "model.safetensors").string(), "pt");
    const auto tensors = tensors_of(table);
    for (const Shape& tensor : tensors) writer.declare_tensor(tensor.name, "F32", tensor.dims);
    write_values(writer, tensors);
  }

  std::string write_config(const Table& table, const Fields& fields) const {
    ordered_json config = {
        {"architectures", {table.hf_class}}, {"num_hidden_layers", 1},        {"hidden_size", kHidden},
        {"num_attention_heads", 2},          {"num_key_value_heads", 1},      {"head_dim", 4},
        {"intermediate_size", kFfn},         {"moe_intermediate_size", kFfn}, {"vocab_size", kVocab},
        {"max_position_embeddings", 64},     {"num_experts", kExperts},       {"num_experts_per_tok", 2}};
    if (std::string_view(table.arch) == "mixtral") config["num_local_experts"] = kExperts;
    for (const auto& [key, value] : fields) {
      const size_t slash = key.find('/');
      if (slash == std::string_view::npos) {
        config[std::string(key)] = value;
      } else {
        ordered_json& outer = config[std::string(key.substr(0, slash))];
        if (!outer.is_object()) outer = ordered_json::object();
        outer[std::string(key.substr(slash + 1))] = value;
      }
    }
    std::ofstream(path_ / table.arch / "config.json")
        << config.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
    return (path_ / table.arch).string();
  }

  std::string write_gguf(const Table& table, const Fields& fields) const {
    const std::string path = (path_ / "model.gguf").string();
    const std::string prefix = std::string(table.arch) + ".";
    std::vector<std::pair<std::string, ordered_json>> values = {
        {"block_count", 1},          {"embedding_length", kHidden},
        {"attention.head_count", 2}, {"attention.head_count_kv", 1},
        {"attention.key_length", 4}, {"feed_forward_length", kFfn},
        {"context_length", 64},      {"expert_feed_forward_length", kFfn},
        {"expert_used_count", 2},    {"expert_count", table.moe ? kExperts : 0}};
    for (const auto& [key, value] : fields) {
      auto it = values.begin();
      while (it != values.end() && it->first != key) ++it;
      if (it == values.end()) it = values.insert(it, {std::string(key), {}});
      it->second = value;
    }
    GgufWriter writer(path);
    writer.add("general.architecture", GgufType::kString, std::string(table.arch));
    for (const auto& [key, value] : values) {
      if (value.is_boolean()) {
        writer.add(prefix + key, GgufType::kBool, value.get<bool>());
      } else if (value.is_number_integer()) {
        writer.add(prefix + key, GgufType::kI64, value.get<int64_t>());
      } else if (value.is_number()) {
        writer.add(prefix + key, GgufType::kF64, value.get<double>());
      } else {
        writer.add(prefix + key, GgufType::kString,
                   value.is_string() ? value.get<std::string>() : std::string("?"));
      }
    }
    const auto tensors = tensors_of(table);
    for (const Shape& tensor : tensors) writer.declare_tensor(tensor.name, Encoding::kF32, tensor.dims);
    write_values(writer, tensors);
    return path;
  }

  std::filesystem::path path_;
};

Fields read_fields(const Table& table, std::string_view text) {
  const std::span<const char* const> keys =
      table.gguf ? std::span<const char* const>(kGgufKeys) : std::span<const char* const>(kHfKeys);
  Fields fields;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty()) continue;
    ordered_json value = ordered_json::parse(line.substr(1), nullptr, false);
    if (value.is_discarded()) value = std::string(line.substr(1));
    fields.emplace_back(keys[static_cast<uint8_t>(line[0]) % keys.size()], std::move(value));
  }
  return fields;
}

void run(const std::string& path) {
  static ThreadPool pool(1);
  MemoryBudget budget(uint64_t{64} << 20);
  ModelOptions options;
  options.compute = {&kernel_table(), &pool, true};
  options.max_batch_tokens = 8;
  Model model(Checkpoint::open(path), options);
  model.load(model.needs().weights.all, budget);
  const auto sequence = model.new_sequence();
  const int32_t tokens[] = {0, 1, 2};
  const BatchItem batch[] = {{sequence.get(), tokens, LogitsWanted::kAll}};
  SLUICE_CHECK(model.forward(batch).size() == 3 * kVocab);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Directory directory;
  if (size == 0) return 0;
  const Table& table = kTables[data[0] % std::size(kTables)];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string path = directory.checkpoint(table, read_fields(table, text));
  // With every field as it should be, each table is a model.
  const bool right = text.empty();
  try {
    run(path);
  } catch (const Error& e) {
    SLUICE_CHECK(!right, "%s", e.what());
  }
  return 0;
}
