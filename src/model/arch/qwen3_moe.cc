// Qwen3-MoE: Qwen3's attention, a softmax router over all experts with the best k renormalised, and here and
// there a dense layer.
#include <algorithm>

#include "model/arch/archs.h"
#include "model/config_reader.h"

namespace sluice {
namespace {

void configure(const ConfigReader& config, ModelSpec& spec) {
  spec.qk_norm = QkNorm::kPerHead;
  read_qwen_windows(config, spec);
  read_experts(config, {"moe_intermediate_size", "expert_feed_forward_length"}, spec);
  spec.router = config.boolean({"norm_topk_prob", ""}).value_or(config.is_gguf())
                    ? RouterKind::kSoftmaxTopKNorm
                    : RouterKind::kSoftmaxTopK;
  const int64_t step = std::max<int64_t>(config.integer({"decoder_sparse_step", ""}).value_or(1), 1);
  const auto dense = config.integers({"mlp_only_layers", ""}).value_or(std::vector<int64_t>{});
  for (int64_t l = 0; l < spec.n_layers; ++l) {
    if ((l + 1) % step != 0 || std::find(dense.begin(), dense.end(), l) != dense.end()) {
      spec.layers[static_cast<size_t>(l)].ffn = FfnKind::kDense;
    }
  }
}

}  // namespace

const ArchSpec kQwen3Moe = {"qwen3_moe", "Qwen3MoeForCausalLM", "qwen3moe",
                            &kHfNames,   &kGgufNames,           configure};

}  // namespace sluice
