// Any bytes as a GGUF file: a checked table or an Error. Seeds: the directory that make_broken_files writes.
#include "format/gguf.h"

#include "format/fuzz_file.h"
#include "sluice/error.h"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const FuzzFile file;
  file.set(data, size);
  try {
    const auto checkpoint = open_gguf(file.path());
    for (const TensorInfo& tensor : checkpoint->tensors()) {
      SLUICE_CHECK(checkpoint->find(tensor.name) == &tensor);
      SLUICE_CHECK(tensor.offset <= size && tensor.bytes <= size - tensor.offset);
    }
    for (const auto& [key, value] : checkpoint->metadata().entries()) {
      SLUICE_CHECK(checkpoint->metadata().find(key) == &value);
    }
    checkpoint->metadata().strings("tokenizer.ggml.tokens");
  } catch (const Error&) {
  }
  return 0;
}
