#include "model/config_reader.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/gguf.h"
#include "kernels/kernels.h"

namespace sluice {
namespace {

constexpr int64_t kMaxInteger = (int64_t{1} << 31) - 1;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxWidth = int64_t{1} << 20;
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxExperts = 4096;

[[noreturn]] void wrong_type(const ConfigReader& config, std::string_view key, const char* wanted) {
  throw_error(ErrorKind::kCorrupt, "%sfield '%s' is not %s", config.where().c_str(), printable(key).c_str(),
              wanted);
}

void read_rope(const ConfigReader& config, ModelSpec& spec) {
  RopeSpec& rope = spec.rope;
  rope.style = RopeStyle::kHalves;
  rope.theta = config.number({"rope_theta", "rope.freq_base"})
                   .value_or(config.number({"rope_parameters.rope_theta", ""}).value_or(10000.0));
  rope.rotary_dim = spec.head_dim;
  if (const auto dim = config.integer({"", "rope.dimension_count"})) rope.rotary_dim = *dim;
  if (const auto part = config.number({"partial_rotary_factor", ""})) {
    rope.rotary_dim = static_cast<int64_t>(static_cast<double>(spec.head_dim) * *part);
  }
  if (!(rope.theta > 0) || rope.rotary_dim < 2 || rope.rotary_dim > spec.head_dim ||
      rope.rotary_dim % 2 != 0) {
    throw_error(ErrorKind::kCorrupt, "%sRoPE of %lld of %lld dimensions at base %g makes no sense",
                config.where().c_str(), static_cast<long long>(rope.rotary_dim),
                static_cast<long long>(spec.head_dim), rope.theta);
  }

  // config.json spells the kind "rope_type" or, of old, "type"; newer files say rope_parameters for
  // rope_scaling.
  std::optional<std::string> kind = config.text({"rope_scaling.rope_type", "rope.scaling.type"});
  std::string object = "rope_scaling";
  if (!kind) kind = config.text({"rope_scaling.type", ""});
  if (!kind && (kind = config.text({"rope_parameters.rope_type", ""}))) object = "rope_parameters";
  if (!kind || *kind == "none" || *kind == "default") return;

  const auto number = [&](std::string_view hf, std::string_view gguf, double otherwise) {
    return config.number({object + "." + std::string(hf), gguf}).value_or(otherwise);
  };
  if (*kind == "linear") {
    rope.scaling = RopeScaling::kLinear;
  } else if (*kind == "llama3") {
    rope.scaling = RopeScaling::kLlama3;
  } else if (*kind == "yarn") {
    rope.scaling = RopeScaling::kYarn;
  } else {
    throw_error(ErrorKind::kUnsupported,
                "%sRoPE scaling '%s' is not supported; known are linear, llama3 and yarn",
                config.where().c_str(), printable(*kind).c_str());
  }
  rope.factor = number("factor", "rope.scaling.factor", 1.0);
  rope.original_context =
      static_cast<int64_t>(number("original_max_position_embeddings", "rope.scaling.original_context_length",
                                  static_cast<double>(spec.trained_context)));
  rope.low_freq_factor = number("low_freq_factor", "", 1.0);
  rope.high_freq_factor = number("high_freq_factor", "", 4.0);
  rope.beta_fast = number("beta_fast", "rope.scaling.yarn_beta_fast", 32.0);
  rope.beta_slow = number("beta_slow", "rope.scaling.yarn_beta_slow", 1.0);
  rope.attention_factor = number("attention_factor", "", 0.0);
  rope.truncate = config.boolean({object + ".truncate", ""}).value_or(true);
  if (!(rope.factor >= 1.0) || !std::isfinite(rope.factor) || rope.original_context < 1 ||
      !(rope.high_freq_factor > rope.low_freq_factor)) {
    throw_error(ErrorKind::kCorrupt, "%sRoPE scaling '%s' has factor %g over %lld positions",
                config.where().c_str(), kind->c_str(), rope.factor,
                static_cast<long long>(rope.original_context));
  }
}

}  // namespace

ConfigReader::ConfigReader(const Checkpoint& checkpoint, std::string gguf_prefix)
    : checkpoint_(checkpoint),
      gguf_(checkpoint.family() == CheckpointFamily::kGguf),
      prefix_(std::move(gguf_prefix)) {}

std::string ConfigReader::where() const { return checkpoint_.path() + (gguf_ ? ": " : "/config.json: "); }

std::string ConfigReader::gguf_key(ConfigKey key) const { return prefix_ + "." + std::string(key.gguf); }

const nlohmann::ordered_json* ConfigReader::find_hf(std::string_view key) const {
  const nlohmann::ordered_json* node = &checkpoint_.config();
  while (!key.empty()) {
    if (!node->is_object()) return nullptr;
    const size_t dot = key.find('.');
    const auto it = node->find(std::string(key.substr(0, dot)));
    if (it == node->end() || it->is_null()) return nullptr;
    node = &*it;
    key = dot == std::string_view::npos ? std::string_view() : key.substr(dot + 1);
  }
  return node;
}

std::optional<int64_t> ConfigReader::integer(ConfigKey key) const {
  std::optional<int64_t> value;
  if (gguf_) {
    if (!key.gguf.empty()) value = checkpoint_.metadata().integer(gguf_key(key));
  } else if (const auto* node = key.hf.empty() ? nullptr : find_hf(key.hf)) {
    if (node->is_number_unsigned()) {
      value = static_cast<int64_t>(std::min<uint64_t>(node->get<uint64_t>(), uint64_t{1} << 62));
    } else if (node->is_number_integer()) {
      value = node->get<int64_t>();
    } else {
      wrong_type(*this, key.hf, "an integer");
    }
  }
  if (value && (*value < 0 || *value > kMaxInteger)) {
    throw_error(ErrorKind::kCorrupt, "%sfield '%s' is %lld, which is out of range", where().c_str(),
                std::string(gguf_ ? key.gguf : key.hf).c_str(), static_cast<long long>(*value));
  }
  return value;
}

std::optional<double> ConfigReader::number(ConfigKey key) const {
  if (gguf_) {
    return key.gguf.empty() ? std::nullopt : checkpoint_.metadata().number(gguf_key(key));
  }
  const auto* node = key.hf.empty() ? nullptr : find_hf(key.hf);
  if (!node) return std::nullopt;
  if (!node->is_number()) wrong_type(*this, key.hf, "a number");
  return node->get<double>();
}

std::optional<bool> ConfigReader::boolean(ConfigKey key) const {
  if (gguf_) {
    return key.gguf.empty() ? std::nullopt : checkpoint_.metadata().boolean(gguf_key(key));
  }
  const auto* node = key.hf.empty() ? nullptr : find_hf(key.hf);
  if (!node) return std::nullopt;
  if (!node->is_boolean()) wrong_type(*this, key.hf, "true or false");
  return node->get<bool>();
}

std::optional<std::string> ConfigReader::text(ConfigKey key) const {
  if (gguf_) {
    const std::string* value = key.gguf.empty() ? nullptr : checkpoint_.metadata().string(gguf_key(key));
    return value ? std::optional(*value) : std::nullopt;
  }
  const auto* node = key.hf.empty() ? nullptr : find_hf(key.hf);
  if (!node) return std::nullopt;
  if (!node->is_string()) wrong_type(*this, key.hf, "a string");
  return node->get<std::string>();
}

std::optional<std::vector<int64_t>> ConfigReader::integers(ConfigKey key) const {
  if (gguf_) {
    const auto* values = key.gguf.empty() ? nullptr : checkpoint_.metadata().integers(gguf_key(key));
    return values ? std::optional(*values) : std::nullopt;
  }
  const auto* node = key.hf.empty() ? nullptr : find_hf(key.hf);
  if (!node) return std::nullopt;
  if (!node->is_array()) wrong_type(*this, key.hf, "a list of integers");
  std::vector<int64_t> values;
  for (const auto& element : *node) {
    if (!element.is_number_integer()) wrong_type(*this, key.hf, "a list of integers");
    values.push_back(element.get<int64_t>());
  }
  return values;
}

std::optional<std::vector<std::string>> ConfigReader::texts(ConfigKey key) const {
  if (gguf_) {
    const auto* values = key.gguf.empty() ? nullptr : checkpoint_.metadata().strings(gguf_key(key));
    return values ? std::optional(*values) : std::nullopt;
  }
  const auto* node = key.hf.empty() ? nullptr : find_hf(key.hf);
  if (!node) return std::nullopt;
  if (!node->is_array()) wrong_type(*this, key.hf, "a list of strings");
  std::vector<std::string> values;
  for (const auto& element : *node) {
    if (!element.is_string()) wrong_type(*this, key.hf, "a list of strings");
    values.push_back(element.get<std::string>());
  }
  return values;
}

int64_t ConfigReader::size(ConfigKey key, int64_t max) const {
  const auto value = integer(key);
  const std::string name = gguf_ ? gguf_key(key) : std::string(key.hf);
  if (!value) {
    throw_error(ErrorKind::kCorrupt, "%sfield '%s' is missing", where().c_str(), name.c_str());
  }
  if (*value < 1 || *value > max) {
    throw_error(ErrorKind::kCorrupt, "%sfield '%s' is %lld; between 1 and %lld was expected", where().c_str(),
                name.c_str(), static_cast<long long>(*value), static_cast<long long>(max));
  }
  return *value;
}

void read_common(const ConfigReader& config, ModelSpec& spec) {
  spec.n_layers = config.size({"num_hidden_layers", "block_count"}, kMaxLayers);
  spec.hidden = config.size({"hidden_size", "embedding_length"}, kMaxWidth);
  spec.n_heads = config.size({"num_attention_heads", "attention.head_count"}, kMaxWidth);
  spec.n_kv_heads = spec.n_heads;
  constexpr ConfigKey kKvHeads = {"num_key_value_heads", "attention.head_count_kv"};
  if (config.integer(kKvHeads)) spec.n_kv_heads = config.size(kKvHeads, spec.n_heads);
  constexpr ConfigKey kHeadDim = {"head_dim", "attention.key_length"};
  spec.head_dim = config.integer(kHeadDim) ? config.size(kHeadDim, kMaxHeadDim) : spec.hidden / spec.n_heads;
  if (spec.n_heads % spec.n_kv_heads != 0 || spec.head_dim < 2 || spec.head_dim % 2 != 0) {
    throw_error(ErrorKind::kCorrupt, "%s%lld heads of %lld over %lld KV heads make no attention",
                config.where().c_str(), static_cast<long long>(spec.n_heads),
                static_cast<long long>(spec.head_dim), static_cast<long long>(spec.n_kv_heads));
  }
  if (spec.head_dim > kMaxHeadDim) {
    throw_error(ErrorKind::kUnsupported, "%sheads of %lld are too wide: at most %lld", config.where().c_str(),
                static_cast<long long>(spec.head_dim), static_cast<long long>(kMaxHeadDim));
  }
  spec.trained_context = config.size({"max_position_embeddings", "context_length"}, kMaxInteger);
  const auto eps = config.number({"rms_norm_eps", "attention.layer_norm_rms_epsilon"}).value_or(1e-5);
  if (!(eps >= 0 && eps < 1)) {
    throw_error(ErrorKind::kCorrupt, "%snorm epsilon %g makes no sense", config.where().c_str(), eps);
  }
  spec.norm_eps = static_cast<float>(eps);
  constexpr ConfigKey kFfn = {"intermediate_size", "feed_forward_length"};
  if (config.integer(kFfn).value_or(0) > 0) spec.ffn_width = config.size(kFfn, kMaxWidth);
  if (const auto act = config.text({"hidden_act", ""}); act && *act != "silu" && *act != "swish") {
    throw_error(ErrorKind::kUnsupported, "%sactivation '%s' is not supported; only silu is",
                config.where().c_str(), printable(*act).c_str());
  }
  constexpr ConfigKey kVocab = {"vocab_size", ""};
  if (!config.is_gguf()) {
    spec.vocab = config.size(kVocab, kMaxVocab);
    spec.tied_head = config.boolean({"tie_word_embeddings", ""}).value_or(false);
  }
  spec.layers.assign(static_cast<size_t>(spec.n_layers), LayerSpec{});
  read_rope(config, spec);
}

void read_windows(const ConfigReader& config, int64_t first_layer, ModelSpec& spec) {
  const int64_t window = config.integer({"sliding_window", "attention.sliding_window"}).value_or(0);
  const auto types = config.texts({"layer_types", ""});
  for (int64_t l = 0; l < spec.n_layers; ++l) {
    const size_t i = static_cast<size_t>(l);
    const bool sliding = types ? i < types->size() && (*types)[i] == "sliding_attention" : l >= first_layer;
    if (sliding) spec.layers[i].window = window;
  }
}

void read_qwen_windows(const ConfigReader& config, ModelSpec& spec) {
  if (config.is_gguf()) {
    read_windows(config, 0, spec);
  } else if (config.boolean({"use_sliding_window", ""}).value_or(false)) {
    read_windows(config, config.integer({"max_window_layers", ""}).value_or(28), spec);
  }
}

void read_experts(const ConfigReader& config, ConfigKey width, ModelSpec& spec) {
  constexpr ConfigKey kPerToken = {"num_experts_per_tok", "expert_used_count"};
  const ConfigKey count = config.integer({"num_local_experts", "expert_count"})
                              ? ConfigKey{"num_local_experts", "expert_count"}
                              : ConfigKey{"num_experts", "expert_count"};
  spec.n_experts = config.size(count, kMaxExperts);
  spec.n_experts_per_token = config.size(kPerToken, spec.n_experts);
  spec.expert_width = config.size(width, kMaxWidth);
  for (LayerSpec& layer : spec.layers) layer.ffn = FfnKind::kMoe;
}

}  // namespace sluice
