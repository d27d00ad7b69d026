// Any bytes as a safetensors file: a checked table or an Error. Seeds: the directory that make_broken_files
// writes.
#include "format/safetensors.h"

#include "format/fuzz_file.h"
#include "sluice/error.h"

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const FuzzFile file;
  file.set(data, size);
  try {
    uint64_t end = 0;
    for (const TensorInfo& tensor : read_safetensors(*File::open(file.path()), 0)) {
      SLUICE_CHECK(end == 0 || tensor.offset == end);
      end = tensor.offset + tensor.bytes;
      SLUICE_CHECK(end <= size);
    }
  } catch (const Error&) {
  }
  return 0;
}
