// Synthetic checkpoints: any shape that the engine runs, with random weights in any encoding, written in full
// (no holes) from a seed. For tests and benchmarks; they speak gibberish, but they route, stream and compute
// like the real thing.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "encoding/encoding.h"
#include "format/checkpoint.h"

namespace sluice {

struct ForgeOptions {
  std::string shape = "llama-1b";  // a preset, or the path of a config.json of a supported architecture
  Encoding encoding = Encoding::kQ4_0;
  uint16_t group = 64;  // of affine encodings
  CheckpointFamily family = CheckpointFamily::kGguf;
  double zipf = 0;  // experts are chosen with probability ~ 1 / rank^zipf; 0: uniformly
  // This many channels of every normed row, the same in all layers, are `outlier_scale` times the rest, as in
  // trained models: the norms' weights make them so and leave the row's mean square at 1.
  int64_t outliers = 0;
  double outlier_scale = 1;
  uint64_t seed = 0;
  // Norms and biases differ from value to value, and attention weighs as much as the FFN: for tests of the
  // arithmetic, which shall see an error anywhere.
  bool varied = false;
  std::string out;  // the GGUF file, or the directory (which is new or empty)
};

struct ForgeResult {
  uint64_t bytes = 0;  // written
  int64_t n_parameters = 0;
};

// Throws Error. Reports bytes written; `progress` may throw to cancel, and then nothing is left behind.
ForgeResult forge(const ForgeOptions& options,
                  const std::function<void(uint64_t done, uint64_t total)>& progress = {});

// config.json of a preset ("llama-1b", "dense-7b", "moe-small", "moe-8g", and "…-tiny" ones for tests), or of
// the file named so. Error(kInvalid) lists the presets.
nlohmann::ordered_json forge_config(const std::string& shape);

}  // namespace sluice
