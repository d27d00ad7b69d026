#include "compress/plan.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "encoding/encode.h"
#include "encoding/half.h"
#include "model/spec_writer.h"

namespace sluice {
namespace {

constexpr uint16_t kRouterGroup = 64;

bool is_affine(Encoding encoding) { return encoding_info(encoding).family == Family::kAffine; }
bool is_float(Encoding encoding) { return encoding_info(encoding).family == Family::kFloat; }

bool ends_with(std::string_view text, std::string_view suffix) {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

bool all_are_bf16(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return bf16_to_f32(f32_to_bf16(v)) == v; });
}

class Planner {
 public:
  Planner(const Checkpoint& source, const CompressOptions& options) : source_(source), options_(options) {
    plan_.family = ends_with(options.out, ".gguf") ? CheckpointFamily::kGguf : CheckpointFamily::kHuggingFace;
    plan_.source_family = source.family();
    gguf_ = plan_.family == CheckpointFamily::kGguf;
    check_options();
    plan_.source_arch = &find_arch(source);
    plan_.model = bind(source);
    plan_.arch = gguf_ ? &gguf_arch(*plan_.source_arch) : &hf_arch(*plan_.source_arch, plan_.model.spec);
    if (plan_.model.spec.tied_head && options.head) {
      throw_error(ErrorKind::kInvalid, "--head: the head of %s is its embedding; use --embedding",
                  source.path().c_str());
    }
    if (!plan_.model.spec.is_moe() && options.router) {
      throw_error(ErrorKind::kInvalid, "--router: %s has no experts", source.path().c_str());
    }
  }

  CompressPlan run() {
    const ModelSpec& spec = plan_.model.spec;
    const TensorNames& n = names();
    const Encoding all = options_.encoding;
    if (plan_.source_family != plan_.family) {
      if (gguf_ && plan_.arch->name == "llama") order_ = RowOrder::kHalvesToPairs;
      if (!gguf_ && spec.rope.style == RopeStyle::kPairs) order_ = RowOrder::kPairsToHalves;
    }
    if (order_ != RowOrder::kSame && spec.rope.rotary_dim != spec.head_dim) {
      throw_error(ErrorKind::kUnsupported,
                  "%s: RoPE over %lld of %lld dimensions cannot pass between GGUF and Hugging Face",
                  source_.path().c_str(), static_cast<long long>(spec.rope.rotary_dim),
                  static_cast<long long>(spec.head_dim));
    }

    matrix(n.embedding, 0, TensorKind::kEmbedding, plan_.model.embedding, options_.embedding.value_or(all));
    const std::vector<float> factors = gguf_ ? gguf_rope_factors(spec.rope) : std::vector<float>();
    if (!factors.empty()) vector("rope_freqs.weight", factors, Encoding::kF32);
    for (int64_t l = 0; l < spec.n_layers; ++l) layer(l);
    norm(n.final_norm, 0, plan_.model.final_norm, plan_.source_names().final_norm);
    if (!spec.tied_head) {
      matrix(n.head, 0, TensorKind::kHead, plan_.model.head, options_.head.value_or(all));
    }
    return std::move(plan_);
  }

 private:
  void check_options() const {
    const auto check = [&](const char* option, Encoding encoding) {
      const char* name = encoding_info(encoding).name.data();
      if (!can_encode(encoding)) {
        throw_error(ErrorKind::kUnsupported,
                    "%s %s: there is no encoder for it; there are f32, f16, bf16, q4_0, q8_0 and affine2, 3, "
                    "4, 5, 6, 8",
                    option, name);
      }
      if (gguf_ ? is_affine(encoding) : !is_affine(encoding) && !is_float(encoding)) {
        throw_error(ErrorKind::kInvalid, "%s %s cannot be stored in a %s; name the output %s", option, name,
                    gguf_ ? "GGUF file" : "Hugging Face directory",
                    gguf_ ? "without .gguf for a directory" : "something.gguf");
      }
    };
    check("--to", options_.encoding);
    if (options_.embedding) check("--embedding", *options_.embedding);
    if (options_.head) check("--head", *options_.head);
    if (options_.router) check("--router", *options_.router);
    if (options_.group != 32 && options_.group != 64 && options_.group != 128) {
      throw_error(ErrorKind::kInvalid, "--group %u: affine groups are of 32, 64 or 128",
                  unsigned{options_.group});
    }
  }

  const TensorNames& names() const { return gguf_ ? *plan_.arch->gguf_names : *plan_.arch->hf_names; }

  // The encoding of a matrix, or the float type that stands in where its rows are not whole blocks.
  void choose_encoding(PlannedTensor& t, Encoding wanted, uint16_t group) const {
    const WeightRef& ref = t.source.front();
    const auto cols = static_cast<uint64_t>(t.cols);
    if (is_affine(wanted)) {
      // Scales are of the source's type, but f32 would only make them larger.
      t.params.scale_type = ScaleType::kBF16;
      if (ref.encoding == Encoding::kF16) t.params.scale_type = ScaleType::kF16;
      if (is_affine(ref.encoding)) t.params.scale_type = ref.params.scale_type;
      for (t.params.group = group; t.params.group > 32 && cols % t.params.group != 0;) t.params.group /= 2;
    }
    t.encoding = wanted;
    if (cols_fit(wanted, t.params, cols)) return;
    t.params = {};
    t.encoding = ref.encoding == Encoding::kF16 ? Encoding::kF16 : Encoding::kBF16;
  }

  void add(std::string name, TensorKind kind, int64_t stack, int64_t rows, int64_t cols,
           std::vector<WeightRef> source, Encoding wanted) {
    PlannedTensor t;
    t.name = std::move(name);
    t.kind = kind;
    t.stack = stack;
    t.rows = rows;
    t.cols = cols;
    t.source = std::move(source);
    const bool keeps_router = kind == TensorKind::kRouter && !options_.router;
    choose_encoding(t, wanted, keeps_router ? kRouterGroup : options_.group);
    plan_.tensors.push_back(std::move(t));
  }

  void matrix(std::string_view pattern, int64_t l, TensorKind kind, const Weight& weight, Encoding wanted) {
    const std::string name = tensor_name(pattern, l);
    add(name, kind, 0, weight.rows, weight.cols, weight.pieces, wanted);
    if (!weight.bias.empty())
      vector(name + ".bias", weight.bias, vector_encoding(weight.name + ".bias", weight.bias));
  }

  // As matrix(), with the rows of each head in the target's order.
  void rotated(std::string_view pattern, int64_t l, const Weight& weight) {
    const size_t first = plan_.tensors.size();
    matrix(pattern, l, TensorKind::kAttention, weight, options_.encoding);
    for (size_t i = first; i < plan_.tensors.size(); ++i) {
      PlannedTensor& t = plan_.tensors[i];
      t.order = order_;
      t.head_dim = plan_.model.spec.head_dim;
      if (t.rows > 0) continue;
      for (size_t c = 0; c < t.values.size(); ++c)
        t.values[c] = weight.bias[static_cast<size_t>(t.source_row(static_cast<int64_t>(c)))];
    }
  }

  // Vectors keep the type that they have in a Hugging Face source; what comes from GGUF is bf16 if that
  // loses nothing.
  Encoding vector_encoding(const std::string& source_name, const std::vector<float>& values) const {
    if (gguf_) return Encoding::kF32;
    if (source_.family() == CheckpointFamily::kHuggingFace) return source_.find(source_name)->encoding;
    return all_are_bf16(values) ? Encoding::kBF16 : Encoding::kF32;
  }

  void vector(std::string name, const std::vector<float>& values, Encoding encoding) {
    PlannedTensor t;
    t.name = std::move(name);
    t.encoding = encoding;
    t.cols = static_cast<int64_t>(values.size());
    t.values = values;
    plan_.tensors.push_back(std::move(t));
  }

  void norm(std::string_view pattern, int64_t l, const std::vector<float>& values,
            std::string_view source_pattern) {
    vector(tensor_name(pattern, l) + ".weight", values,
           vector_encoding(tensor_name(source_pattern, l) + ".weight", values));
  }

  void layer(int64_t l) {
    const LayerWeights& w = plan_.model.layers[static_cast<size_t>(l)];
    const TensorNames &n = names(), &from = plan_.source_names();
    norm(n.attention_norm, l, w.attention_norm, from.attention_norm);
    rotated(n.q, l, w.q);
    rotated(n.k, l, w.k);
    matrix(n.v, l, TensorKind::kAttention, w.v, options_.encoding);
    matrix(n.o, l, TensorKind::kAttention, w.o, options_.encoding);
    if (!w.q_norm.empty()) {
      norm(n.q_norm, l, w.q_norm, from.q_norm);
      norm(n.k_norm, l, w.k_norm, from.k_norm);
    }
    norm(n.ffn_norm, l, w.ffn_norm, from.ffn_norm);
    if (plan_.model.spec.layers[static_cast<size_t>(l)].ffn == FfnKind::kDense) {
      matrix(n.gate, l, TensorKind::kFfn, w.gate, options_.encoding);
      matrix(n.up, l, TensorKind::kFfn, w.up, options_.encoding);
      matrix(n.down, l, TensorKind::kFfn, w.down, options_.encoding);
      return;
    }
    matrix(n.router, l, TensorKind::kRouter, w.router, router_encoding(w.router));
    experts(n.experts_gate, n.expert_gate, l, w.experts, w.experts.gate);
    experts(n.experts_up, n.expert_up, l, w.experts, w.experts.up);
    experts(n.experts_down, n.expert_down, l, w.experts, w.experts.down);
  }

  Encoding router_encoding(const Weight& router) const {
    if (options_.router) return *options_.router;
    if (gguf_) return Encoding::kF32;  // as readers of GGUF files expect it
    if (is_affine(options_.encoding)) return Encoding::kAffine8;
    const bool keeps = source_.family() == CheckpointFamily::kHuggingFace && is_float(router.encoding);
    return keeps ? router.encoding : options_.encoding;
  }

  // Stacked as MLX and GGUF have them; plain Hugging Face checkpoints have one tensor per expert.
  void experts(std::string_view stacked, std::string_view single, int64_t l, const ExpertWeights& experts,
               const WeightRef& first) {
    const int64_t n = plan_.model.spec.n_experts;
    std::vector<WeightRef> refs;
    for (int64_t e = 0; e < n; ++e) refs.push_back(ExpertWeights::of(first, experts.unit(e)));
    if (gguf_ || is_affine(options_.encoding)) {
      add(tensor_name(stacked, l), TensorKind::kExperts, n, first.rows, first.cols, std::move(refs),
          options_.encoding);
      return;
    }
    for (int64_t e = 0; e < n; ++e) {
      add(tensor_name(single, l, e), TensorKind::kExperts, 0, first.rows, first.cols,
          {refs[static_cast<size_t>(e)]}, options_.encoding);
    }
  }

  const Checkpoint& source_;
  const CompressOptions& options_;
  bool gguf_ = false;
  RowOrder order_ = RowOrder::kSame;
  CompressPlan plan_;
};

}  // namespace

std::string_view tensor_kind_name(TensorKind kind) noexcept {
  static constexpr std::string_view kNames[] = {"embedding", "attention",       "ffn", "experts", "router",
                                                "head",      "norms and biases"};
  return kNames[static_cast<size_t>(kind)];
}

int64_t PlannedTensor::n_rows() const noexcept {
  return std::max<int64_t>(stack, 1) * std::max<int64_t>(rows, 1);
}

uint64_t PlannedTensor::bytes() const noexcept {
  const auto row = row_bytes(encoding, params, static_cast<uint64_t>(cols));
  return (row[0] + row[1] + row[2]) * static_cast<uint64_t>(n_rows());
}

int64_t PlannedTensor::source_row(int64_t row) const noexcept {
  if (order == RowOrder::kSame) return row;
  const int64_t head = row / head_dim * head_dim, in_head = row % head_dim, half = head_dim / 2;
  return head + (order == RowOrder::kHalvesToPairs ? in_head % 2 * half + in_head / 2
                                                   : in_head % half * 2 + in_head / half);
}

std::vector<uint64_t> PlannedTensor::shape(int64_t last) const {
  std::vector<uint64_t> shape;
  if (stack > 0) shape.push_back(static_cast<uint64_t>(stack));
  if (rows > 0) shape.push_back(static_cast<uint64_t>(rows));
  shape.push_back(static_cast<uint64_t>(last));
  return shape;
}

const TensorNames& CompressPlan::source_names() const noexcept {
  return source_family == CheckpointFamily::kGguf ? *source_arch->gguf_names : *source_arch->hf_names;
}

uint64_t CompressPlan::bytes() const noexcept {
  uint64_t sum = 0;
  for (const PlannedTensor& t : tensors) sum += t.bytes();
  return sum;
}

CompressPlan plan_compression(const Checkpoint& source, const CompressOptions& options) {
  return Planner(source, options).run();
}

}  // namespace sluice
