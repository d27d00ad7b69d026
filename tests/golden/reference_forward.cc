#include "tests/golden/reference_forward.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>
#include <numeric>
#include <stdexcept>

#include "encoding/reference.h"
#include "format/checkpoint.h"
#include "format/gguf.h"

namespace sluice::test {
namespace {

using Vector = std::vector<double>;

struct Matrix {
  size_t rows = 0, cols = 0;
  Vector values;  // [rows, cols]
  Vector bias;    // [rows], or empty

  Vector operator()(const Vector& x) const {
    Vector y = bias.empty() ? Vector(rows) : bias;
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < cols; ++c) y[r] += values[r * cols + c] * x[c];
    }
    return y;
  }
};

// What the seven architectures differ in.
struct Config {
  std::string arch;  // Hugging Face's model_type; in GGUF, llama stands for Mistral and Mixtral too
  bool gguf = false;
  size_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0;
  double eps = 0, theta = 10000;
  size_t window = 0;                     // keys that a query sees, itself included; 0: all
  std::vector<bool> sliding;             // per layer
  size_t experts = 0, experts_used = 0;  // 0: dense
  std::vector<bool> sparse;              // per layer
  bool renormalise = false;              // the chosen experts' weights sum to 1
  double clip = 0;                       // OLMoE
  bool tied = false;
  // RoPE
  std::string scaling = "none";
  double factor = 1, original_context = 0, low = 1, high = 4, beta_fast = 32, beta_slow = 1;
  double attention_factor = 0;  // yarn; 0: by its formula
};

// A checkpoint's weights as numbers.
class Tensors {
 public:
  explicit Tensors(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  bool has(const std::string& name) const { return checkpoint_.find(name) != nullptr; }

  // Matrix `index` of a stack, or the whole tensor; with its bias if it has one.
  Matrix matrix(const std::string& name, size_t index = 0) const {
    const TensorInfo& weight = need(name + ".weight");
    std::vector<const TensorInfo*> planes = {&weight};
    WeightView view{
        .encoding = weight.encoding, .params = {}, .rows = 0, .cols = 0, .plane = {}, .stride = {}};
    view.rows = static_cast<int64_t>(weight.shape[weight.shape.size() - 2]);
    view.cols = static_cast<int64_t>(weight.shape.back());
    if (weight.dtype == "U32") {
      // MLX: `group` values share a scale, and 32-bit words hold as many values as fit.
      planes.push_back(&need(name + ".scales"));
      planes.push_back(&need(name + ".biases"));
      const auto& quantization = checkpoint_.config().at("quantization");
      const auto bits = quantization.at("bits").get<int64_t>();
      view.encoding = encoding_from_name("affine" + std::to_string(bits));
      view.params.group = quantization.at("group_size").get<uint16_t>();
      view.params.scale_type = ScaleType::kBF16;
      view.cols = view.cols * 32 / bits;
    }
    const size_t rows = static_cast<size_t>(view.rows), cols = static_cast<size_t>(view.cols);
    std::array<std::string, kMaxPlanes> bytes;
    for (size_t p = 0; p < planes.size(); ++p) {
      const uint64_t n_matrices = planes[p]->shape.size() == 3 ? planes[p]->shape[0] : 1;
      const uint64_t size = planes[p]->bytes / n_matrices;
      bytes[p] = read(*planes[p], index * size, size);
      view.plane[p] = reinterpret_cast<const std::byte*>(bytes[p].data());
      view.stride[p] = size / rows;
    }
    Matrix result{rows, cols, Vector(rows * cols), {}};
    std::vector<float> row(cols);
    for (size_t r = 0; r < rows; ++r) {
      decode_row(view, static_cast<int64_t>(r), row.data());
      std::copy(row.begin(), row.end(), result.values.begin() + static_cast<ptrdiff_t>(r * cols));
    }
    if (has(name + ".bias")) result.bias = vector(name + ".bias");
    return result;
  }

  Vector vector(const std::string& full_name) const {
    const TensorInfo& tensor = need(full_name);
    const std::string bytes = read(tensor, 0, tensor.bytes);
    WeightView view{
        .encoding = tensor.encoding, .params = {}, .rows = 1, .cols = 0, .plane = {}, .stride = {}};
    view.cols = static_cast<int64_t>(tensor.shape[0]);
    view.plane[0] = reinterpret_cast<const std::byte*>(bytes.data());
    std::vector<float> values(tensor.shape[0]);
    decode_row(view, 0, values.data());
    return {values.begin(), values.end()};
  }

 private:
  const TensorInfo& need(const std::string& full_name) const {
    const TensorInfo* tensor = checkpoint_.find(full_name);
    if (!tensor) throw std::runtime_error("no tensor " + full_name);
    return *tensor;
  }

  std::string read(const TensorInfo& tensor, uint64_t begin, uint64_t size) const {
    std::ifstream in(checkpoint_.files()[tensor.file], std::ios::binary);
    in.seekg(static_cast<std::streamoff>(tensor.offset + begin));
    std::string bytes(size, '\0');
    if (!in.read(bytes.data(), static_cast<std::streamsize>(size))) throw std::runtime_error("short read");
    return bytes;
  }

  const Checkpoint& checkpoint_;
};

Config read_json_config(const nlohmann::ordered_json& json) {
  Config c;
  c.arch = json.at("model_type");
  c.layers = json.at("num_hidden_layers");
  c.hidden = json.at("hidden_size");
  c.heads = json.at("num_attention_heads");
  c.kv_heads = json.value("num_key_value_heads", c.heads);
  c.head_dim = json.value("head_dim", c.hidden / c.heads);
  c.eps = json.at("rms_norm_eps");
  c.theta = json.at("rope_theta");
  c.tied = json.value("tie_word_embeddings", false);
  c.sliding.assign(c.layers, false);
  c.sparse.assign(c.layers, false);

  // Mistral and Mixtral slide in every layer; the Qwens only where they are told to, from a layer upwards.
  if (json.contains("sliding_window") && !json["sliding_window"].is_null()) {
    c.window = json["sliding_window"];
    for (size_t l = 0; l < c.layers; ++l) {
      if (c.arch == "mistral" || c.arch == "mixtral") c.sliding[l] = true;
      if (c.arch.starts_with("qwen") && json.value("use_sliding_window", false))
        c.sliding[l] = l >= json.value("max_window_layers", size_t{28});
    }
  }

  if (c.arch == "qwen3_moe" || c.arch == "mixtral" || c.arch == "olmoe") {
    c.experts = json.at(c.arch == "mixtral" ? "num_local_experts" : "num_experts");
    c.experts_used = json.at("num_experts_per_tok");
    c.renormalise = c.arch == "mixtral" || json.value("norm_topk_prob", false);
    for (size_t l = 0; l < c.layers; ++l) {
      const auto dense = json.value("mlp_only_layers", std::vector<size_t>{});
      c.sparse[l] = (l + 1) % json.value("decoder_sparse_step", size_t{1}) == 0 &&
                    std::count(dense.begin(), dense.end(), l) == 0;
    }
  }
  if (json.contains("clip_qkv") && !json["clip_qkv"].is_null()) c.clip = json["clip_qkv"];

  if (json.contains("rope_scaling") && !json["rope_scaling"].is_null()) {
    const auto& rope = json["rope_scaling"];
    c.scaling = rope.contains("rope_type") ? rope["rope_type"] : rope.at("type");
    c.factor = rope.at("factor");
    c.original_context =
        rope.value("original_max_position_embeddings", json.at("max_position_embeddings").get<double>());
    c.low = rope.value("low_freq_factor", 1.0);
    c.high = rope.value("high_freq_factor", 4.0);
    c.beta_fast = rope.value("beta_fast", 32.0);
    c.beta_slow = rope.value("beta_slow", 1.0);
    c.attention_factor = rope.value("attention_factor", 0.0);
  }
  return c;
}

Config read_gguf_config(const GgufMetadata& metadata, const Tensors& tensors) {
  Config c;
  c.gguf = true;
  c.arch = *metadata.string("general.architecture");
  const auto count = [&](const std::string& key) {
    return static_cast<size_t>(metadata.integer(c.arch + "." + key).value_or(0));
  };
  const auto number = [&](const std::string& key, double otherwise) {
    return metadata.number(c.arch + "." + key).value_or(otherwise);
  };
  c.layers = count("block_count");
  c.hidden = count("embedding_length");
  c.heads = count("attention.head_count");
  c.kv_heads = count("attention.head_count_kv");
  c.head_dim = count("attention.key_length");
  if (c.kv_heads == 0) c.kv_heads = c.heads;
  if (c.head_dim == 0) c.head_dim = c.hidden / c.heads;
  c.eps = number("attention.layer_norm_rms_epsilon", 0);
  c.theta = number("rope.freq_base", 10000);
  c.tied = !tensors.has("output.weight");
  c.window = count("attention.sliding_window");
  c.sliding.assign(c.layers, c.window > 0);
  c.experts = count("expert_count");
  c.experts_used = count("expert_used_count");
  c.sparse.assign(c.layers, c.experts > 0);
  c.renormalise = c.arch != "olmoe";
  c.clip = number("attention.clamp_kqv", 0);
  if (const std::string* scaling = metadata.string(c.arch + ".rope.scaling.type")) c.scaling = *scaling;
  c.factor = number("rope.scaling.factor", 1);
  c.original_context =
      number("rope.scaling.original_context_length", static_cast<double>(count("context_length")));
  c.beta_fast = number("rope.scaling.yarn_beta_fast", 32);
  c.beta_slow = number("rope.scaling.yarn_beta_slow", 1);
  return c;
}

Vector rms_norm(const Vector& x, const Vector& weight, double eps, size_t begin, size_t n) {
  double squares = 0;
  for (size_t i = 0; i < n; ++i) squares += x[begin + i] * x[begin + i];
  const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + eps);
  Vector y(n);
  for (size_t i = 0; i < n; ++i) y[i] = x[begin + i] * scale * weight[i];
  return y;
}

Vector rms_norm(const Vector& x, const Vector& weight, double eps) {
  return rms_norm(x, weight, eps, 0, x.size());
}

// Rotary embedding (Su et al. 2021): dimensions i and i + head_dim / 2 turn together.
class Rope {
 public:
  Rope(const Config& c, const Tensors& tensors) : half_(c.head_dim / 2) {
    const auto dims = static_cast<double>(c.head_dim);
    const Vector divisors = tensors.has("rope_freqs.weight") ? tensors.vector("rope_freqs.weight") : Vector();
    for (size_t i = 0; i < half_; ++i) {
      const double plain = 1 / std::pow(c.theta, 2 * static_cast<double>(i) / dims);
      double frequency = plain;
      if (!divisors.empty()) frequency = plain / divisors[i];
      if (c.scaling == "linear") frequency = plain / c.factor;
      if (c.scaling == "llama3") frequency = llama3(c, plain);
      if (c.scaling == "yarn") frequency = yarn(c, plain, static_cast<double>(i), dims);
      frequencies_.push_back(frequency);
    }
    if (c.scaling == "yarn") {
      // Peng et al. 2023, eq. 22: sqrt(1/t) = 0.1 ln(s) + 1, here on both q and k.
      magnitude_ = c.attention_factor > 0 ? c.attention_factor : 0.1 * std::log(c.factor) + 1;
    }
  }

  void turn(Vector& x, size_t position) const {
    for (size_t begin = 0; begin < x.size(); begin += 2 * half_) {
      for (size_t i = 0; i < half_; ++i) {
        const double angle = static_cast<double>(position) * frequencies_[i];
        const double a = x[begin + i], b = x[begin + i + half_];
        x[begin + i] = magnitude_ * (a * std::cos(angle) - b * std::sin(angle));
        x[begin + i + half_] = magnitude_ * (b * std::cos(angle) + a * std::sin(angle));
      }
    }
  }

 private:
  // Llama 3.1: by wavelength, long ones are stretched, short ones kept, those between blended.
  static double llama3(const Config& c, double frequency) {
    const double wavelength = 2 * std::numbers::pi / frequency;
    const double longest = c.original_context / c.low, shortest = c.original_context / c.high;
    if (wavelength > longest) return frequency / c.factor;
    if (wavelength < shortest) return frequency;
    const double kept = (c.original_context / wavelength - c.low) / (c.high - c.low);
    return kept * frequency + (1 - kept) * frequency / c.factor;
  }

  // YaRN, "NTK by parts": between the dimensions that turn beta_fast and beta_slow times within the original
  // context, a ramp from extrapolation to interpolation.
  static double yarn(const Config& c, double frequency, double i, double dims) {
    const auto dimension = [&](double turns) {
      return dims * std::log(c.original_context / (turns * 2 * std::numbers::pi)) / (2 * std::log(c.theta));
    };
    const double low = std::max(std::floor(dimension(c.beta_fast)), 0.0);
    const double high = std::min(std::ceil(dimension(c.beta_slow)), dims - 1);
    const double ramp = std::clamp((i - low) / std::max(high - low, 0.001), 0.0, 1.0);
    return (1 - ramp) * frequency + ramp * frequency / c.factor;
  }

  size_t half_;
  Vector frequencies_;
  double magnitude_ = 1;
};

Vector swiglu(const Matrix& gate, const Matrix& up, const Matrix& down, const Vector& x) {
  const Vector g = gate(x), u = up(x);
  Vector middle(g.size());
  for (size_t i = 0; i < g.size(); ++i) middle[i] = g[i] / (1 + std::exp(-g[i])) * u[i];
  return down(middle);
}

Vector softmax(Vector x) {
  const double best = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (double& v : x) sum += v = std::exp(v - best);
  for (double& v : x) v /= sum;
  return x;
}

void add(Vector& x, const Vector& y, double scale = 1) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += scale * y[i];
}

class Reference {
 public:
  explicit Reference(const Checkpoint& checkpoint)
      : t_(checkpoint),
        c_(checkpoint.family() == CheckpointFamily::kGguf ? read_gguf_config(checkpoint.metadata(), t_)
                                                          : read_json_config(checkpoint.config())),
        rope_(c_, t_) {}

  ReferenceResult run(const std::vector<int32_t>& tokens) const {
    const Matrix embedding = t_.matrix(c_.gguf ? "token_embd" : "model.embed_tokens");
    std::vector<Vector> stream;  // [n_tokens][hidden]
    for (const int32_t token : tokens) {
      const auto row =
          embedding.values.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(token) * c_.hidden);
      stream.emplace_back(row, row + static_cast<ptrdiff_t>(c_.hidden));
    }
    for (size_t l = 0; l < c_.layers; ++l) {
      attention(l, stream);
      feed_forward(l, stream);
    }
    const Vector norm = t_.vector(c_.gguf ? "output_norm.weight" : "model.norm.weight");
    const Matrix head = c_.tied ? embedding : t_.matrix(c_.gguf ? "output" : "lm_head");
    ReferenceResult result{static_cast<int64_t>(head.rows), {}};
    for (const Vector& x : stream) {
      const Vector row = head(rms_norm(x, norm, c_.eps));
      result.logits.insert(result.logits.end(), row.begin(), row.end());
    }
    return result;
  }

 private:
  std::string name(size_t layer, const std::string& hf, const std::string& gguf) const {
    return c_.gguf ? "blk." + std::to_string(layer) + "." + gguf
                   : "model.layers." + std::to_string(layer) + "." + hf;
  }

  // GGUF's llama files hold the rows of each query and key head interleaved (0, d/2, 1, d/2 + 1, ...), so
  // that neighbours turn together; this puts them back.
  Matrix query_or_key(const std::string& tensor) const {
    const Matrix stored = t_.matrix(tensor);
    if (!c_.gguf || c_.arch != "llama") return stored;
    Matrix m = stored;
    const size_t half = c_.head_dim / 2;
    for (size_t r = 0; r < m.rows; ++r) {
      const size_t head = r / c_.head_dim * c_.head_dim, i = r % c_.head_dim;
      const size_t from = head + (i < half ? 2 * i : 2 * (i - half) + 1);
      std::copy_n(stored.values.begin() + static_cast<ptrdiff_t>(from * m.cols), m.cols,
                  m.values.begin() + static_cast<ptrdiff_t>(r * m.cols));
      if (!m.bias.empty()) m.bias[r] = stored.bias[from];
    }
    return m;
  }

  // Qwen3 norms each head by itself, OLMoE all heads at once.
  Vector normed(const Vector& x, const Vector& weight) const {
    Vector result;
    for (size_t begin = 0; begin < x.size(); begin += weight.size()) {
      const Vector part = rms_norm(x, weight, c_.eps, begin, weight.size());
      result.insert(result.end(), part.begin(), part.end());
    }
    return result;
  }

  void attention(size_t l, std::vector<Vector>& stream) const {
    const Vector norm = t_.vector(name(l, "input_layernorm.weight", "attn_norm.weight"));
    const Matrix wq = query_or_key(name(l, "self_attn.q_proj", "attn_q"));
    const Matrix wk = query_or_key(name(l, "self_attn.k_proj", "attn_k"));
    const Matrix wv = t_.matrix(name(l, "self_attn.v_proj", "attn_v"));
    const Matrix wo = t_.matrix(name(l, "self_attn.o_proj", "attn_output"));
    Vector q_norm, k_norm;
    if (c_.arch.starts_with("qwen3") || c_.arch == "olmoe") {
      q_norm = t_.vector(name(l, "self_attn.q_norm.weight", "attn_q_norm.weight"));
      k_norm = t_.vector(name(l, "self_attn.k_norm.weight", "attn_k_norm.weight"));
    }

    std::vector<Vector> keys, values;
    for (size_t position = 0; position < stream.size(); ++position) {
      const Vector x = rms_norm(stream[position], norm, c_.eps);
      Vector q = wq(x), k = wk(x), v = wv(x);
      if (!q_norm.empty()) q = normed(q, q_norm), k = normed(k, k_norm);
      if (c_.clip > 0) {  // behind the norms
        for (Vector* row : {&q, &k, &v})
          for (double& value : *row) value = std::clamp(value, -c_.clip, c_.clip);
      }
      rope_.turn(q, position);
      rope_.turn(k, position);
      keys.push_back(k);
      values.push_back(v);

      const size_t seen = c_.sliding[l] ? std::min(position + 1, c_.window) : position + 1;
      const size_t first = position + 1 - seen;
      Vector mixed(c_.heads * c_.head_dim);
      for (size_t h = 0; h < c_.heads; ++h) {
        const size_t at = h * c_.head_dim;
        const size_t kv_at = h / (c_.heads / c_.kv_heads) * c_.head_dim;
        Vector scores(seen);
        for (size_t s = 0; s < seen; ++s) {
          for (size_t i = 0; i < c_.head_dim; ++i) scores[s] += q[at + i] * keys[first + s][kv_at + i];
          scores[s] /= std::sqrt(static_cast<double>(c_.head_dim));
        }
        scores = softmax(scores);
        for (size_t s = 0; s < seen; ++s) {
          for (size_t i = 0; i < c_.head_dim; ++i) mixed[at + i] += scores[s] * values[first + s][kv_at + i];
        }
      }
      add(stream[position], wo(mixed));
    }
  }

  void feed_forward(size_t l, std::vector<Vector>& stream) const {
    const Vector norm = t_.vector(name(l, "post_attention_layernorm.weight", "ffn_norm.weight"));
    if (!c_.sparse[l]) {
      const Matrix gate = t_.matrix(name(l, "mlp.gate_proj", "ffn_gate"));
      const Matrix up = t_.matrix(name(l, "mlp.up_proj", "ffn_up"));
      const Matrix down = t_.matrix(name(l, "mlp.down_proj", "ffn_down"));
      for (Vector& x : stream) add(x, swiglu(gate, up, down, rms_norm(x, norm, c_.eps)));
      return;
    }

    const std::string block = c_.arch == "mixtral" ? "block_sparse_moe." : "mlp.";
    const Matrix router = t_.matrix(name(l, block + "gate", "ffn_gate_inp"));
    std::map<size_t, std::array<Matrix, 3>> loaded;
    for (Vector& x : stream) {
      const Vector input = rms_norm(x, norm, c_.eps);
      const Vector odds = softmax(router(input));
      std::vector<size_t> order(c_.experts);
      std::iota(order.begin(), order.end(), size_t{0});
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return odds[a] > odds[b]; });
      double total = 0;
      for (size_t i = 0; i < c_.experts_used; ++i) total += odds[order[i]];
      for (size_t i = 0; i < c_.experts_used; ++i) {
        const size_t e = order[i];
        if (!loaded.count(e)) loaded[e] = expert(l, block, e);
        const auto& [gate, up, down] = loaded[e];
        add(x, swiglu(gate, up, down, input), c_.renormalise ? odds[e] / total : odds[e]);
      }
    }
  }

  // Gate, up, down: stacked in GGUF and MLX, else one tensor each; Mixtral calls them w1, w3, w2.
  std::array<Matrix, 3> expert(size_t l, const std::string& block, size_t e) const {
    if (c_.gguf) {
      return {t_.matrix(name(l, "", "ffn_gate_exps"), e), t_.matrix(name(l, "", "ffn_up_exps"), e),
              t_.matrix(name(l, "", "ffn_down_exps"), e)};
    }
    const std::string stack = name(l, block + "switch_mlp.", "");
    if (t_.has(stack + "gate_proj.weight"))
      return {t_.matrix(stack + "gate_proj", e), t_.matrix(stack + "up_proj", e),
              t_.matrix(stack + "down_proj", e)};
    const std::string one = name(l, block + "experts." + std::to_string(e) + ".", "");
    if (c_.arch == "mixtral") return {t_.matrix(one + "w1"), t_.matrix(one + "w3"), t_.matrix(one + "w2")};
    return {t_.matrix(one + "gate_proj"), t_.matrix(one + "up_proj"), t_.matrix(one + "down_proj")};
  }

  Tensors t_;
  Config c_;
  Rope rope_;
};

}  // namespace

ReferenceResult reference_forward(const std::string& path, const std::vector<int32_t>& tokens) {
  const auto checkpoint = Checkpoint::open(path);
  return Reference(*checkpoint).run(tokens);
}

}  // namespace sluice::test
