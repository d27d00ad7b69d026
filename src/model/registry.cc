// The list of architectures.
#include "model/arch/archs.h"
#include "model/arch_spec.h"

namespace sluice {

std::span<const ArchSpec* const> all_archs() {
  static constexpr const ArchSpec* kAll[] = {&kLlama,    &kMistral, &kQwen2, &kQwen3,
                                             &kQwen3Moe, &kMixtral, &kOlmoe};
  return kAll;
}

std::string supported_archs() {
  std::string names;
  for (const ArchSpec* arch : all_archs()) {
    if (!names.empty()) names += ", ";
    names += arch->name;
  }
  return names;
}

}  // namespace sluice
