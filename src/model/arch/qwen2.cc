// Qwen2 and Qwen2.5: Llama with biases on query, key and value.
#include "model/arch/archs.h"
#include "model/config_reader.h"

namespace sluice {

namespace {

void configure(const ConfigReader& config, ModelSpec& spec) {
  spec.qkv_bias = true;
  read_qwen_windows(config, spec);
}

}  // namespace

const ArchSpec kQwen2 = {"qwen2", "Qwen2ForCausalLM", "qwen2", &kHfNames, &kGgufNames, configure};

}  // namespace sluice
