// Models that people run, as data (data/catalogue.json, built into the program): shapes in the words of their
// config.json, where they are to be had, and in which files.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

struct CatalogueFile {
  std::string type;    // "q4_k_m": a GGUF file of llama-quantize's type; "bf16", "fp8": safetensors
  uint64_t bytes = 0;  // of its tensors
};

struct CatalogueEntry {
  std::string name;        // "Qwen3 8B"
  std::string repository;  // on Hugging Face, of the safetensors: "Qwen/Qwen3-8B"
  std::string gguf;        // of the GGUF files; empty: none is named
  std::string licence;
  int64_t parameters = 0;
  std::vector<CatalogueFile> files;  // the one to begin with first
  nlohmann::ordered_json config;     // the keys that give the shape

  bool is_supported() const;                               // this engine has the architecture
  std::string architecture() const;                        // model_type
  const CatalogueFile* file(std::string_view type) const;  // nullptr if there is none
  // Where a file of that type is, as resolve_model() takes it: "org/name-GGUF:Q4_K_M", or the repository.
  std::string source(std::string_view type) const;
};

const std::vector<CatalogueEntry>& catalogue();

// By name or repository, whatever the case, spaces and punctuation; nullptr if there is none.
const CatalogueEntry* find_in_catalogue(std::string_view name);

}  // namespace sluice
