// What a checkpoint brings along for text: its tokenizer, its chat template and the sampling that it
// recommends. Needs no weights, so that tokenizer files and vocabulary-only GGUFs work as well.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "format/checkpoint.h"
#include "sluice/options.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace sluice {

struct TextAssets {
  std::shared_ptr<const Tokenizer> tokenizer;  // nullptr where there is none
  std::optional<ChatTemplate> chat_template;
  SamplerOptions sampler;  // generation_config.json over the defaults
};

// From an open checkpoint. Missing parts are left out; broken ones throw Error(kCorrupt, kUnsupported).
TextAssets load_text_assets(const Checkpoint& checkpoint);

// From a path that may hold no model at all: a Hugging Face directory, a GGUF file, tokenizer.json, or
// tokenizer.model. Error(kNotFound) where nothing of text is found.
TextAssets load_text_assets(const std::string& path);

}  // namespace sluice
