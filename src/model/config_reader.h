// One view of a model's hyperparameters over both families: config.json of Hugging Face directories and the
// metadata of GGUF files, with every value checked for type and range.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/checkpoint.h"
#include "model/model_spec.h"

namespace sluice {

// A hyperparameter's name in each family. GGUF keys are given without the architecture's prefix
// ("block_count").
struct ConfigKey {
  std::string_view hf;
  std::string_view gguf;
};

class ConfigReader {
 public:
  // `gguf_prefix` is general.architecture.
  ConfigReader(const Checkpoint& checkpoint, std::string gguf_prefix);

  bool is_gguf() const noexcept { return gguf_; }
  const Checkpoint& checkpoint() const noexcept { return checkpoint_; }

  // Absent (or null) is nullopt; a wrong type is Error(kCorrupt) that names file and key. `integer` refuses
  // values outside [0, 2^31).
  std::optional<int64_t> integer(ConfigKey key) const;
  std::optional<double> number(ConfigKey key) const;
  std::optional<bool> boolean(ConfigKey key) const;
  std::optional<std::string> text(ConfigKey key) const;
  std::optional<std::vector<int64_t>> integers(ConfigKey key) const;
  std::optional<std::vector<std::string>> texts(ConfigKey key) const;

  // As integer(), but absent is Error(kCorrupt) and so is anything outside [1, `max`].
  int64_t size(ConfigKey key, int64_t max) const;

  // "model/config.json: " or "model.gguf: ", to begin messages with.
  std::string where() const;

 private:
  const nlohmann::ordered_json* find_hf(std::string_view key) const;  // "a.b" looks into objects
  std::string gguf_key(ConfigKey key) const;

  const Checkpoint& checkpoint_;
  bool gguf_;
  std::string prefix_;
};

// Sizes, norm and RoPE, which all architectures spell alike.
void read_common(const ConfigReader& config, ModelSpec& spec);

// The sliding window, in the layers that `layer_types` names or else from `first_layer` upwards.
void read_windows(const ConfigReader& config, int64_t first_layer, ModelSpec& spec);

// The Qwens' config.json names a window even where none is used: use_sliding_window (absent: no) decides, and
// max_window_layers (absent: 28) says where it begins.
void read_qwen_windows(const ConfigReader& config, ModelSpec& spec);

// n_experts, n_experts_per_token, expert_width (from `width`).
void read_experts(const ConfigReader& config, ConfigKey width, ModelSpec& spec);

}  // namespace sluice
