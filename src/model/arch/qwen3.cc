// Qwen3: no biases, an RMS norm over each query and key head.
#include "model/arch/archs.h"
#include "model/config_reader.h"

namespace sluice {

const ArchSpec kQwen3 = {
    "qwen3",     "Qwen3ForCausalLM",
    "qwen3",     &kHfNames,
    &kGgufNames, [](const ConfigReader&, ModelSpec& spec) { spec.qk_norm = QkNorm::kPerHead; }};

}  // namespace sluice
