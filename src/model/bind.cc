// Where strings end: from tensor names and config fields to references. Each tensor's shape and encoding is
// checked here, once, and a tensor of a layer that the architecture does not know is refused rather than
// silently left out of the arithmetic.
#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/align.h"
#include "base/error.h"
#include "encoding/reference.h"
#include "encoding/woven.h"
#include "format/gguf.h"
#include "model/arch_spec.h"
#include "model/bound_model.h"
#include "model/config_reader.h"
#include "platform/file.h"

namespace sluice {
namespace {

// A matrix as the files have it: one tensor, or three for MLX affine; `stack` matrices one after another.
struct MatrixSource {
  std::string name;
  Encoding encoding = Encoding::kF32;
  EncodingParams params;
  std::array<const TensorInfo*, kMaxPlanes> planes = {};
  std::array<uint64_t, kMaxPlanes> row_bytes = {};
  int64_t rows = 0, cols = 0;

  size_t n_planes() const { return plane_count(encoding); }
  // Rows [begin, begin + n) of matrix `index` of the stack.
  Extent extent(size_t plane, int64_t index, int64_t begin, int64_t n) const {
    const TensorInfo& tensor = *planes[plane];
    const auto first = static_cast<uint64_t>(index * rows + begin);
    return {tensor.file, tensor.offset + first * row_bytes[plane],
            static_cast<uint64_t>(n) * row_bytes[plane]};
  }
};

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

class Binder {
 public:
  Binder(const Checkpoint& checkpoint, const ArchSpec& arch, ModelSpec spec, uint32_t expert_parts)
      : checkpoint_(checkpoint),
        expert_parts_(expert_parts),
        names_(checkpoint.family() == CheckpointFamily::kGguf ? *arch.gguf_names : *arch.hf_names) {
    model_.spec = std::move(spec);
    model_.files = checkpoint.files();
    for (const std::string& path : model_.files) files_.push_back(File::open(path));
  }

  BoundModel run() {
    ModelSpec& spec = model_.spec;
    const std::string embedding_name(names_.embedding);
    if (spec.vocab == 0) spec.vocab = static_cast<int64_t>(dimension(embedding_name, 0));
    const std::string head_name(names_.head);
    spec.tied_head = spec.tied_head || !has(head_name);

    if (!spec.tied_head) {
      const MatrixSource source = matrix(embedding_name, spec.vocab, spec.hidden);
      model_.embedding = in_pieces(source, UnitKind::kByRow, source.rows, /*may_be_woven=*/false);
    }
    if (const TensorInfo* factors = checkpoint_.find("rope_freqs.weight")) {
      spec.rope.scaling = RopeScaling::kFactors;
      spec.rope.factors = vector("rope_freqs", spec.rope.rotary_dim / 2);
      used_.insert(factors->name);
    }
    for (int64_t l = 0; l < spec.n_layers; ++l) model_.layers.push_back(layer(l));
    model_.final_norm = vector(std::string(names_.final_norm), spec.hidden);
    model_.head = dense(spec.tied_head ? embedding_name : head_name, spec.vocab, spec.hidden);
    if (spec.tied_head) model_.embedding = model_.head;
    refuse_unknown();
    return std::move(model_);
  }

 private:
  // ---- what the files have

  const TensorInfo* find(const std::string& name) { return checkpoint_.find(name + ".weight"); }
  bool has(const std::string& name) { return find(name) != nullptr; }

  const TensorInfo& need(const std::string& full_name) {
    const TensorInfo* tensor = checkpoint_.find(full_name);
    if (!tensor) {
      throw_error(ErrorKind::kCorrupt, "%s: tensor '%s' is missing; is the download complete?",
                  checkpoint_.path().c_str(), full_name.c_str());
    }
    used_.insert(tensor->name);
    return *tensor;
  }

  uint64_t dimension(const std::string& name, size_t i) {
    const TensorInfo& tensor = need(name + ".weight");
    if (tensor.shape.size() <= i || tensor.shape[i] < 1 || tensor.shape[i] > (uint64_t{1} << 24)) {
      refuse(tensor, "a matrix");
    }
    return tensor.shape[i];
  }

  [[noreturn]] void refuse(const TensorInfo& tensor, const std::string& wanted) {
    throw_error(ErrorKind::kCorrupt, "%s: tensor '%s' is %s %s; %s was expected",
                model_.files[tensor.file].c_str(), printable(tensor.name).c_str(), tensor.dtype.c_str(),
                shape_text(tensor.shape).c_str(), wanted.c_str());
  }

  void expect_shape(const TensorInfo& tensor, const std::vector<uint64_t>& shape) {
    if (tensor.shape != shape) refuse(tensor, "shape " + shape_text(shape));
  }

  // ---- matrices

  // `name` [rows, cols], or [stack, rows, cols] for stack > 0.
  MatrixSource matrix(const std::string& name, int64_t rows, int64_t cols, int64_t stack = 0) {
    MatrixSource source{.name = name, .rows = rows, .cols = cols};
    const TensorInfo& values = need(name + ".weight");
    source.planes[0] = &values;
    const auto shape_of = [&](int64_t last) {
      std::vector<uint64_t> shape = {static_cast<uint64_t>(rows), static_cast<uint64_t>(last)};
      if (stack > 0) shape.insert(shape.begin(), static_cast<uint64_t>(stack));
      return shape;
    };
    if (values.encoding != Encoding::kCount) {
      source.encoding = values.encoding;
      expect_shape(values, shape_of(cols));
    } else if (values.dtype == "U32" && checkpoint_.find(name + ".scales")) {
      affine(source, values, shape_of);
    } else {
      throw_error(ErrorKind::kUnsupported,
                  "%s: tensor '%s' is stored as %s, which is not supported; use a checkpoint in bf16, f16, "
                  "f32, MLX affine "
                  "or a common GGUF quantisation",
                  model_.files[values.file].c_str(), printable(values.name).c_str(),
                  printable(values.dtype).c_str());
    }
    if (!cols_fit(source.encoding, source.params, static_cast<uint64_t>(cols))) {
      refuse(values, "rows of whole " + std::string(encoding_info(source.encoding).name) + " blocks");
    }
    source.row_bytes = row_bytes(source.encoding, source.params, static_cast<uint64_t>(cols));
    return source;
  }

  // Bits and group follow from the shapes; config.json's `quantization` must agree.
  template <typename ShapeOf>
  void affine(MatrixSource& source, const TensorInfo& values, const ShapeOf& shape_of) {
    const TensorInfo& scales = need(source.name + ".scales");
    const TensorInfo& biases = need(source.name + ".biases");
    source.planes[1] = &scales;
    source.planes[2] = &biases;
    const auto cols = static_cast<uint64_t>(source.cols);
    const uint64_t words = values.shape.empty() ? 0 : values.shape.back();
    const uint64_t groups = scales.shape.empty() ? 0 : scales.shape.back();
    const uint64_t bits = words < cols ? words * 32 / cols : 0;
    if (bits < 2 || bits > 8 || bits == 7 || words * 32 != bits * cols)
      refuse(values, "a row of 2 to 8 bit values");
    if (groups == 0 || cols % groups != 0) refuse(scales, "one scale per group of 32, 64 or 128");
    static constexpr Encoding kByBits[] = {Encoding::kAffine2, Encoding::kAffine3, Encoding::kAffine4,
                                           Encoding::kAffine5, Encoding::kAffine6, Encoding::kCount,
                                           Encoding::kAffine8};
    source.encoding = kByBits[bits - 2];
    source.params.group = static_cast<uint16_t>(std::min<uint64_t>(cols / groups, UINT16_MAX));
    switch (scales.encoding) {
      case Encoding::kF32:
        source.params.scale_type = ScaleType::kF32;
        break;
      case Encoding::kF16:
        source.params.scale_type = ScaleType::kF16;
        break;
      case Encoding::kBF16:
        source.params.scale_type = ScaleType::kBF16;
        break;
      default:
        refuse(scales, "a float type");
    }
    if (biases.encoding != scales.encoding) refuse(biases, "the type of the scales, " + scales.dtype);
    expect_shape(values, shape_of(static_cast<int64_t>(words)));
    expect_shape(scales, shape_of(static_cast<int64_t>(groups)));
    expect_shape(biases, shape_of(static_cast<int64_t>(groups)));
    check_quantization(source, static_cast<int64_t>(bits));
  }

  void check_quantization(const MatrixSource& source, int64_t bits) {
    const auto& config = checkpoint_.config();
    const auto it = config.find("quantization");
    if (it == config.end() || !it->is_object()) return;
    const nlohmann::ordered_json* entry = &*it;
    if (const auto layer = it->find(source.name); layer != it->end() && layer->is_object()) entry = &*layer;
    if (const auto mode = entry->find("mode"); mode != entry->end() && *mode != "affine") {
      throw_error(ErrorKind::kUnsupported,
                  "%s: tensor '%s' is quantised in mode %s; only affine is supported",
                  checkpoint_.path().c_str(), source.name.c_str(), printable(mode->dump()).c_str());
    }
    const auto declared = [&](const char* key, int64_t found) {
      const auto value = entry->find(key);
      if (value == entry->end() || (value->is_number_integer() && value->get<int64_t>() == found)) return;
      throw_error(ErrorKind::kCorrupt,
                  "%s/config.json: quantization says %s %s for '%s', but its tensors have %lld",
                  checkpoint_.path().c_str(), key, printable(value->dump()).c_str(), source.name.c_str(),
                  static_cast<long long>(found));
    };
    declared("bits", bits);
    declared("group_size", source.params.group);
  }

  WeightRef add_extents(UnitSpec& unit, UnitId id, const MatrixSource& source, int64_t index, int64_t begin,
                        int64_t n, bool may_be_woven = true) {
    WeightRef ref{.unit = id,
                  .first_extent = static_cast<uint8_t>(unit.extents.size()),
                  .encoding = source.encoding,
                  .params = source.params,
                  .rows = n,
                  .cols = source.cols};
    bool can_be_woven = may_be_woven;
    for (size_t p = 0; p < source.n_planes(); ++p) {
      can_be_woven = can_be_woven && weavable_rows(n, source.row_bytes[p]) > 0;
    }
    for (size_t p = 0; p < source.n_planes(); ++p) {
      unit.extents.push_back(source.extent(p, index, begin, n));
      if (!can_be_woven) continue;
      unit.extents.back().row_bytes = source.row_bytes[p];
      unit.extents.back().encoding = source.encoding;
    }
    return ref;
  }

  Weight in_pieces(const MatrixSource& source, UnitKind kind, int64_t piece_rows, bool may_be_woven = true) {
    Weight weight{.name = source.name,
                  .encoding = source.encoding,
                  .params = source.params,
                  .rows = source.rows,
                  .cols = source.cols};
    for (int64_t begin = 0; begin < source.rows; begin += piece_rows) {
      const int64_t n = std::min(piece_rows, source.rows - begin);
      UnitSpec unit{.kind = kind, .extents = {}, .rows = n};
      weight.pieces.push_back(
          add_extents(unit, static_cast<UnitId>(model_.units.size()), source, 0, begin, n, may_be_woven));
      model_.units.push_back(std::move(unit));
    }
    return weight;
  }

  // A dense weight, streamed, with its bias if the checkpoint has one.
  // `in_floats`: of a product that is made in floats whatever the encoding (see weave() in kernels.h).
  Weight dense(const std::string& name, int64_t rows, int64_t cols, bool in_floats = false) {
    const MatrixSource source = matrix(name, rows, cols);
    const bool may_be_woven = !in_floats || encoding_info(source.encoding).activation != Activation::kInt8;
    const uint64_t bytes = source.row_bytes[0] + source.row_bytes[1] + source.row_bytes[2];
    Weight weight = in_pieces(source, UnitKind::kStreamed,
                              static_cast<int64_t>(std::max<uint64_t>(kPieceBytes / bytes, 1)), may_be_woven);
    if (checkpoint_.find(name + ".bias")) weight.bias = floats(need(name + ".bias"), rows);
    return weight;
  }

  // ---- small vectors

  std::vector<float> vector(const std::string& name, int64_t n) { return floats(need(name + ".weight"), n); }

  std::vector<float> floats(const TensorInfo& tensor, int64_t n) {
    if (tensor.encoding == Encoding::kCount || encoding_info(tensor.encoding).family != Family::kFloat) {
      refuse(tensor, "a float type");
    }
    expect_shape(tensor, {static_cast<uint64_t>(n)});
    std::vector<std::byte> bytes(tensor.bytes);
    files_[tensor.file]->read_at(tensor.offset, bytes);
    WeightView view{
        .encoding = tensor.encoding, .params = {}, .rows = 1, .cols = n, .plane = {}, .stride = {}};
    view.plane[0] = bytes.data();
    view.stride[0] = bytes.size();
    std::vector<float> values(static_cast<size_t>(n));
    decode_row(view, 0, values.data());
    if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
      throw_error(ErrorKind::kCorrupt,
                  "%s: tensor '%s' holds values that are not finite; download the file again",
                  model_.files[tensor.file].c_str(), printable(tensor.name).c_str());
    }
    return values;
  }

  // ---- layers

  LayerWeights layer(int64_t l) {
    const ModelSpec& spec = model_.spec;
    const auto name = [&](std::string_view pattern) { return tensor_name(pattern, l); };
    const int64_t q_width = spec.n_heads * spec.head_dim, kv_width = spec.n_kv_heads * spec.head_dim;
    LayerWeights w;
    w.attention_norm = vector(name(names_.attention_norm), spec.hidden);
    w.q = dense(name(names_.q), q_width, spec.hidden);
    w.k = dense(name(names_.k), kv_width, spec.hidden);
    w.v = dense(name(names_.v), kv_width, spec.hidden);
    w.o = dense(name(names_.o), spec.hidden, q_width);
    if (spec.qkv_bias) {
      for (const Weight* weight : {&w.q, &w.k, &w.v}) {
        if (weight->bias.empty()) need(weight->name + ".bias");
      }
    }
    if (spec.qk_norm != QkNorm::kNone) {
      const bool full = spec.qk_norm == QkNorm::kFull;
      w.q_norm = vector(name(names_.q_norm), full ? q_width : spec.head_dim);
      w.k_norm = vector(name(names_.k_norm), full ? kv_width : spec.head_dim);
    }
    w.ffn_norm = vector(name(names_.ffn_norm), spec.hidden);
    if (spec.layers[static_cast<size_t>(l)].ffn == FfnKind::kDense) {
      if (spec.ffn_width == 0) {
        throw_error(ErrorKind::kCorrupt, "%s: the config gives no width for the dense FFN of layer %lld",
                    checkpoint_.path().c_str(), static_cast<long long>(l));
      }
      w.gate = dense(name(names_.gate), spec.ffn_width, spec.hidden);
      w.up = dense(name(names_.up), spec.ffn_width, spec.hidden);
      w.down = dense(name(names_.down), spec.hidden, spec.ffn_width);
    } else {
      w.router = dense(name(names_.router), spec.n_experts, spec.hidden, /*in_floats=*/true);
      w.experts = experts(l);
    }
    return w;
  }

  ExpertWeights experts(int64_t l) {
    const ModelSpec& spec = model_.spec;
    const int64_t n = spec.n_experts, width = spec.expert_width, hidden = spec.hidden;
    if (width % expert_parts_ != 0 || hidden % expert_parts_ != 0) {
      throw_error(
          ErrorKind::kInvalid,
          "%s: experts of %lld and %lld rows cannot be cut in %u equal parts: leave --expert-split out",
          checkpoint_.path().c_str(), static_cast<long long>(width), static_cast<long long>(hidden),
          expert_parts_);
    }
    const bool stacked = has(tensor_name(names_.experts_gate, l));
    std::array<MatrixSource, 3> sources;  // gate, up, down of all experts, or of one
    if (stacked) {
      sources = {matrix(tensor_name(names_.experts_gate, l), width, hidden, n),
                 matrix(tensor_name(names_.experts_up, l), width, hidden, n),
                 matrix(tensor_name(names_.experts_down, l), hidden, width, n)};
    }
    ExpertWeights experts{.first_unit = static_cast<UnitId>(model_.units.size()),
                          .n_parts = expert_parts_,
                          .gate = {},
                          .up = {},
                          .down = {}};
    for (int64_t e = 0; e < n; ++e) {
      if (!stacked) {
        sources = {matrix(tensor_name(names_.expert_gate, l, e), width, hidden),
                   matrix(tensor_name(names_.expert_up, l, e), width, hidden),
                   matrix(tensor_name(names_.expert_down, l, e), hidden, width)};
      }
      for (uint32_t part = 0; part < expert_parts_; ++part) {
        UnitSpec unit{.kind = UnitKind::kCached,
                      .extents = {},
                      .rows = 1,
                      .group = static_cast<uint32_t>(l),
                      .part = static_cast<uint16_t>(part),
                      .n_parts = static_cast<uint16_t>(expert_parts_)};
        const auto add = [&](const MatrixSource& source) {
          const int64_t rows = source.rows / expert_parts_;
          return add_extents(unit, static_cast<UnitId>(model_.units.size()), source, stacked ? e : 0,
                             part * rows, rows);
        };
        const WeightRef gate = add(sources[0]), up = add(sources[1]), down = add(sources[2]);
        if (e == 0 && part == 0) {
          experts.gate = gate, experts.up = up, experts.down = down;
        } else {
          require_alike(experts.gate, gate, sources[0]);
          require_alike(experts.up, up, sources[1]);
          require_alike(experts.down, down, sources[2]);
        }
        model_.units.push_back(std::move(unit));
      }
    }
    return experts;
  }

  void require_alike(const WeightRef& first, const WeightRef& ref, const MatrixSource& source) {
    if (first.encoding != ref.encoding || !(first.params == ref.params) ||
        first.first_extent != ref.first_extent) {
      refuse(*source.planes[0], "the encoding of the layer's first expert");
    }
  }

  // Tensors inside the model's layers that nothing has asked for would be left out of the arithmetic.
  void refuse_unknown() {
    const std::string_view pattern = names_.q;
    const std::string_view prefix = pattern.substr(0, pattern.find("{l}"));
    for (const TensorInfo& tensor : checkpoint_.tensors()) {
      if (used_.count(tensor.name) || tensor.name.compare(0, prefix.size(), prefix) != 0) continue;
      if (tensor.name.find("rotary_emb.inv_freq") != std::string::npos) continue;  // derived, old checkpoints
      if (std::atoll(tensor.name.c_str() + prefix.size()) >= model_.spec.n_layers) continue;  // extra heads
      throw_error(ErrorKind::kUnsupported, "%s: tensor '%s' has no place in architecture %s",
                  model_.files[tensor.file].c_str(), printable(tensor.name).c_str(),
                  model_.spec.architecture.c_str());
    }
  }

  const Checkpoint& checkpoint_;
  const uint32_t expert_parts_;
  const TensorNames& names_;
  std::vector<std::shared_ptr<const File>> files_;
  std::unordered_set<std::string> used_;
  BoundModel model_;
};

}  // namespace

BoundModel bind(const Checkpoint& checkpoint, uint32_t expert_parts) {
  const ArchSpec& arch = find_arch(checkpoint);
  return Binder(checkpoint, arch, read_spec(checkpoint, arch), expert_parts).run();
}

}  // namespace sluice
