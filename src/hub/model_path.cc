#include "hub/model_path.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "hub/hf_cache.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool starts_with(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + printable(name);
  return out;
}

std::string resolve_demo() {
  std::error_code error;
  const fs::path binary = fs::read_symlink("/proc/self/exe", error);
  const fs::path installed = binary.parent_path().parent_path() / "share/sluice/models/demo";
  if (!error && is_there(installed / "config.json")) return installed.string();
  const fs::path source = SLUICE_DEMO_DIRECTORY;
  if (is_there(source / "config.json")) return source.string();
  throw_error(ErrorKind::kNotFound,
              "the demo model is neither in %s nor in %s; install Sluice again or name a model",
              installed.c_str(), source.c_str());
}

// A name in the cache, taken apart: "org/name@revision:quantisation".
struct CacheName {
  std::string model;
  std::string revision = "main";
  std::string quantisation;  // empty: the whole snapshot
};

std::optional<CacheName> parse_cache_name(std::string_view text) {
  for (const std::string_view host : {"https://huggingface.co/", "huggingface.co/", "hf.co/"}) {
    if (starts_with(text, host)) {
      text.remove_prefix(host.size());
      break;
    }
  }
  CacheName name;
  if (const size_t colon = text.rfind(':'); colon != std::string_view::npos) {
    name.quantisation = text.substr(colon + 1);
    text = text.substr(0, colon);
    if (name.quantisation.empty()) return std::nullopt;
  }
  if (const size_t at = text.find('@'); at != std::string_view::npos) {
    name.revision = text.substr(at + 1);
    text = text.substr(0, at);
    if (name.revision.empty()) return std::nullopt;
  }
  if (!is_model_name(text)) return std::nullopt;
  name.model = text;
  return name;
}

bool is_word_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

// `word` in `text` as a whole, ignoring case: "Q4_K" is in "m-Q4_K.gguf", not in "m-Q4_K_M.gguf".
bool has_word(std::string_view text, std::string_view word) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
  };
  for (auto begin = text.begin();; ++begin) {
    begin = std::search(begin, text.end(), word.begin(), word.end(), same);
    if (begin == text.end()) return false;
    const auto end = begin + static_cast<std::ptrdiff_t>(word.size());
    const bool starts = begin == text.begin() || !is_word_char(begin[-1]);
    const bool ends = end == text.end() || (!is_word_char(*end) && *end != '_');
    if (starts && ends) return true;
  }
}

// "...-00002-of-00003.gguf": found through the first part.
bool is_later_part(std::string_view name) {
  const size_t of = name.rfind("-of-");
  return of != std::string_view::npos && of >= 5 && name.substr(of - 5, 5) != "00001";
}

// What a snapshot holds, relative to it; some models keep each quantisation in a directory of its own.
struct SnapshotFiles {
  std::vector<std::string> gguf_models;  // sorted
  bool has_safetensors = false;
};

SnapshotFiles list_snapshot(const fs::path& snapshot) {
  SnapshotFiles files;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(snapshot, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry.depth() > 1) entry.disable_recursion_pending();
    const fs::path& path = entry->path();
    const std::string name = path.filename().string();
    files.has_safetensors |= path.extension() == ".safetensors";
    if (path.extension() == ".gguf" && !is_later_part(name) && !starts_with(name, "mmproj")) {
      files.gguf_models.push_back(path.lexically_relative(snapshot).string());
    }
  }
  std::sort(files.gguf_models.begin(), files.gguf_models.end());
  return files;
}

// The directory of safetensors, or the one GGUF model that was meant.
std::string pick_in_snapshot(const std::string& snapshot, const CacheName& name) {
  const SnapshotFiles files = list_snapshot(snapshot);
  const bool any = name.quantisation.empty();
  if (any && (files.has_safetensors || files.gguf_models.empty())) return snapshot;
  std::vector<std::string> matching;
  std::copy_if(files.gguf_models.begin(), files.gguf_models.end(), std::back_inserter(matching),
               [&](const std::string& model) { return any || has_word(model, name.quantisation); });
  if (matching.size() == 1) return snapshot + "/" + matching[0];
  if (!matching.empty()) {
    throw_error(ErrorKind::kInvalid,
                "%s: %zu GGUF files in %s would do (%s); say which, as in %s:Q4_K_M, or give its path",
                name.model.c_str(), matching.size(), snapshot.c_str(), join(matching).c_str(),
                name.model.c_str());
  }
  throw_error(ErrorKind::kNotFound, "%s: no GGUF file in %s has '%s' in its name; there is %s",
              name.model.c_str(), snapshot.c_str(), printable(name.quantisation).c_str(),
              files.gguf_models.empty() ? "none" : join(files.gguf_models).c_str());
}

[[noreturn]] void report_missing(const std::string& name, const HfCache& cache) {
  const std::vector<std::string> models = cache.models();
  const std::vector<std::string> similar = similar_models(models, name, 5);
  std::string hint;
  if (!similar.empty()) {
    hint = "did you mean " + join(similar) + "?";
  } else if (models.empty()) {
    hint = "download it there (hf download), or give the path of a GGUF file or model directory";
  } else {
    hint = format_string("there are %zu models, such as %s; download it there (hf download) or give a path",
                         models.size(), printable(models[0]).c_str());
  }
  throw_error(ErrorKind::kNotFound, "no model '%s': not a path, and not in the Hugging Face cache %s; %s",
              printable(name).c_str(), cache.directory().c_str(), hint.c_str());
}

}  // namespace

std::string resolve_model(const std::string& name) {
  if (name.empty())
    throw_error(ErrorKind::kInvalid, "the model's name is empty; give a path, a name or 'demo'");
  if (name == "demo") return resolve_demo();
  if (is_there(name)) return name;
  const auto parsed = parse_cache_name(name);
  if (!parsed) {
    throw_error(
        ErrorKind::kNotFound,
        "no file or directory '%s'; a model is a path, 'demo', or a name in the Hugging Face cache such as "
        "org/name or org/name:Q4_K_M",
        printable(name).c_str());
  }
  const HfCache cache = HfCache::from_environment();
  if (!cache.has_model(parsed->model)) report_missing(name, cache);
  const auto snapshot = cache.snapshot(parsed->model, parsed->revision);
  if (!snapshot) {
    throw_error(ErrorKind::kNotFound,
                "%s: the Hugging Face cache %s has the model, but no snapshot of revision '%s'; "
                "download it (hf download)",
                parsed->model.c_str(), cache.directory().c_str(), printable(parsed->revision).c_str());
  }
  return pick_in_snapshot(*snapshot, *parsed);
}

}  // namespace sluice
