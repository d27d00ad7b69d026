#include "hub/hf_cache.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <system_error>
#include <utility>

#include "base/environment.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModelPrefix = "models--";

std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

std::string_view last_component(std::string_view name) { return name.substr(name.rfind('/') + 1); }

bool is_word(std::string_view text, std::string_view extra) {
  return !text.empty() && text[0] != '.' && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           extra.find(c) != std::string_view::npos;
  });
}

// Branches may have slashes ("refs/pr/1"), but must not lead out of the directory.
bool is_revision(std::string_view revision) {
  return is_word(revision, "._-/") && revision[0] != '/' && revision.find("..") == std::string_view::npos;
}

// The first line of a small file, empty if it cannot be read.
std::string first_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  return line;
}

// Insertions, deletions and replacements that turn `a` into `b` (Levenshtein).
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

}  // namespace

HfCache HfCache::from_environment() {
  if (auto cache = read_environment(Variable::kHfHubCache)) return HfCache(*std::move(cache));
  if (const auto home = read_environment(Variable::kHfHome)) return HfCache(*home + "/hub");
  if (const auto cache = read_environment(Variable::kXdgCacheHome))
    return HfCache(*cache + "/huggingface/hub");
  return HfCache(read_environment(Variable::kHome).value_or("") + "/.cache/huggingface/hub");
}

std::string HfCache::model_directory(std::string_view model) const {
  std::string directory = directory_ + "/" + std::string(kModelPrefix);
  const size_t slash = model.find('/');
  if (slash == std::string_view::npos) return directory.append(model);
  return directory.append(model.substr(0, slash)).append("--").append(model.substr(slash + 1));
}

bool HfCache::has_model(std::string_view model) const {
  std::error_code error;
  return fs::is_directory(model_directory(model), error);
}

std::optional<std::string> HfCache::snapshot(std::string_view model, std::string_view revision) const {
  if (!is_revision(revision)) return std::nullopt;
  const fs::path directory = model_directory(model);
  std::string commit = first_line(directory / "refs" / revision);
  if (commit.empty()) commit = revision;
  if (!is_word(commit, "._-")) return std::nullopt;
  const fs::path snapshot = directory / "snapshots" / commit;
  std::error_code error;
  if (!fs::is_directory(snapshot, error)) return std::nullopt;
  return snapshot.string();
}

std::vector<std::string> HfCache::models() const {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory_, error), end; !error && entry != end; entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (name.compare(0, kModelPrefix.size(), kModelPrefix) != 0) continue;
    name.erase(0, kModelPrefix.size());
    if (const size_t separator = name.find("--"); separator != std::string::npos)
      name.replace(separator, 2, "/");
    if (is_model_name(name)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> similar_models(const std::vector<std::string>& models, std::string_view name,
                                        size_t max) {
  const std::string wanted = lowered(last_component(name));
  std::vector<std::pair<size_t, std::string>> candidates;  // by distance
  for (const std::string& model : models) {
    const std::string have = lowered(last_component(model));
    const size_t distance = edit_distance(wanted, have);
    const bool contained = have.find(wanted) != std::string::npos || wanted.find(have) != std::string::npos;
    if (contained || distance <= std::max<size_t>(2, wanted.size() / 3))
      candidates.emplace_back(distance, model);
  }
  std::sort(candidates.begin(), candidates.end());
  std::vector<std::string> names;
  for (auto& [distance, model] : candidates) {
    if (names.size() < max) names.push_back(std::move(model));
  }
  return names;
}

bool is_model_name(std::string_view name) noexcept {
  const size_t slash = name.find('/');
  const std::string_view last = slash == std::string_view::npos ? name : name.substr(slash + 1);
  const bool organisation = slash == std::string_view::npos || is_word(name.substr(0, slash), "._-");
  return organisation && is_word(last, "._-") && name.size() <= 200;
}

}  // namespace sluice
