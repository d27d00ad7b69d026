// Finds the tokenizer of a checkpoint directory.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "platform/file.h"
#include "text/tokenizer.h"
#include "text/tokenizer_loaders.h"

namespace sluice {
namespace {

constexpr uint64_t kMaxFileBytes = 256 << 20;

class Directory {
 public:
  explicit Directory(std::string path) : path_(std::move(path)) {}

  std::string path_of(const char* name) const { return (std::filesystem::path(path_) / name).string(); }
  bool has(const char* name) const { return std::filesystem::is_regular_file(path_of(name)); }
  std::string read(const char* name) const { return read_text_file(path_of(name), kMaxFileBytes); }
  std::string read_if_there(const char* name) const { return has(name) ? read(name) : std::string(); }

 private:
  std::string path_;
};

// The pre-tokenizer that goes with vocab.json and merges.txt.
std::string_view pattern_of(const TokenizerConfig& config) {
  return config.tokenizer_class.starts_with("Qwen2") ? "qwen2" : "gpt-2";
}

std::unique_ptr<TokenizerParts> load_model_file(const Directory& directory, const TokenizerConfig& config) {
  const std::string path = directory.path_of("tokenizer.model");
  const std::string bytes = directory.read("tokenizer.model");
  auto parts = looks_like_rank_file(bytes) ? make_llama_tiktoken_parts(bytes, path)
                                           : make_sentencepiece_parts(bytes, path);
  for (const AddedToken& token : config.added) {
    if (parts->vocabulary.find(token.content) < 0) add_token(token, path, parts.get());
  }
  return parts;
}

std::unique_ptr<TokenizerParts> load_parts(const Directory& directory, const std::string& path) {
  const std::string config_json = directory.read_if_there("tokenizer_config.json");
  const TokenizerConfig config = parse_tokenizer_config(config_json);
  if (directory.has("tokenizer.json")) {
    return make_json_parts(directory.read("tokenizer.json"), config, directory.path_of("tokenizer.json"));
  }
  if (directory.has("tokenizer.model")) {
    auto parts = load_model_file(directory, config);
    apply_tokenizer_config(config, parts.get());
    return parts;
  }
  if (directory.has("vocab.json") && directory.has("merges.txt")) {
    return make_vocab_merges_parts(directory.read("vocab.json"), directory.read("merges.txt"),
                                   pattern_of(config), directory.read_if_there("added_tokens.json"), config,
                                   directory.path_of("vocab.json"));
  }
  throw_error(
      ErrorKind::kNotFound,
      "%s: no tokenizer.json, tokenizer.model or vocab.json with merges.txt; give the prompt as --ids",
      path.c_str());
}

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer_directory(const std::string& path) {
  const Directory directory(path);
  auto parts = load_parts(directory, path);
  for (const char* name : {"generation_config.json", "config.json"}) {
    auto ids = parse_end_ids(directory.read_if_there(name), directory.path_of(name));
    std::erase_if(ids, [&](int32_t id) { return parts->vocabulary.kind(id) == TokenKind::kMissing; });
    if (!parts->eos && !ids.empty()) parts->eos = ids.front();
    parts->end_ids.insert(parts->end_ids.end(), ids.begin(), ids.end());
  }
  finish_parts(path, parts.get());
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace sluice
