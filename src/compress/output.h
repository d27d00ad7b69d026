// Where a compressed checkpoint goes: a writer for each family. Each checks in its constructor, before a byte
// is written, that it can express the model; commit() makes the output appear, and without it nothing is
// left.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "compress/plan.h"

namespace sluice {

class CompressedOutput {
 public:
  virtual ~CompressedOutput() = default;
  // The planned tensors' bytes in order, any chunking; planes one after another.
  virtual void write(std::span<const std::byte> bytes) = 0;
  virtual void commit() = 0;
};

std::unique_ptr<CompressedOutput> make_hf_output(const Checkpoint& source, const CompressPlan& plan,
                                                 const CompressOptions& options);
std::unique_ptr<CompressedOutput> make_gguf_output(const Checkpoint& source, const CompressPlan& plan,
                                                   const CompressOptions& options);

}  // namespace sluice
