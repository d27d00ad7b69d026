// A Hugging Face directory: config.json and the weights in safetensors, whole (model.safetensors) or in
// shards listed by model.safetensors.index.json. What a single safetensors file holds is safetensors.h's.
#pragma once

#include <memory>
#include <string>

#include "format/checkpoint.h"

namespace sluice {

// Weights are, in this order: model.safetensors; the shards of model.safetensors.index.json; the shards
// "model-0000i-of-0000N.safetensors", all of them; a single other *.safetensors. A directory with one GGUF
// model and no safetensors opens that. Throws Error: kNotFound, kCorrupt, kUnsupported, kInvalid, kIo.
std::shared_ptr<const Checkpoint> open_huggingface(const std::string& directory);

}  // namespace sluice
