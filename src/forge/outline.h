// A model without its weights: a GGUF header as a stock file of some type would have it, before a hole as
// large as the data. Whatever needs a header alone (binding, dividing a budget) can open it like the file.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "encoding/encoding.h"

namespace sluice {

class Outline {
 public:
  // `config`: a config.json of a supported architecture. `file_type`: "q4_k_m", ..., one of file_types().
  // Error(kUnsupported, kCorrupt, kInvalid).
  Outline(const nlohmann::ordered_json& config, std::string_view file_type);
  ~Outline();
  Outline(const Outline&) = delete;
  Outline& operator=(const Outline&) = delete;

  std::string path() const;  // by which it can be opened while this lives; takes next to no memory
  uint64_t bytes() const noexcept { return bytes_; }            // that such a file would have
  uint64_t data_bytes() const noexcept { return data_bytes_; }  // of its tensors, padding included
  int64_t n_parameters() const noexcept { return n_parameters_; }

  static std::string file_types();  // "bf16, f16, ..."

 private:
  int fd_ = -1;
  uint64_t bytes_ = 0;
  uint64_t data_bytes_ = 0;
  int64_t n_parameters_ = 0;
};

// A matrix, or a stack of them, for whoever chooses its encoding.
struct OutlinedMatrix {
  std::string_view name;  // "blk.3.attn_v"
  int64_t layer = 0, n_layers = 0;
  int64_t cols = 0;
  bool tied_head = false;  // the embedding is also the head
};

struct ForgedHeader {
  std::string header;
  uint64_t data_bytes = 0;
  int64_t n_parameters = 0;
};
ForgedHeader forge_header(const nlohmann::ordered_json& config,
                          const std::function<Encoding(const OutlinedMatrix&)>& choose);

}  // namespace sluice
