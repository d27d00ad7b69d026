// A GGUF file. From another one the key/values are copied, but for those that would no longer be true; from a
// Hugging Face directory they are written anew.
#include <algorithm>
#include <limits>

#include "base/error.h"
#include "compress/output.h"
#include "compress/vocabulary.h"
#include "format/gguf.h"
#include "model/spec_writer.h"

namespace sluice {
namespace {

// general.file_type: what most of the tensors are, in ggml's numbers.
int64_t file_type(Encoding encoding) {
  switch (encoding) {
    case Encoding::kF32:
      return 0;
    case Encoding::kF16:
      return 1;
    case Encoding::kQ4_0:
      return 2;
    case Encoding::kQ8_0:
      return 7;
    default:
      return 32;  // bf16
  }
}

GgufType narrowest(int64_t least, int64_t most) {
  if (least < 0) return least < INT32_MIN || most > INT32_MAX ? GgufType::kI64 : GgufType::kI32;
  return most > static_cast<int64_t>(UINT32_MAX) ? GgufType::kU64 : GgufType::kU32;
}

// The widths of integers are not kept by the reader; these are what readers of such files expect.
GgufType type_of(const std::string& key, const GgufValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return narrowest(*integer, *integer);
  if (const auto* integers = std::get_if<std::vector<int64_t>>(&value)) {
    if (key == "tokenizer.ggml.precompiled_charsmap") return GgufType::kU8;
    if (integers->empty()) return GgufType::kI32;
    const auto [least, most] = std::minmax_element(integers->begin(), integers->end());
    return *most <= INT32_MAX ? narrowest(std::min<int64_t>(*least, -1), *most) : narrowest(*least, *most);
  }
  if (std::holds_alternative<double>(value) || std::holds_alternative<std::vector<double>>(value))
    return GgufType::kF32;
  if (std::holds_alternative<bool>(value) || std::holds_alternative<std::vector<bool>>(value))
    return GgufType::kBool;
  return GgufType::kString;
}

bool stays_true(const std::string& key) {
  return key != "general.file_type" && key != "general.quantization_version" && key != "general.alignment" &&
         key.rfind("split.", 0) != 0 && key.rfind("quantize.", 0) != 0;
}

class GgufOutput : public CompressedOutput {
 public:
  GgufOutput(const Checkpoint& source, const CompressPlan& plan, const CompressOptions& options)
      : writer_(options.out) {
    if (source.family() == CheckpointFamily::kGguf) {
      for (const auto& [key, value] : source.metadata().entries())
        if (stays_true(key)) writer_.add(key, type_of(key, value), value);
    } else {
      write_gguf_spec(writer_, *plan.arch, plan.model.spec, source.path());
      add_gguf_vocabulary(writer_, source, plan.model.spec.vocab);
    }
    writer_.add("general.file_type", GgufType::kU32, file_type(options.encoding));
    writer_.add("general.quantization_version", GgufType::kU32, int64_t{2});
    for (const PlannedTensor& t : plan.tensors) {
      writer_.declare_tensor(t.rows == 0 ? t.name : t.name + ".weight", t.encoding, t.shape(t.cols));
    }
    writer_.begin_data();
  }

  void write(std::span<const std::byte> bytes) override { writer_.write(bytes); }
  void commit() override { writer_.commit(); }

 private:
  GgufWriter writer_;
};

}  // namespace

std::unique_ptr<CompressedOutput> make_gguf_output(const Checkpoint& source, const CompressPlan& plan,
                                                   const CompressOptions& options) {
  return std::make_unique<GgufOutput>(source, plan, options);
}

}  // namespace sluice
