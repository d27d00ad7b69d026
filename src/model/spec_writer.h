// A ModelSpec back into the words of both file families: what config_reader.h and arch/ read. For whatever
// writes checkpoints.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "model/arch_spec.h"
#include "model/model_spec.h"

namespace sluice {

// The architecture under which a model of `arch` goes in the other family: Mistral and Mixtral are llama in
// GGUF files, and those are Mixtral if they have experts and Mistral if they have a window.
const ArchSpec& gguf_arch(const ArchSpec& arch);
const ArchSpec& hf_arch(const ArchSpec& arch, const ModelSpec& spec);

// What divides RoPE's frequencies in GGUF files ("rope_freqs.weight") [rotary_dim / 2]: of llama3 scaling, or
// what came from such a file. Empty for other kinds of scaling.
std::vector<float> gguf_rope_factors(const RopeSpec& rope);

// general.architecture and the hyperparameters. `arch` is one of gguf_arch(). Error(kUnsupported), beginning
// with `where`, if GGUF has no key for something.
void write_gguf_spec(GgufWriter& writer, const ArchSpec& arch, const ModelSpec& spec,
                     const std::string& where);

// config.json. Error(kUnsupported), beginning with `where`, if RoPE factors follow no rule that has a name.
nlohmann::ordered_json write_hf_config(const ArchSpec& arch, const ModelSpec& spec, const std::string& where);

}  // namespace sluice
