// One safetensors file (https://huggingface.co/docs/safetensors): eight bytes of header length, a JSON header
// {"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {…}}, then the data.
//
// The format's own rules are enforced: a header of at most 100,000,000 bytes that begins with '{', no key
// twice, every byte of the data owned by exactly one tensor (no overlap, no gap, nothing after the last), and
// shape x dtype equal to the extent. Alignment is not required. A dtype that is not known keeps its name; its
// extent is taken from the offsets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/checkpoint.h"
#include "platform/file.h"

namespace sluice {

// Bits per value of a dtype by its name in the header ("BF16"), 0 if it is not known.
uint32_t safetensors_dtype_bits(std::string_view dtype) noexcept;

// The tensors in order of their data; TensorInfo::file is `file_index`. Throws Error(kCorrupt) that names
// file, tensor and field; kUnsupported for a Git LFS pointer in place of the file.
std::vector<TensorInfo> read_safetensors(const File& file, uint32_t file_index);

// Writes one safetensors file: declare everything, then stream the tensors' bytes in the declared order.
// Atomic (FileWriter). Not thread-safe.
class SafetensorsWriter {
 public:
  // `format` becomes __metadata__ "format": "mlx" or "pt", as loaders expect it.
  SafetensorsWriter(const std::string& path, std::string_view format);
  ~SafetensorsWriter();

  // `dtype` is one of the format's names, `shape` outermost first.
  void declare_tensor(std::string_view name, std::string_view dtype, std::span<const uint64_t> shape);

  void begin_data();                             // writes the header; no more declarations
  void write(std::span<const std::byte> bytes);  // the tensors' bytes one after another, any chunking
  void commit();                                 // SLUICE_CHECKs that every declared byte was written

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
