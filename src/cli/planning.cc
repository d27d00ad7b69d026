#include "cli/planning.h"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>
#include <utility>

#include "base/environment.h"
#include "base/error.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "format/checkpoint.h"
#include "hub/hf_cache.h"
#include "hub/model_path.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLargeEnough = uint64_t{256} << 20;  // for a disk to be measured on

uint64_t size_of(const std::string& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  return error ? 0 : size;
}

std::string largest_file(const std::string& model) {
  const std::shared_ptr<const Checkpoint> checkpoint = Checkpoint::open(model);
  std::string largest;
  for (const std::string& file : checkpoint->files())
    if (largest.empty() || size_of(file) > size_of(largest)) largest = file;
  return largest;
}

std::vector<std::string> catalogue_names() {
  std::vector<std::string> names;
  for (const CatalogueEntry& entry : catalogue()) names.push_back(entry.repository);
  return names;
}

[[noreturn]] void report_unknown(const std::string& name, const std::string& reason) {
  std::string hint;
  for (const std::string& similar : similar_models(catalogue_names(), name, 4))
    hint += (hint.empty() ? "did you mean " : ", ") + similar;
  hint = hint.empty() ? "see `sluice browse`." : hint + "?";
  throw_error(ErrorKind::kNotFound,
              "%s; nor is it in the catalogue: %s Headers are not fetched from the network yet: fetch the "
              "model (hf download) or plan for one of like shape",
              reason.c_str(), hint.c_str());
}

// "NAME:q8_0" and whether the type is one that the entry has.
std::optional<std::pair<const CatalogueEntry*, std::string>> in_catalogue(const std::string& name) {
  if (const CatalogueEntry* entry = find_in_catalogue(name)) return std::pair(entry, entry->files[0].type);
  const size_t colon = name.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  const CatalogueEntry* entry = find_in_catalogue(name.substr(0, colon));
  if (entry == nullptr) return std::nullopt;
  const std::string type = name.substr(colon + 1);
  if (const CatalogueFile* file = entry->file(type)) return std::pair(entry, file->type);
  std::string types;
  for (const CatalogueFile& file : entry->files) types += (types.empty() ? "" : ", ") + file.type;
  throw_error(ErrorKind::kInvalid, "%s: the catalogue has %s of it, not %s", entry->name.c_str(),
              types.c_str(), printable(type).c_str());
}

// A plan is for a process of its own: how large this one has been meanwhile must not count (Linux 4.0).
void forget_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

std::string ago(int64_t seconds) {
  if (seconds < 120) return "just now";
  if (seconds < 7200) return format_string("%lld minutes ago", static_cast<long long>(seconds / 60));
  if (seconds < 172800) return format_string("%lld hours ago", static_cast<long long>(seconds / 3600));
  return format_string("%lld days ago", static_cast<long long>(seconds / 86400));
}

}  // namespace

HardwareProfile hardware_for(const std::string& file) {
  if (std::optional<HardwareProfile> kept = load_hardware_profile()) return *std::move(kept);
  HardwareOptions options = {.quick = true, .directory = state_directory()};
  std::error_code error;
  if (!options.directory.empty()) fs::create_directories(options.directory, error);
  if (options.directory.empty() || error) options.directory = ".";
  if (!file.empty() && size_of(file) >= kLargeEnough) options.file = file;
  print_warning("nothing is known of this machine yet: measuring it quickly (sluice doctor does it well)");
  options.progress = [](const char*, uint64_t, uint64_t) {
    if (interrupted()) throw_error(ErrorKind::kCancelled, "interrupted while measuring");
  };
  HardwareProfile profile = measure_hardware(options);
  try {
    save_hardware_profile(profile);
  } catch (const Error& failure) {
    print_warning(std::string("the profile was not kept: ") + failure.what());
  }
  return profile;
}

std::string measured_when(const HardwareProfile& profile) {
  const int64_t age = std::max<int64_t>(static_cast<int64_t>(std::time(nullptr)) - profile.measured_at, 0);
  return format_string("this machine was measured%s %s, its disk at %s; `sluice doctor` measures it anew",
                       profile.quick ? " quickly" : "", ago(age).c_str(),
                       printable(profile.disk_facts.path).c_str());
}

PlannedModel open_outline(EngineOptions options, const CatalogueEntry& entry, const std::string& type) {
  if (!entry.is_supported())
    throw_error(ErrorKind::kUnsupported, "%s: the architecture %s is not supported yet", entry.name.c_str(),
                entry.architecture().c_str());
  PlannedModel planned;
  planned.name = entry.name + ", " + type;
  planned.entry = &entry;
  planned.outline = std::make_unique<Outline>(entry.config, type);
  options.model = planned.outline->path();
  forget_peak();
  planned.engine = Engine::open(options);
  return planned;
}

PlannedModel open_planned(const EngineOptions& options) {
  std::string path, missing;
  try {
    path = resolve_model(options.model);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound) throw;
    missing = error.what();
  }
  if (!path.empty()) {
    PlannedModel planned;
    planned.name = options.model;
    planned.file = largest_file(path);
    planned.engine = Engine::open(options);
    return planned;
  }
  if (const auto found = in_catalogue(options.model))
    return open_outline(options, *found->first, found->second);
  report_unknown(options.model, missing);
}

}  // namespace sluice
