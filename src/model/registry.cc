// The list of architectures, and which of them a checkpoint is.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/gguf.h"
#include "model/arch/archs.h"
#include "model/arch_spec.h"
#include "model/config_reader.h"

namespace sluice {

std::string tensor_name(std::string_view pattern, int64_t layer, int64_t expert) {
  std::string name(pattern);
  const auto put = [&name](std::string_view mark, int64_t value) {
    const size_t at = name.find(mark);
    if (at != std::string::npos) name.replace(at, mark.size(), std::to_string(value));
  };
  put("{l}", layer);
  put("{e}", expert);
  return name;
}

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

const ArchSpec& find_arch(const Checkpoint& checkpoint) {
  std::string found;
  if (checkpoint.family() == CheckpointFamily::kGguf) {
    const std::string* arch = checkpoint.metadata().string("general.architecture");
    if (!arch)
      throw_error(ErrorKind::kCorrupt, "%s: general.architecture is missing", checkpoint.path().c_str());
    for (const ArchSpec* spec : all_archs()) {
      if (spec->gguf_names && spec->gguf_arch == *arch) return *spec;
    }
    found = *arch;
  } else {
    const auto& config = checkpoint.config();
    const auto classes = config.find("architectures");
    const auto type = config.find("model_type");
    for (const ArchSpec* spec : all_archs()) {
      if (classes != config.end() && classes->is_array() && !classes->empty() && (*classes)[0].is_string()) {
        if ((*classes)[0].get<std::string>() == spec->hf_class) return *spec;
      } else if (type != config.end() && type->is_string() && type->get<std::string>() == spec->name) {
        return *spec;
      }
    }
    if (classes != config.end()) {
      found = classes->dump();
    } else if (type != config.end()) {
      found = type->dump();
    } else {
      throw_error(ErrorKind::kCorrupt, "%s/config.json: neither 'architectures' nor 'model_type' is there",
                  checkpoint.path().c_str());
    }
  }
  throw_error(ErrorKind::kUnsupported, "%s: architecture %s is not supported; supported are %s",
              checkpoint.path().c_str(), printable(found).c_str(), supported_archs().c_str());
}

ModelSpec read_spec(const Checkpoint& checkpoint, const ArchSpec& arch) {
  ModelSpec spec;
  spec.architecture = arch.name;
  const ConfigReader config(checkpoint, std::string(arch.gguf_arch));
  read_common(config, spec);
  arch.configure(config, spec);
  return spec;
}

}  // namespace sluice
