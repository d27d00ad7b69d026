// Mistral 7B and Nemo: Llama with a sliding window in the first release. Its GGUF files call themselves
// llama.
#include "model/arch/archs.h"
#include "model/config_reader.h"

namespace sluice {

const ArchSpec kMistral = {
    "mistral", "MistralForCausalLM",
    "",        &kHfNames,
    nullptr,   [](const ConfigReader& config, ModelSpec& spec) { read_windows(config, 0, spec); }};

}  // namespace sluice
