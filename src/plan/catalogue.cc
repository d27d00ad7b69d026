#include "plan/catalogue.h"

#include <algorithm>
#include <cctype>

#include "base/check.h"
#include "format/json.h"
#include "model/arch_spec.h"

extern const char* const sluice_catalogue_json;  // written by the build

namespace sluice {
namespace {

// "Qwen3 8B" and "qwen3-8b" are the same to a person.
std::string folded(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string_view last_part(std::string_view name) { return name.substr(name.rfind('/') + 1); }

std::vector<CatalogueEntry> read_catalogue() {
  const nlohmann::ordered_json json = parse_json(sluice_catalogue_json, "catalogue");
  std::vector<CatalogueEntry> entries;
  for (const auto& model : json.at("models")) {
    CatalogueEntry entry = {.name = model.at("name"),
                            .repository = model.at("repository"),
                            .gguf = model.value("gguf", ""),
                            .licence = model.at("licence"),
                            .parameters = model.at("parameters"),
                            .files = {},
                            .config = model.at("config")};
    for (const auto& file : model.at("files")) entry.files.push_back({file.at("type"), file.at("bytes")});
    SLUICE_CHECK(!entry.files.empty(), "%s", entry.name.c_str());
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace

bool CatalogueEntry::is_supported() const {
  const std::string hf_class = config.at("architectures").at(0);
  const auto archs = all_archs();
  return std::any_of(archs.begin(), archs.end(),
                     [&](const ArchSpec* arch) { return arch->hf_class == hf_class; });
}

std::string CatalogueEntry::architecture() const { return config.at("model_type"); }

const CatalogueFile* CatalogueEntry::file(std::string_view type) const {
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&](const CatalogueFile& f) { return folded(f.type) == folded(type); });
  return found == files.end() ? nullptr : &*found;
}

std::string CatalogueEntry::source(std::string_view type) const {
  if (gguf.empty() || type == "bf16" || type == "fp8") return repository;
  std::string upper(type);
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return gguf + ":" + upper;
}

const std::vector<CatalogueEntry>& catalogue() {
  static const std::vector<CatalogueEntry> entries = read_catalogue();
  return entries;
}

const CatalogueEntry* find_in_catalogue(std::string_view name) {
  const std::string wanted = folded(name);
  if (wanted.empty()) return nullptr;
  for (const CatalogueEntry& entry : catalogue()) {
    for (const std::string_view known :
         {std::string_view(entry.name), std::string_view(entry.repository), last_part(entry.repository),
          std::string_view(entry.gguf), last_part(entry.gguf)})
      if (!known.empty() && folded(known) == wanted) return &entry;
  }
  return nullptr;
}

}  // namespace sluice
