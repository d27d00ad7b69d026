#include "engine/text_assets.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/gguf.h"
#include "format/json.h"
#include "platform/file.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr uint64_t kMaxTextFile = uint64_t{256} << 20;

std::optional<std::string> read_if_there(const fs::path& path) {
  if (!fs::is_regular_file(path)) return std::nullopt;
  return read_text_file(path.string(), kMaxTextFile);
}

std::optional<Json> parse_if_there(const fs::path& path) {
  if (!fs::is_regular_file(path)) return std::nullopt;
  Json json = read_json_file(path.string());
  if (!json.is_object()) throw_error(ErrorKind::kCorrupt, "%s: not a JSON object", path.c_str());
  return json;
}

TextAssets gguf_assets(const Checkpoint& checkpoint) {
  const GgufMetadata& metadata = checkpoint.metadata();
  TextAssets assets;
  // A GGUF without vocabulary says "none", or nothing at all.
  const std::string* model = metadata.string("tokenizer.ggml.model");
  if (model && *model != "none") assets.tokenizer = load_tokenizer_gguf(metadata, checkpoint.path());
  if (const std::string* source = metadata.string("tokenizer.chat_template"))
    assets.chat_template.emplace(*source, checkpoint.path());
  return assets;
}

// A template is a string, or a list of named ones of which "default" is for conversations.
const std::string* template_source(const Json& config) {
  const auto found = config.find("chat_template");
  if (found == config.end()) return nullptr;
  if (found->is_string()) return found->get_ptr<const std::string*>();
  if (!found->is_array()) return nullptr;
  for (const Json& entry : *found) {
    if (!entry.is_object() || entry.value("name", Json()) != "default") continue;
    const auto source = entry.find("template");
    if (source != entry.end() && source->is_string()) return source->get_ptr<const std::string*>();
  }
  return nullptr;
}

std::optional<ChatTemplate> directory_template(const fs::path& directory) {
  const fs::path own = directory / "chat_template.jinja";
  if (const std::optional<std::string> source = read_if_there(own))
    return ChatTemplate(*source, own.string());
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    const fs::path path = directory / name;
    const std::optional<Json> config = parse_if_there(path);
    if (!config) continue;
    if (const std::string* source = template_source(*config)) return ChatTemplate(*source, path.string());
  }
  return std::nullopt;
}

template <typename T>
void take_number(const Json& config, const char* key, T& value) {
  const auto found = config.find(key);
  if (found != config.end() && found->is_number()) value = found->get<T>();
}

SamplerOptions directory_sampler(const fs::path& directory) {
  SamplerOptions sampler;
  const std::optional<Json> config = parse_if_there(directory / "generation_config.json");
  if (!config) return sampler;
  take_number(*config, "temperature", sampler.temperature);
  take_number(*config, "top_k", sampler.top_k);
  take_number(*config, "top_p", sampler.top_p);
  take_number(*config, "min_p", sampler.min_p);
  take_number(*config, "typical_p", sampler.typical_p);
  take_number(*config, "repetition_penalty", sampler.repetition_penalty);
  return sampler;
}

TextAssets directory_assets(const fs::path& directory) {
  TextAssets assets;
  try {
    assets.tokenizer = load_tokenizer_directory(directory.string());
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNotFound) throw;
  }
  assets.chat_template = directory_template(directory);
  assets.sampler = directory_sampler(directory);
  return assets;
}

}  // namespace

TextAssets load_text_assets(const Checkpoint& checkpoint) {
  return checkpoint.family() == CheckpointFamily::kGguf ? gguf_assets(checkpoint)
                                                        : directory_assets(checkpoint.path());
}

TextAssets load_text_assets(const std::string& path) {
  const fs::path file(path);
  TextAssets assets;
  if (fs::is_directory(file)) {
    assets = directory_assets(file);
    if (!assets.tokenizer && !assets.chat_template && !fs::exists(file / "config.json"))
      assets = load_text_assets(*Checkpoint::open(path));  // a directory with a GGUF file in it
  } else if (file.extension() == ".json") {
    const std::optional<std::string> config = read_if_there(file.parent_path() / "tokenizer_config.json");
    assets.tokenizer =
        load_tokenizer_json(read_text_file(path, kMaxTextFile), config.value_or(std::string()), path);
  } else if (file.extension() == ".model") {
    assets.tokenizer = load_sentencepiece(read_text_file(path, kMaxTextFile), path);
  } else {
    assets = load_text_assets(*Checkpoint::open(path));
  }
  if (!assets.tokenizer && !assets.chat_template)
    throw_error(ErrorKind::kNotFound, "%s: no tokenizer and no chat template here", path.c_str());
  return assets;
}

}  // namespace sluice
