#include "model/fingerprint.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/hash.h"
#include "platform/file.h"

namespace sluice {
namespace {

constexpr uint64_t kSample = 4096;  // bytes of each router

uint64_t add_text(uint64_t hash, std::string_view text) {
  const auto size = static_cast<uint64_t>(text.size());
  return fnv1a(std::as_bytes(std::span(text)), fnv1a(std::as_bytes(std::span(&size, 1)), hash));
}

}  // namespace

uint64_t model_fingerprint(const Checkpoint& checkpoint, const BoundModel& model) {
  std::vector<const TensorInfo*> tensors;
  for (const TensorInfo& tensor : checkpoint.tensors()) tensors.push_back(&tensor);
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorInfo* a, const TensorInfo* b) { return a->name < b->name; });
  uint64_t hash = kFnvStart;
  for (const TensorInfo* tensor : tensors) {
    hash = add_text(add_text(hash, tensor->name), tensor->dtype);
    hash = fnv1a(std::as_bytes(std::span(tensor->shape)), hash);
  }
  std::vector<std::byte> sample;
  for (const LayerWeights& layer : model.layers) {
    if (!layer.router) continue;
    const TensorInfo* const router = checkpoint.find(layer.router.name + ".weight");
    SLUICE_CHECK(router != nullptr, "%s", layer.router.name.c_str());
    sample.resize(std::min(router->bytes, kSample));
    File::open(checkpoint.files()[router->file])->read_at(router->offset, sample);
    hash = fnv1a(sample, hash);
  }
  return hash;
}

}  // namespace sluice
