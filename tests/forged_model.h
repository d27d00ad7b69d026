// Forged checkpoints in a directory that goes with the test program.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "forge/forge.h"
#include "tests/scratch.h"

namespace sluice::test {

class ForgedModels {
 public:
  // The path of a model of that shape (a preset or a config.json), forged at the first call: as Hugging Face
  // directory in bf16 and affine encodings, as GGUF file in the others.
  std::string get(const std::string& shape, const std::string& encoding) const {
    const std::string name = std::filesystem::path(shape).filename().string() + "-" + encoding;
    const bool gguf = encoding != "bf16" && encoding.compare(0, 6, "affine") != 0;
    const std::string path = directory_ / (gguf ? name + ".gguf" : name);
    if (std::filesystem::exists(path)) return path;
    forge({.shape = shape,
           .encoding = encoding_from_name(encoding),
           .family = gguf ? CheckpointFamily::kGguf : CheckpointFamily::kHuggingFace,
           .seed = 5,
           .out = path});
    return path;
  }

  // A shape of its own: a preset with other fields.
  std::string shape(const std::string& name, const std::string& preset,
                    const nlohmann::ordered_json& fields) const {
    nlohmann::ordered_json config = forge_config(preset);
    config.update(fields);
    return directory_.write(name, config.dump());
  }

  void remove(const std::string& path) const { std::filesystem::remove_all(path); }

 private:
  Scratch directory_;
};

}  // namespace sluice::test
