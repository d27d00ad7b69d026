#include "forge/forge.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/check.h"
#include "base/error.h"
#include "encoding/encode.h"
#include "forge/outline.h"
#include "forge/random_weights.h"
#include "forge/vocabulary.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "model/arch_spec.h"
#include "model/model_spec.h"
#include "model/spec_writer.h"
#include "platform/file.h"

namespace sluice {
namespace {

// With Zipf routing, dimension 0 of the residual stream carries this constant (the embedding puts it there
// and nothing overwrites it), so that column 0 of a router acts as a bias per expert.
constexpr float kConstant = 4.0F;
// Random attention adds much the same vector to every token; at full strength, routing would stop varying.
constexpr double kAttentionOutScale = 0.1;
// The router's logits then deviate like Gumbel noise (pi / sqrt(6)): top-k over bias plus noise draws experts
// without replacement, with probabilities proportional to exp(bias).
constexpr double kRouterDeviation = 1.28;
constexpr double kMaxOutlierScale = 10000;

enum class Kind : uint8_t {
  kNorm,    // of the residual stream: what comes out is the input of matrix products
  kQkNorm,  // of queries or keys
  kBias,
  kRopeFactors,
  kRandom,
  kWritesStream,  // its first row writes residual dimension 0: zero under Zipf routing
  kEmbedding,
  kRouter,
};

struct ForgedTensor {
  std::string name;  // without ".weight"
  Kind kind;
  int64_t stack = 0;  // matrices one after another; 0: no such dimension
  int64_t rows = 0;   // 0: a vector of `cols`
  int64_t cols = 0;
  Encoding encoding = Encoding::kF32;
  double deviation = 1.0;
  int64_t layer = 0;
};

// A checkpoint that is only its config, to read hyperparameters through the ordinary door.
class ConfigOnly : public Checkpoint {
 public:
  ConfigOnly(std::string path, const nlohmann::ordered_json& config) : config_(config) {
    path_ = std::move(path);
  }
  CheckpointFamily family() const noexcept override { return CheckpointFamily::kHuggingFace; }
  const nlohmann::ordered_json& config() const override { return config_; }

 private:
  const nlohmann::ordered_json& config_;
};

class Forge {
 public:
  Forge(const ForgeOptions& options, nlohmann::ordered_json config,
        const std::function<void(uint64_t, uint64_t)>& progress)
      : options_(options),
        progress_(progress),
        config_(std::move(config)),
        arch_(find_arch(ConfigOnly(options.shape, config_))),
        spec_(read_spec(ConfigOnly(options.shape, config_), arch_)),
        gguf_(options.family == CheckpointFamily::kGguf),
        random_(options.seed) {
    affine_ = encoding_info(options.encoding).family == Family::kAffine;
    if (affine_) params_ = {options.group, ScaleType::kBF16};
    check_encoding();
    choose_outliers();
    list_tensors();
    for (const ForgedTensor& t : tensors_) {
      total_ += tensor_bytes(t);
      n_parameters_ += std::max<int64_t>(t.stack, 1) * std::max<int64_t>(t.rows, 1) * t.cols;
    }
  }

  ForgeResult run() {
    if (gguf_) {
      write_gguf();
    } else {
      write_hf();
    }
    return {.bytes = done_, .n_parameters = n_parameters_};
  }

  ForgedHeader header(const std::function<Encoding(const OutlinedMatrix&)>& choose) {
    for (ForgedTensor& t : tensors_) {
      if (t.kind != Kind::kRandom && t.kind != Kind::kWritesStream && t.kind != Kind::kEmbedding) continue;
      t.encoding = choose({t.name, t.layer, spec_.n_layers, t.cols, spec_.tied_head});
    }
    GgufWriter writer;
    declare_gguf(writer);
    return {.header = writer.header(), .data_bytes = writer.data_bytes(), .n_parameters = n_parameters_};
  }

 private:
  // ---- what there is

  void check_encoding() const {
    const EncodingInfo& info = encoding_info(options_.encoding);
    const bool hf_stores = info.family == Family::kFloat || affine_;
    if (gguf_ ? affine_ : !hf_stores) {
      throw_error(ErrorKind::kInvalid, "--encoding %s cannot be stored in a %s checkpoint; try --family %s",
                  std::string(info.name).c_str(), gguf_ ? "GGUF" : "Hugging Face", gguf_ ? "hf" : "gguf");
    }
    for (const int64_t cols :
         {spec_.hidden, spec_.n_heads * spec_.head_dim, spec_.ffn_width, spec_.expert_width}) {
      if (cols_fit(options_.encoding, params_, static_cast<uint64_t>(cols))) continue;
      throw_error(ErrorKind::kInvalid, "--encoding %s: rows of %lld values are not whole blocks",
                  std::string(info.name).c_str(), static_cast<long long>(cols));
    }
  }

  // The embedding's first column is patched value by value, so it needs an encoder.
  Encoding table_encoding() const {
    return can_encode(options_.encoding) ? options_.encoding : Encoding::kQ8_0;
  }
  // What Zipf routing takes of the embedding's rows: the first block or group, (kConstant, 0, 0, ...).
  int64_t constant_channels() const {
    if (options_.zipf <= 0) return 0;
    return affine_ ? params_.group : std::max<int64_t>(encoding_info(table_encoding()).block, 32);
  }

  // The factors of the norms' channels: 1 without outliers, and a mean square of 1 with them, so that
  // products are as large as without. Outliers are drawn among the channels that vary from token to token.
  void choose_outliers() {
    channel_factors_.assign(static_cast<size_t>(spec_.hidden), 1.0F);
    if (options_.outliers == 0) return;
    const int64_t first = constant_channels();
    const int64_t most = spec_.hidden - std::max<int64_t>(first, 1);  // some channel is no outlier
    if (options_.outliers < 1 || options_.outliers > most) {
      throw_error(ErrorKind::kInvalid, "--outliers: %lld channels; this shape takes 1 to %lld",
                  static_cast<long long>(options_.outliers), static_cast<long long>(most));
    }
    if (!(options_.outlier_scale > 1 && options_.outlier_scale <= kMaxOutlierScale)) {
      throw_error(ErrorKind::kInvalid, "--outliers: a scale of %g; try one in (1, %g]",
                  options_.outlier_scale, kMaxOutlierScale);
    }
    const auto n = static_cast<double>(options_.outliers), all = static_cast<double>(spec_.hidden);
    const double rms = std::sqrt((all - n + n * options_.outlier_scale * options_.outlier_scale) / all);
    std::vector<size_t> channels(static_cast<size_t>(spec_.hidden - first));
    std::iota(channels.begin(), channels.end(), static_cast<size_t>(first));
    std::shuffle(channels.begin(), channels.end(), random_);
    std::fill(channel_factors_.begin(), channel_factors_.end(), static_cast<float>(1 / rms));
    for (size_t i = 0; i < static_cast<size_t>(options_.outliers); ++i)
      channel_factors_[channels[i]] = static_cast<float>(options_.outlier_scale / rms);
  }

  const TensorNames& names() const { return gguf_ ? *gguf_arch(arch_).gguf_names : *arch_.hf_names; }

  void list_tensors() {
    const TensorNames& n = names();
    const double hidden_deviation = 1.0 / std::sqrt(static_cast<double>(spec_.hidden));
    const int64_t q = spec_.n_heads * spec_.head_dim, kv = spec_.n_kv_heads * spec_.head_dim;
    const Encoding table = table_encoding();

    const auto add = [&](std::string_view pattern, int64_t l, Kind kind, int64_t rows, int64_t cols,
                         double deviation, Encoding encoding) {
      tensors_.push_back({tensor_name(pattern, l, 0), kind, 0, rows, cols, encoding, deviation, l});
    };
    const auto norm = [&](std::string_view pattern, int64_t l, Kind kind, int64_t n_values) {
      add(pattern, l, kind, 0, n_values, 1.0, gguf_ ? Encoding::kF32 : Encoding::kBF16);
    };
    const auto matrix = [&](std::string_view pattern, int64_t l, int64_t rows, int64_t cols) {
      add(pattern, l, Kind::kRandom, rows, cols, 1.0 / std::sqrt(static_cast<double>(cols)),
          options_.encoding);
      if (spec_.qkv_bias && (pattern == n.q || pattern == n.k || pattern == n.v)) {
        tensors_.push_back({tensor_name(pattern, l, 0) + ".bias", Kind::kBias, 0, 0, rows,
                            gguf_ ? Encoding::kF32 : Encoding::kBF16, 0.0, l});
      }
    };

    add(n.embedding, 0, Kind::kEmbedding, spec_.vocab, spec_.hidden, 1.0, table);
    for (int64_t l = 0; l < spec_.n_layers; ++l) {
      norm(n.attention_norm, l, Kind::kNorm, spec_.hidden);
      matrix(n.q, l, q, spec_.hidden);
      matrix(n.k, l, kv, spec_.hidden);
      matrix(n.v, l, kv, spec_.hidden);
      add(n.o, l, Kind::kWritesStream, spec_.hidden, q,
          (options_.varied ? 1.0 : kAttentionOutScale) / std::sqrt(static_cast<double>(q)),
          options_.encoding);
      if (spec_.qk_norm != QkNorm::kNone) {
        const bool full = spec_.qk_norm == QkNorm::kFull;
        norm(n.q_norm, l, Kind::kQkNorm, full ? q : spec_.head_dim);
        norm(n.k_norm, l, Kind::kQkNorm, full ? kv : spec_.head_dim);
      }
      norm(n.ffn_norm, l, Kind::kNorm, spec_.hidden);
      if (spec_.layers[static_cast<size_t>(l)].ffn == FfnKind::kDense) {
        matrix(n.gate, l, spec_.ffn_width, spec_.hidden);
        matrix(n.up, l, spec_.ffn_width, spec_.hidden);
        add(n.down, l, Kind::kWritesStream, spec_.hidden, spec_.ffn_width,
            1.0 / std::sqrt(static_cast<double>(spec_.ffn_width)), options_.encoding);
        continue;
      }
      add(n.router, l, Kind::kRouter, spec_.n_experts, spec_.hidden, kRouterDeviation * hidden_deviation,
          gguf_ ? Encoding::kF32 : Encoding::kBF16);
      add_experts(n, l);
    }
    norm(n.final_norm, 0, Kind::kNorm, spec_.hidden);
    if (gguf_ && !gguf_rope_factors(spec_.rope).empty())
      add("rope_freqs", 0, Kind::kRopeFactors, 0, spec_.rope.rotary_dim / 2, 0.0, Encoding::kF32);
    if (!spec_.tied_head) add(n.head, 0, Kind::kRandom, spec_.vocab, spec_.hidden, hidden_deviation, table);
  }

  // Stacked in GGUF and MLX, one tensor per expert in plain Hugging Face checkpoints.
  void add_experts(const TensorNames& n, int64_t l) {
    const int64_t width = spec_.expert_width, hidden = spec_.hidden;
    const double in = 1.0 / std::sqrt(static_cast<double>(hidden)),
                 out = 1.0 / std::sqrt(static_cast<double>(width));
    const Encoding encoding = options_.encoding;
    if (gguf_ || affine_) {
      const int64_t stack = spec_.n_experts;
      tensors_.push_back(
          {tensor_name(n.experts_gate, l, 0), Kind::kRandom, stack, width, hidden, encoding, in, l});
      tensors_.push_back(
          {tensor_name(n.experts_up, l, 0), Kind::kRandom, stack, width, hidden, encoding, in, l});
      tensors_.push_back(
          {tensor_name(n.experts_down, l, 0), Kind::kWritesStream, stack, hidden, width, encoding, out, l});
      return;
    }
    for (int64_t e = 0; e < spec_.n_experts; ++e) {
      tensors_.push_back(
          {tensor_name(n.expert_gate, l, e), Kind::kRandom, 0, width, hidden, encoding, in, l});
      tensors_.push_back({tensor_name(n.expert_up, l, e), Kind::kRandom, 0, width, hidden, encoding, in, l});
      tensors_.push_back(
          {tensor_name(n.expert_down, l, e), Kind::kWritesStream, 0, hidden, width, encoding, out, l});
    }
  }

  EncodingParams params_of(const ForgedTensor& t) const {
    return encoding_info(t.encoding).family == Family::kAffine ? params_ : EncodingParams{};
  }
  std::array<uint64_t, kMaxPlanes> plane_row_bytes(const ForgedTensor& t) const {
    return row_bytes(t.encoding, params_of(t), static_cast<uint64_t>(t.cols));
  }
  static int64_t n_rows(const ForgedTensor& t) {
    return std::max<int64_t>(t.stack, 1) * std::max<int64_t>(t.rows, 1);
  }
  uint64_t tensor_bytes(const ForgedTensor& t) const {
    const auto bytes = plane_row_bytes(t);
    return (bytes[0] + bytes[1] + bytes[2]) * static_cast<uint64_t>(n_rows(t));
  }

  // ---- the bytes

  using Sink = RandomWeights::Sink;

  const RandomWeights& pool(Encoding encoding, double deviation) {
    const auto key = std::pair(encoding, deviation);
    const auto it = pools_.find(key);
    if (it != pools_.end()) return it->second;
    if (pools_.size() >= 4) pools_.clear();
    const EncodingParams params =
        encoding_info(encoding).family == Family::kAffine ? params_ : EncodingParams{};
    return pools_.emplace(key, RandomWeights(encoding, params, deviation, random_)).first->second;
  }

  void write_plane(const ForgedTensor& t, size_t plane, const Sink& sink) {
    const uint64_t bytes = plane_row_bytes(t)[plane];
    const auto rows = static_cast<uint64_t>(n_rows(t));
    switch (t.kind) {
      case Kind::kNorm:
        write_norm(t, sink);
        return;
      case Kind::kQkNorm:
        write_floats(t, around(1.0F, t.cols), sink);
        return;
      case Kind::kBias:
        write_floats(t, around(0.0F, t.cols), sink);
        return;
      case Kind::kRopeFactors:
        write_floats(t, gguf_rope_factors(spec_.rope), sink);
        return;
      case Kind::kRouter:
        write_router(t, sink);
        return;
      case Kind::kRandom:
        pool(t.encoding, t.deviation).write(plane, bytes * rows, random_, sink);
        return;
      case Kind::kWritesStream:
        write_stream_writer(t, plane, sink);
        return;
      case Kind::kEmbedding:
        write_embedding(t, plane, sink);
        return;
    }
  }

  std::vector<float> around(float mean, int64_t n) {
    std::vector<float> values(static_cast<size_t>(n), mean);
    std::normal_distribution<float> normal(mean, 0.3F);
    if (options_.varied)
      for (float& v : values) v = normal(random_);
    return values;
  }

  void write_floats(const ForgedTensor& t, const std::vector<float>& values, const Sink& sink) {
    std::vector<std::byte> row(plane_row_bytes(t)[0]);
    encode_row(t.encoding, {}, values.data(), t.cols, row);
    sink(row);
  }

  void write_norm(const ForgedTensor& t, const Sink& sink) {
    std::vector<float> values = around(1.0F, t.cols);
    for (size_t i = 0; i < values.size(); ++i) values[i] *= channel_factors_[i];
    write_floats(t, values, sink);
  }

  void write_router(const ForgedTensor& t, const Sink& sink) {
    std::vector<int64_t> rank(static_cast<size_t>(t.rows));
    std::iota(rank.begin(), rank.end(), 1);
    std::shuffle(rank.begin(), rank.end(), random_);
    // What is left of the constant after the norm, by a rough account of how the stream grows with depth.
    const double rms = std::sqrt(1.0 + kConstant * kConstant / static_cast<double>(spec_.hidden) +
                                 0.05 * static_cast<double>(t.layer));
    const double constant = kConstant / rms * static_cast<double>(channel_factors_[0]);
    std::normal_distribution<float> normal(0.0F, static_cast<float>(t.deviation));
    std::vector<float> row(static_cast<size_t>(t.cols));
    for (const int64_t r : rank) {
      for (float& v : row) v = normal(random_);
      if (options_.zipf > 0) {
        row[0] = static_cast<float>(-options_.zipf * std::log(static_cast<double>(r)) / constant);
      }
      write_floats(t, row, sink);
    }
  }

  void write_stream_writer(const ForgedTensor& t, size_t plane, const Sink& sink) {
    const uint64_t bytes = plane_row_bytes(t)[plane];
    const RandomWeights& weights = pool(t.encoding, t.deviation);
    if (options_.zipf <= 0) {
      weights.write(plane, bytes * static_cast<uint64_t>(n_rows(t)), random_, sink);
      return;
    }
    const std::vector<std::byte> zero(bytes);  // decodes to 0 in every encoding: scales are 0
    for (int64_t s = 0; s < std::max<int64_t>(t.stack, 1); ++s) {
      sink(zero);
      weights.write(plane, bytes * static_cast<uint64_t>(t.rows - 1), random_, sink);
    }
  }

  void write_embedding(const ForgedTensor& t, size_t plane, const Sink& sink) {
    const uint64_t bytes = plane_row_bytes(t)[plane];
    const RandomWeights& weights = pool(t.encoding, t.deviation);
    if (options_.zipf <= 0) {
      weights.write(plane, bytes * static_cast<uint64_t>(t.rows), random_, sink);
      return;
    }
    const EncodingParams params = params_of(t);
    const int64_t head = constant_channels();
    std::vector<float> values(static_cast<size_t>(head));
    values[0] = kConstant;
    const auto head_bytes = row_bytes(t.encoding, params, static_cast<uint64_t>(head));
    std::array<std::vector<std::byte>, kMaxPlanes> encoded;
    for (size_t p = 0; p < kMaxPlanes; ++p) encoded[p].resize(head_bytes[p]);
    encode_row(t.encoding, params, values.data(), head, encoded[0], encoded[1], encoded[2]);
    for (int64_t r = 0; r < t.rows; ++r) {
      sink(encoded[plane]);
      weights.write(plane, bytes - head_bytes[plane], random_, sink);
    }
  }

  void report(size_t n) {
    done_ += n;
    if (progress_ && done_ - reported_ >= (uint64_t{16} << 20)) progress_(reported_ = done_, total_);
  }

  // ---- the files

  static std::vector<uint64_t> shape_of(const ForgedTensor& t, int64_t last) {
    std::vector<uint64_t> shape;
    if (t.stack) shape.push_back(static_cast<uint64_t>(t.stack));
    if (t.rows) shape.push_back(static_cast<uint64_t>(t.rows));
    shape.push_back(static_cast<uint64_t>(last));
    return shape;
  }

  static std::string full_name(const ForgedTensor& t) {
    return t.kind == Kind::kBias ? t.name : t.name + ".weight";
  }

  void declare_gguf(GgufWriter& writer) const {
    write_gguf_spec(writer, gguf_arch(arch_), spec_, options_.shape);
    writer.add("general.name", GgufType::kString,
               "forged " + std::filesystem::path(options_.shape).filename().string());
    writer.add("general.quantization_version", GgufType::kU32, int64_t{2});
    add_vocabulary(writer, spec_.vocab);
    for (const ForgedTensor& t : tensors_)
      writer.declare_tensor(full_name(t), t.encoding, shape_of(t, t.cols));
  }

  void write_gguf() {
    GgufWriter writer(options_.out);
    declare_gguf(writer);
    writer.begin_data();
    for (const ForgedTensor& t : tensors_) {
      write_plane(t, 0, [&](std::span<const std::byte> bytes) { writer.write(bytes), report(bytes.size()); });
    }
    writer.commit();
  }

  void write_hf() {
    DirectoryWriter directory(options_.out);
    SafetensorsWriter writer(directory.file("model.safetensors"), affine_ ? "mlx" : "pt");
    static constexpr const char* kSuffix[] = {".weight", ".scales", ".biases"};
    for (const ForgedTensor& t : tensors_) {
      if (plane_count(t.encoding) == 1) {
        writer.declare_tensor(full_name(t), dtype(t.encoding), shape_of(t, t.cols));
        continue;
      }
      const int64_t words = t.cols * encoding_info(t.encoding).bits / 32;
      writer.declare_tensor(t.name + kSuffix[0], "U32", shape_of(t, words));
      for (const int p : {1, 2})
        writer.declare_tensor(t.name + kSuffix[p], "BF16", shape_of(t, t.cols / params_.group));
    }
    writer.begin_data();
    for (const ForgedTensor& t : tensors_) {
      WeightRandom before_scales;
      for (size_t p = 0; p < plane_count(t.encoding); ++p) {
        // Scales and biases belong together: the same cuts for both.
        if (p == 1) before_scales = random_;
        if (p == 2) random_ = before_scales;
        write_plane(t, p,
                    [&](std::span<const std::byte> bytes) { writer.write(bytes), report(bytes.size()); });
      }
    }
    nlohmann::ordered_json config = config_;
    config["torch_dtype"] = "bfloat16";
    if (affine_) {
      config["quantization"] = config["quantization_config"] = {
          {"group_size", params_.group}, {"bits", encoding_info(options_.encoding).bits}, {"mode", "affine"}};
    }
    writer.commit();
    write_text(directory.file("config.json"), config.dump(2));
    write_text(directory.file("tokenizer.json"), vocabulary_json(spec_.vocab));
    directory.commit();
  }

  static void write_text(const std::string& path, const std::string& text) {
    FileWriter file(path);
    file.write(std::as_bytes(std::span(text)));
    file.commit();
  }

  static const char* dtype(Encoding encoding) {
    switch (encoding) {
      case Encoding::kF32:
        return "F32";
      case Encoding::kF16:
        return "F16";
      default:
        return "BF16";
    }
  }

  const ForgeOptions& options_;
  const std::function<void(uint64_t, uint64_t)>& progress_;
  nlohmann::ordered_json config_;
  const ArchSpec& arch_;
  ModelSpec spec_;
  bool gguf_;
  bool affine_ = false;
  EncodingParams params_;
  WeightRandom random_;
  std::vector<float> channel_factors_;  // [hidden], of the norms of the residual stream
  std::vector<ForgedTensor> tensors_;
  std::map<std::pair<Encoding, double>, RandomWeights> pools_;
  uint64_t total_ = 0, done_ = 0, reported_ = 0;
  int64_t n_parameters_ = 0;
};

}  // namespace

ForgeResult forge(const ForgeOptions& options,
                  const std::function<void(uint64_t done, uint64_t total)>& progress) {
  return Forge(options, forge_config(options.shape), progress).run();
}

ForgedHeader forge_header(const nlohmann::ordered_json& config,
                          const std::function<Encoding(const OutlinedMatrix&)>& choose) {
  const ForgeOptions options = {.shape = "outline", .encoding = Encoding::kBF16};
  return Forge(options, config, {}).header(choose);
}

}  // namespace sluice
