// The Hugging Face cache on disk (https://huggingface.co/docs/hub/local-cache): models--org--name with refs/
// and snapshots/<commit>/, whose files are links into blobs/. Only read here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

class HfCache {
 public:
  explicit HfCache(std::string directory) : directory_(std::move(directory)) {}

  // HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
  static HfCache from_environment();

  const std::string& directory() const noexcept { return directory_; }

  bool has_model(std::string_view model) const;

  // The snapshot directory of a branch, tag or full commit; nullopt if it is not there. `model` is "org/name"
  // or "name".
  std::optional<std::string> snapshot(std::string_view model, std::string_view revision) const;

  // Names of the models that are there, sorted.
  std::vector<std::string> models() const;

 private:
  std::string model_directory(std::string_view model) const;

  std::string directory_;
};

// The entries of `models` that `name` may have meant, best first, at most `max`.
std::vector<std::string> similar_models(const std::vector<std::string>& models, std::string_view name,
                                        size_t max);

// "org/name" or "name" of letters, digits and "._-", no component a dot name.
bool is_model_name(std::string_view name) noexcept;

}  // namespace sluice
