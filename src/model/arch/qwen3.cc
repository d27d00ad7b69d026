// Qwen3: no biases, an RMS norm over each query and key head.
#include "model/arch/archs.h"
#include "model/config_reader.h"

namespace sluice {

namespace {

void configure(const ConfigReader& config, ModelSpec& spec) {
  spec.qk_norm = QkNorm::kPerHead;
  read_qwen_windows(config, spec);
}

}  // namespace

const ArchSpec kQwen3 = {"qwen3", "Qwen3ForCausalLM", "qwen3", &kHfNames, &kGgufNames, configure};

}  // namespace sluice
