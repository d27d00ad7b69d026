#include "format/huggingface.h"

#include <simdjson.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "format/gguf.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "format/split_name.h"
#include "platform/file.h"

namespace sluice {
namespace {

constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr uint64_t kMaxIndexBytes = 100'000'000;

bool ends_with(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

std::string join(const std::string& directory, std::string_view name) {
  return (std::filesystem::path(directory) / name).string();
}

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// Names of the regular files (or links to such), sorted.
std::vector<std::string> list_files(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored)) names.push_back(entry->path().filename().string());
  }
  if (error) throw_errno(error.value(), "cannot list directory", directory);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> with_extension(const std::vector<std::string>& names, std::string_view extension) {
  std::vector<std::string> found;
  std::copy_if(names.begin(), names.end(), std::back_inserter(found),
               [&](const std::string& name) { return ends_with(name, extension); });
  return found;
}

// The weight map of the index: which file holds which tensor.
class ShardIndex {
 public:
  explicit ShardIndex(const std::string& path) : path_(path) {
    const std::string text = read_text_file(path, kMaxIndexBytes);
    simdjson::dom::parser parser;
    simdjson::dom::object document;
    if (const auto error = parser.parse(text).get(document); error != simdjson::SUCCESS) {
      corrupt(format_string("is not a JSON object (%s)", simdjson::error_message(error)));
    }
    simdjson::dom::object weight_map;
    if (document["weight_map"].get(weight_map) != simdjson::SUCCESS) corrupt("field 'weight_map' is missing");
    for (const simdjson::dom::key_value_pair entry : weight_map) {
      std::string_view shard;
      if (entry.value.get(shard) != simdjson::SUCCESS) {
        corrupt(format_string("field 'weight_map' has no file name for tensor '%s'",
                              printable(entry.key).c_str()));
      }
      check_shard_name(shard);
      const uint32_t number = numbers_.emplace(shard, static_cast<uint32_t>(numbers_.size())).first->second;
      if (!shard_of_.emplace(entry.key, number).second) {
        corrupt(format_string("field 'weight_map' has tensor '%s' twice", printable(entry.key).c_str()));
      }
    }
    if (numbers_.empty()) corrupt("field 'weight_map' is empty");
  }

  const std::string& path() const { return path_; }
  // File name to number, in order of the names.
  const std::map<std::string, uint32_t, std::less<>>& shards() const { return numbers_; }
  const std::unordered_map<std::string, uint32_t>& shard_of() const { return shard_of_; }

  [[noreturn]] void corrupt(const std::string& problem) const {
    throw_error(ErrorKind::kCorrupt, "%s: %s; download the file again", path_.c_str(), problem.c_str());
  }

 private:
  // Shards lie beside the index: no directories, nothing that a terminal or a path would interpret.
  void check_shard_name(std::string_view name) const {
    const bool clean = std::all_of(name.begin(), name.end(), [](char c) {
      return static_cast<unsigned char>(c) >= 0x20 && c != '/' && c != '\\' && c != 0x7f;
    });
    if (!clean || name.empty() || name[0] == '.' || name.size() > 255) {
      corrupt(format_string("field 'weight_map' names the file '%s', which is not a plain file name",
                            printable(name).c_str()));
    }
  }

  std::string path_;
  std::map<std::string, uint32_t, std::less<>> numbers_;
  std::unordered_map<std::string, uint32_t> shard_of_;
};

class HuggingFaceCheckpoint final : public Checkpoint {
 public:
  // `names` are the directory's files, sorted.
  HuggingFaceCheckpoint(const std::string& directory, const std::vector<std::string>& names) {
    path_ = directory;
    config_ = read_json_file(join(directory, "config.json"));
    if (!config_.is_object()) {
      throw_error(ErrorKind::kCorrupt, "%s: is not a JSON object; download the file again",
                  join(directory, "config.json").c_str());
    }
    if (std::binary_search(names.begin(), names.end(), "model.safetensors")) {
      read_files({"model.safetensors"});  // an index beside it may be a left-over of the unconverted model
    } else if (std::binary_search(names.begin(), names.end(), kIndexName)) {
      read_indexed(ShardIndex(join(directory, kIndexName)));
    } else {
      read_files(weight_files(names));
    }
    finish();
  }

  CheckpointFamily family() const noexcept override { return CheckpointFamily::kHuggingFace; }
  const nlohmann::ordered_json& config() const override { return config_; }

 private:
  void read_files(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      files_.push_back(join(path_, name));
      std::vector<TensorInfo> found =
          read_safetensors(*File::open(files_.back()), static_cast<uint32_t>(files_.size() - 1));
      std::move(found.begin(), found.end(), std::back_inserter(tensors_));
    }
  }

  // The index decides between two shards that hold a tensor of one name; a tensor that it does not list is
  // kept.
  void read_indexed(const ShardIndex& index) {
    std::vector<std::string> names;
    std::vector<uint32_t> numbers;  // of names[i] in the index
    for (const auto& [name, number] : index.shards()) {
      if (!exists(join(path_, name))) {
        throw_error(ErrorKind::kNotFound, "%s: shard '%s' is missing; download it into the same directory",
                    index.path().c_str(), printable(name).c_str());
      }
      names.push_back(name);
      numbers.push_back(number);
    }
    read_files(names);
    size_t n_indexed = 0;
    const auto elsewhere = [&](const TensorInfo& tensor) {
      const auto found = index.shard_of().find(tensor.name);
      if (found == index.shard_of().end()) return false;
      if (found->second != numbers[tensor.file]) return true;
      ++n_indexed;
      return false;
    };
    tensors_.erase(std::remove_if(tensors_.begin(), tensors_.end(), elsewhere), tensors_.end());
    if (n_indexed != index.shard_of().size()) report_absent(index, names, numbers);
  }

  [[noreturn]] void report_absent(const ShardIndex& index, const std::vector<std::string>& names,
                                  const std::vector<uint32_t>& numbers) const {
    std::set<std::string_view> present;
    for (const TensorInfo& tensor : tensors_) present.insert(tensor.name);
    std::string_view absent;  // the first by name, so that the message does not vary
    uint32_t number = 0;
    for (const auto& [name, shard] : index.shard_of()) {
      if (present.count(name) == 0 && (absent.empty() || name < absent)) {
        absent = name;
        number = shard;
      }
    }
    const size_t file =
        static_cast<size_t>(std::find(numbers.begin(), numbers.end(), number) - numbers.begin());
    index.corrupt(format_string("tensor '%s' is not in shard '%s'", printable(absent).c_str(),
                                printable(names[file]).c_str()));
  }

  // Where there is neither model.safetensors nor an index.
  std::vector<std::string> weight_files(const std::vector<std::string>& names) const {
    std::vector<std::string> weights = with_extension(names, ".safetensors");
    for (const std::string& name : weights) {
      const auto split = parse_split_name(name, ".safetensors");
      if (!split || split->stem != "model") continue;
      std::vector<std::string> parts;
      for (uint32_t i = 1; i <= split->count; ++i) {
        parts.push_back(split->part(i));
        if (!std::binary_search(weights.begin(), weights.end(), parts.back())) {
          throw_error(ErrorKind::kNotFound, "%s: shard '%s' is missing; download it into the same directory",
                      path_.c_str(), parts.back().c_str());
        }
      }
      return parts;
    }
    if (weights.size() == 1) return weights;
    if (weights.size() > 1) {
      throw_error(ErrorKind::kInvalid,
                  "%s: %zu safetensors files ('%s'...) and no %s that says which to load", path_.c_str(),
                  weights.size(), printable(weights[0]).c_str(), kIndexName);
    }
    for (const char* extension : {".bin", ".pth", ".pt"}) {
      const std::vector<std::string> pickles = with_extension(names, extension);
      if (pickles.empty()) continue;
      throw_error(ErrorKind::kUnsupported,
                  "%s: '%s' is a PyTorch file, which can run code when read; convert to safetensors",
                  path_.c_str(), printable(pickles[0]).c_str());
    }
    throw_error(ErrorKind::kNotFound,
                "%s: no weights beside config.json; download model.safetensors or its shards", path_.c_str());
  }

  nlohmann::ordered_json config_;
};

// A directory that lacks config.json or has GGUF files in place of safetensors.
std::shared_ptr<const Checkpoint> open_other(const std::string& directory,
                                             const std::vector<std::string>& names) {
  std::vector<std::string> models;  // split sets by their first part
  for (const std::string& name : with_extension(names, ".gguf")) {
    const auto split = parse_split_name(name, ".gguf");
    if (!split || split->number == 1) models.push_back(name);
  }
  if (models.size() == 1) return open_gguf(join(directory, models[0]));
  if (models.size() > 1) {
    throw_error(ErrorKind::kInvalid, "%s: %zu GGUF models ('%s', '%s'...); name the file", directory.c_str(),
                models.size(), printable(models[0]).c_str(), printable(models[1]).c_str());
  }
  if (!with_extension(names, ".safetensors").empty()) {
    throw_error(ErrorKind::kNotFound, "%s: config.json is missing beside the safetensors; download it too",
                directory.c_str());
  }
  for (const std::string& name : names) {
    if (!ends_with(name, ".bin") && !ends_with(name, ".pth") && !ends_with(name, ".pt")) continue;
    throw_error(ErrorKind::kUnsupported,
                "%s: '%s' is a PyTorch file, which can run code when read; convert to safetensors",
                directory.c_str(), printable(name).c_str());
  }
  throw_error(ErrorKind::kNotFound,
              "%s: no model in this directory; it needs config.json with safetensors, or a GGUF file",
              directory.c_str());
}

}  // namespace

std::shared_ptr<const Checkpoint> open_huggingface(const std::string& directory) {
  const std::vector<std::string> names = list_files(directory);
  const bool has_config = std::binary_search(names.begin(), names.end(), "config.json");
  const bool has_safetensors = std::binary_search(names.begin(), names.end(), kIndexName) ||
                               !with_extension(names, ".safetensors").empty();
  const bool has_gguf = !with_extension(names, ".gguf").empty();
  if (!has_config || (has_gguf && !has_safetensors)) return open_other(directory, names);
  return std::make_shared<HuggingFaceCheckpoint>(directory, names);
}

}  // namespace sluice
