// A Hugging Face directory: safetensors in shards, config.json with MLX's "quantization", tokenizer files. It
// is written under another name beside its place and renamed when it is whole.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"
#include "compress/output.h"
#include "compress/vocabulary.h"
#include "format/safetensors.h"
#include "model/spec_writer.h"
#include "platform/file.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kShardBytes = uint64_t{5} << 30;
constexpr uint64_t kMaxCopiedText = uint64_t{256} << 20;
constexpr const char* kTextFiles[] = {
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "tekken.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "NOTICE",
    "USE_POLICY.md",
};
constexpr const char* kSuffixes[] = {".weight", ".scales", ".biases"};

const char* dtype_name(Encoding encoding) {
  switch (encoding) {
    case Encoding::kF32:
      return "F32";
    case Encoding::kF16:
      return "F16";
    case Encoding::kBF16:
      return "BF16";
    default:
      return "U32";
  }
}

const char* dtype_name(ScaleType type) {
  return type == ScaleType::kF32 ? "F32" : type == ScaleType::kF16 ? "F16" : "BF16";
}

nlohmann::ordered_json quantization_of(const PlannedTensor& t) {
  return {{"group_size", t.params.group}, {"bits", encoding_info(t.encoding).bits}};
}

// The model's general setting, then the tensors that differ from it by name.
nlohmann::ordered_json quantization(const CompressPlan& plan, const CompressOptions& options) {
  nlohmann::ordered_json general;
  if (encoding_info(options.encoding).family == Family::kAffine)
    general = {{"group_size", options.group}, {"bits", encoding_info(options.encoding).bits}};
  nlohmann::ordered_json overrides = nlohmann::ordered_json::object();
  for (const PlannedTensor& t : plan.tensors) {
    if (encoding_info(t.encoding).family != Family::kAffine) continue;
    const nlohmann::ordered_json own = quantization_of(t);
    if (general.is_null()) general = own;
    if (own != general) overrides[t.name] = own;
  }
  if (general.is_null()) return general;
  general["mode"] = "affine";
  general.update(overrides);
  return general;
}

class HfOutput : public CompressedOutput {
 public:
  HfOutput(const Checkpoint& source, const CompressPlan& plan, const CompressOptions& options)
      : plan_(plan),
        texts_(text_files(source)),
        config_(config_json(source, options)),
        is_mlx_(config_.contains("quantization")),
        directory_(options.out) {
    split_into_shards();
    open_shard();
  }

  void write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      if (left_ == 0) next_shard();
      const auto n = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
      shard_->write(bytes.first(n));
      left_ -= n;
      bytes = bytes.subspan(n);
    }
  }

  void commit() override {
    SLUICE_CHECK(left_ == 0 && current_ + 1 == first_of_shard_.size());
    shard_->commit();
    shard_.reset();
    if (first_of_shard_.size() > 1) {
      const nlohmann::ordered_json index = {{"metadata", {{"total_size", plan_.bytes()}}},
                                            {"weight_map", weight_map_}};
      write_text("model.safetensors.index.json", index.dump(2));
    }
    write_text("config.json", config_.dump(2) + "\n");
    for (const auto& [name, text] : texts_) write_text(name, text);
    directory_.commit();
  }

 private:
  nlohmann::ordered_json config_json(const Checkpoint& source, const CompressOptions& options) {
    nlohmann::ordered_json config;
    if (source.family() == CheckpointFamily::kHuggingFace) {
      config = source.config();
    } else {
      config = write_hf_config(*plan_.arch, plan_.model.spec, source.path());
      if (const auto vocabulary = hf_vocabulary(source)) {
        texts_.emplace_back("tokenizer.json", vocabulary->tokenizer_json);
        texts_.emplace_back("tokenizer_config.json", vocabulary->tokenizer_config_json);
        if (vocabulary->bos) config["bos_token_id"] = *vocabulary->bos;
        if (vocabulary->eos) config["eos_token_id"] = *vocabulary->eos;
      }
    }
    config.erase("quantization");
    config.erase("quantization_config");
    const nlohmann::ordered_json setting = quantization(plan_, options);
    if (!setting.is_null()) config["quantization"] = config["quantization_config"] = setting;
    const char* dtype = float_type();
    config[config.contains("dtype") ? "dtype" : "torch_dtype"] = dtype;
    return config;
  }

  // That of the floats of the largest part: scales where matrices are quantised.
  const char* float_type() const {
    const PlannedTensor& t = *std::max_element(
        plan_.tensors.begin(), plan_.tensors.end(),
        [](const PlannedTensor& a, const PlannedTensor& b) { return a.n_weights() < b.n_weights(); });
    const bool affine = encoding_info(t.encoding).family == Family::kAffine;
    const std::string_view name = affine ? dtype_name(t.params.scale_type) : dtype_name(t.encoding);
    return name == "F32" ? "float32" : name == "F16" ? "float16" : "bfloat16";
  }

  static std::vector<std::pair<std::string, std::string>> text_files(const Checkpoint& source) {
    std::vector<std::pair<std::string, std::string>> texts;
    if (source.family() != CheckpointFamily::kHuggingFace) return texts;
    for (const char* name : kTextFiles) {
      const fs::path path = fs::path(source.path()) / name;
      std::error_code ignored;
      if (fs::is_regular_file(path, ignored))
        texts.emplace_back(name, read_text_file(path.string(), kMaxCopiedText));
    }
    return texts;
  }

  void split_into_shards() {
    uint64_t bytes = 0;
    for (size_t i = 0; i < plan_.tensors.size(); ++i) {
      const uint64_t more = plan_.tensors[i].bytes();
      if (i == 0 || bytes + more > kShardBytes) {
        first_of_shard_.push_back(i);
        bytes = 0;
      }
      bytes += more;
    }
  }

  std::string shard_name() const {
    if (first_of_shard_.size() == 1) return "model.safetensors";
    return format_string("model-%05zu-of-%05zu.safetensors", current_ + 1, first_of_shard_.size());
  }

  void open_shard() {
    const std::string name = shard_name();
    shard_ = std::make_unique<SafetensorsWriter>(directory_.file(name), is_mlx_ ? "mlx" : "pt");
    const size_t end =
        current_ + 1 < first_of_shard_.size() ? first_of_shard_[current_ + 1] : plan_.tensors.size();
    for (size_t i = first_of_shard_[current_]; i < end; ++i) {
      const PlannedTensor& t = plan_.tensors[i];
      left_ += t.bytes();
      const auto declare = [&](const std::string& full_name, const char* dtype, int64_t last) {
        shard_->declare_tensor(full_name, dtype, t.shape(last));
        weight_map_[full_name] = name;
      };
      if (t.rows == 0) {
        declare(t.name, dtype_name(t.encoding), t.cols);
      } else if (plane_count(t.encoding) == 1) {
        declare(t.name + kSuffixes[0], dtype_name(t.encoding), t.cols);
      } else {
        declare(t.name + kSuffixes[0], dtype_name(t.encoding), t.cols * encoding_info(t.encoding).bits / 32);
        for (const int p : {1, 2})
          declare(t.name + kSuffixes[p], dtype_name(t.params.scale_type), t.cols / t.params.group);
      }
    }
    shard_->begin_data();
  }

  void next_shard() {
    shard_->commit();
    ++current_;
    SLUICE_CHECK(current_ < first_of_shard_.size());
    open_shard();
  }

  void write_text(const std::string& name, const std::string& text) const {
    FileWriter file(directory_.file(name));
    file.write(std::as_bytes(std::span(text)));
    file.commit();
  }

  const CompressPlan& plan_;
  std::vector<std::pair<std::string, std::string>> texts_;  // name, content
  nlohmann::ordered_json config_;
  bool is_mlx_;
  DirectoryWriter directory_;
  std::vector<size_t> first_of_shard_;  // indices of plan_.tensors
  size_t current_ = 0;
  std::unique_ptr<SafetensorsWriter> shard_;
  uint64_t left_ = 0;  // bytes of the shard that are still to come
  nlohmann::ordered_json weight_map_ = nlohmann::ordered_json::object();
};

}  // namespace

std::unique_ptr<CompressedOutput> make_hf_output(const Checkpoint& source, const CompressPlan& plan,
                                                 const CompressOptions& options) {
  return std::make_unique<HfOutput>(source, plan, options);
}

}  // namespace sluice
