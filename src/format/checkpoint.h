// A checkpoint on disk as a checked table: which tensors there are, of which type and shape, in which file
// at which offset, and what the files say of the model. Nothing here reads weights. Everything untrusted
// ends here: offsets lie inside their files, shapes multiply without overflow to the byte counts, names are
// unique, tensors do not overlap. How each family spells this is in huggingface.h, safetensors.h and gguf.h.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "encoding/encoding.h"

namespace sluice {

class GgufMetadata;  // format/gguf.h

struct TensorInfo {
  std::string name;
  std::string dtype;                     // as the file spells it: "BF16", "U32", "Q4_K"
  Encoding encoding = Encoding::kCount;  // what kernels read; kCount for the others (U32, I8, F8_E4M3, …)
  std::vector<uint64_t> shape;           // outermost dimension first, in both families
  uint32_t file = 0;                     // index into Checkpoint::files()
  uint64_t offset = 0;                   // of the first byte, from the start of that file
  uint64_t bytes = 0;
};

enum class CheckpointFamily : uint8_t { kHuggingFace, kGguf };

// Immutable after open(); thread-safe.
class Checkpoint {
 public:
  // `path` is a Hugging Face directory (config.json and *.safetensors, sharded or not), a GGUF file (the
  // first of a split set finds the others) or a directory that holds one GGUF model. Throws Error: kNotFound,
  // kCorrupt, kUnsupported, kInvalid, kIo.
  static std::shared_ptr<const Checkpoint> open(const std::string& path);
  virtual ~Checkpoint() = default;

  virtual CheckpointFamily family() const noexcept = 0;
  const std::string& path() const noexcept { return path_; }
  const std::vector<std::string>& files() const noexcept { return files_; }     // paths of tensor files
  const std::vector<TensorInfo>& tensors() const noexcept { return tensors_; }  // in file order
  const TensorInfo* find(std::string_view name) const noexcept;                 // nullptr if not there
  uint64_t total_bytes() const noexcept;                                        // of all tensors

  // config.json. Precondition: family() == kHuggingFace.
  virtual const nlohmann::ordered_json& config() const;
  // Key/values. Precondition: family() == kGguf.
  virtual const GgufMetadata& metadata() const;

 protected:
  // Orders the tensors by file and offset and indexes their names. Error(kCorrupt) where two have one name or
  // share bytes. To be called once path_, files_ and tensors_ are filled.
  void finish();

  std::string path_;
  std::vector<std::string> files_;
  std::vector<TensorInfo> tensors_;
  std::vector<uint32_t> by_name_;  // indices of tensors_ sorted by name
};

}  // namespace sluice
