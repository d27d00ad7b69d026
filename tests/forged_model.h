// Forged checkpoints in a directory that goes with the test program.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "forge/forge.h"

namespace sluice::test {

class ForgedModels {
 public:
  ForgedModels() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sluice-forged-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~ForgedModels() { std::filesystem::remove_all(directory_); }
  ForgedModels(const ForgedModels&) = delete;
  ForgedModels& operator=(const ForgedModels&) = delete;

  // The path of a model of that shape (a preset or a config.json), forged at the first call: as Hugging Face
  // directory in bf16 and affine encodings, as GGUF file in the others.
  std::string get(const std::string& shape, const std::string& encoding) const {
    const std::string name = std::filesystem::path(shape).filename().string() + "-" + encoding;
    const bool gguf = encoding != "bf16" && encoding.compare(0, 6, "affine") != 0;
    const std::string path = (directory_ / (gguf ? name + ".gguf" : name)).string();
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
    const std::string path = (directory_ / name).string();
    std::ofstream(path) << config;
    return path;
  }

  void remove(const std::string& path) const { std::filesystem::remove_all(path); }

 private:
  std::filesystem::path directory_;
};

}  // namespace sluice::test
