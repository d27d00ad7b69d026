// Llama 1, 2, 3.x and what copies it: RMS norm, rotary embeddings, grouped-query attention, SwiGLU. In GGUF
// the same name also covers Mistral and Mixtral, and query and key rows are permuted for pairwise rotation.
#include "model/arch/archs.h"
#include "model/config_reader.h"

namespace sluice {
namespace {

void configure(const ConfigReader& config, ModelSpec& spec) {
  if (!config.is_gguf()) return;
  spec.rope.style = RopeStyle::kPairs;
  read_windows(config, 0, spec);
  if (config.integer({"", "expert_count"}).value_or(0) > 0) {
    read_experts(config, {"", "feed_forward_length"}, spec);
    spec.router = RouterKind::kSoftmaxTopKNorm;
  }
}

}  // namespace

const ArchSpec kLlama = {"llama", "LlamaForCausalLM", "llama", &kHfNames, &kGgufNames, configure};

}  // namespace sluice
