// Mixtral: Mistral's attention and two of eight experts, weighted by a softmax over the chosen ones. Its GGUF
// files call themselves llama.
#include "model/arch/archs.h"
#include "model/config_reader.h"

namespace sluice {
namespace {

constexpr TensorNames names() {
  TensorNames n = kHfNames;
  n.router = "model.layers.{l}.block_sparse_moe.gate";
  n.experts_gate = "model.layers.{l}.block_sparse_moe.switch_mlp.gate_proj";
  n.experts_up = "model.layers.{l}.block_sparse_moe.switch_mlp.up_proj";
  n.experts_down = "model.layers.{l}.block_sparse_moe.switch_mlp.down_proj";
  n.expert_gate = "model.layers.{l}.block_sparse_moe.experts.{e}.w1";
  n.expert_up = "model.layers.{l}.block_sparse_moe.experts.{e}.w3";
  n.expert_down = "model.layers.{l}.block_sparse_moe.experts.{e}.w2";
  return n;
}
constexpr TensorNames kNames = names();

void configure(const ConfigReader& config, ModelSpec& spec) {
  read_experts(config, {"intermediate_size", ""}, spec);
  spec.router = RouterKind::kSoftmaxTopKNorm;
  read_windows(config, 0, spec);
}

}  // namespace

const ArchSpec kMixtral = {"mixtral", "MixtralForCausalLM", "", &kNames, nullptr, configure};

}  // namespace sluice
