// OLMoE: 64 small experts top-8, norms over the whole query and key rows, optional clipping of q, k and v.
#include "model/arch/archs.h"
#include "model/config_reader.h"

namespace sluice {
namespace {

void configure(const ConfigReader& config, ModelSpec& spec) {
  spec.qk_norm = QkNorm::kFull;
  spec.clip_qkv = static_cast<float>(config.number({"clip_qkv", "attention.clamp_kqv"}).value_or(0.0));
  read_experts(config, {"intermediate_size", "feed_forward_length"}, spec);
  spec.router = config.boolean({"norm_topk_prob", ""}).value_or(false) ? RouterKind::kSoftmaxTopKNorm
                                                                       : RouterKind::kSoftmaxTopK;
}

}  // namespace

const ArchSpec kOlmoe = {"olmoe", "OlmoeForCausalLM", "olmoe", &kHfNames, &kGgufNames, configure};

}  // namespace sluice
