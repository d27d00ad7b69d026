// An architecture as data: what its config says on the axes of ModelSpec, and how its tensors are called.
// One file in arch/ each, listed in registry.cc.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "model/model_spec.h"

namespace sluice {

class Checkpoint;
class ConfigReader;

// Names of the weights without ".weight"; {l} is the layer and {e} the expert. Empty: the architecture has no
// such tensor.
struct TensorNames {
  std::string_view embedding, final_norm, head;
  std::string_view attention_norm, q, k, v, o, q_norm, k_norm;
  std::string_view ffn_norm, gate, up, down;
  std::string_view router;
  // Experts, in order of preference: stacked [n_experts, out, in], then one tensor per expert.
  std::string_view experts_gate, experts_up, experts_down;
  std::string_view expert_gate, expert_up, expert_down;
};

// A name of TensorNames with its marks filled in.
std::string tensor_name(std::string_view pattern, int64_t layer, int64_t expert = 0);

struct ArchSpec {
  std::string_view name;       // ours, and in Hugging Face's model_type
  std::string_view hf_class;   // in config.json's architectures
  std::string_view gguf_arch;  // general.architecture
  const TensorNames* hf_names;
  const TensorNames* gguf_names;
  // Completes a spec that read_common() (config_reader.h) has filled.
  void (*configure)(const ConfigReader& config, ModelSpec& spec);
};

// Adding an architecture is one file in arch/ and one line in registry.cc.
std::span<const ArchSpec* const> all_archs();

// For error messages: "llama, mistral, ...".
std::string supported_archs();

// The architecture that a checkpoint names. Throws Error(kUnsupported) that lists the supported ones.
const ArchSpec& find_arch(const Checkpoint& checkpoint);

// Its hyperparameters, checked. In GGUF files the vocabulary's size is the embedding's and stays 0 here.
ModelSpec read_spec(const Checkpoint& checkpoint, const ArchSpec& arch);

}  // namespace sluice
