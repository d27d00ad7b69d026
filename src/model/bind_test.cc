// Checkpoints that parse but do not make a model: each is refused in one line that names the tensor or field.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/safetensors.h"
#include "model/bound_model.h"
#include "tests/scratch.h"

namespace sluice {
namespace {

using nlohmann::ordered_json;

struct Tensor {
  std::string dtype;
  std::vector<uint64_t> shape;
  float value = 0.5F;
};

// A Llama of one layer, as config and tensor list, to be bent.
struct Draft {
  ordered_json config = {{"architectures", {"LlamaForCausalLM"}},
                         {"hidden_size", 64},
                         {"num_hidden_layers", 1},
                         {"num_attention_heads", 4},
                         {"num_key_value_heads", 2},
                         {"intermediate_size", 96},
                         {"vocab_size", 32},
                         {"max_position_embeddings", 128}};
  std::map<std::string, Tensor> tensors;

  Draft() {
    const auto add = [this](const std::string& name, std::vector<uint64_t> shape) {
      tensors[name + ".weight"] = {"F32", std::move(shape)};
    };
    add("model.embed_tokens", {32, 64});
    add("model.norm", {64});
    add("lm_head", {32, 64});
    const std::string layer = "model.layers.0.";
    add(layer + "input_layernorm", {64});
    add(layer + "post_attention_layernorm", {64});
    add(layer + "self_attn.q_proj", {64, 64});
    add(layer + "self_attn.k_proj", {32, 64});
    add(layer + "self_attn.v_proj", {32, 64});
    add(layer + "self_attn.o_proj", {64, 64});
    add(layer + "mlp.gate_proj", {96, 64});
    add(layer + "mlp.up_proj", {96, 64});
    add(layer + "mlp.down_proj", {64, 96});
  }

  // `name` as MLX would have it at these bits and group.
  void quantise(const std::string& name, uint64_t bits, uint64_t group) {
    const auto shape = tensors.at(name + ".weight").shape;
    tensors[name + ".weight"] = {"U32", {shape[0], shape[1] * bits / 32}};
    tensors[name + ".scales"] = {"BF16", {shape[0], shape[1] / group}};
    tensors[name + ".biases"] = {"BF16", {shape[0], shape[1] / group}};
  }
};

class Bind : public testing::Test {
 protected:
  BoundModel bind_draft(const Draft& draft) {
    directory_.write("config.json", draft.config.dump());
    SafetensorsWriter writer(directory_ / "model.safetensors", "pt");
    for (const auto& [name, tensor] : draft.tensors) writer.declare_tensor(name, tensor.dtype, tensor.shape);
    writer.begin_data();
    for (const auto& [name, tensor] : draft.tensors) {
      size_t n = 1;
      for (const uint64_t d : tensor.shape) n *= d;
      const size_t width = safetensors_dtype_bits(tensor.dtype) / 8;
      std::vector<std::byte> bytes(n * width);
      if (tensor.dtype == "F32") {
        for (size_t i = 0; i < n; ++i) std::memcpy(bytes.data() + 4 * i, &tensor.value, 4);
      }
      writer.write(bytes);
    }
    writer.commit();
    return bind(*Checkpoint::open(directory_.path().string()));
  }

  void expect_refused(const Draft& draft, ErrorKind kind, std::initializer_list<const char*> mentions) {
    try {
      bind_draft(draft);
      ADD_FAILURE() << "was accepted";
    } catch (const Error& e) {
      const std::string message = e.what();
      EXPECT_EQ(e.kind(), kind) << message;
      EXPECT_EQ(message.find('\n'), std::string::npos);
      EXPECT_NE(message.find(directory_.path().string()), std::string::npos) << message;
      for (const char* word : mentions) EXPECT_NE(message.find(word), std::string::npos) << message;
    }
  }

  test::Scratch directory_;
};

TEST_F(Bind, AcceptsAPlainModel) {
  const BoundModel model = bind_draft(Draft());
  EXPECT_EQ(model.spec.architecture, "llama");
  EXPECT_EQ(model.spec.head_dim, 16);
  EXPECT_EQ(model.layers.size(), 1u);
  EXPECT_FALSE(model.spec.tied_head);
  EXPECT_EQ(model.embedding.rows, 32);
  EXPECT_EQ(model.units[model.embedding.pieces[0].unit].kind, UnitKind::kByRow);
}

Draft experts_draft(uint64_t width) {
  Draft draft;
  draft.config["architectures"] = ordered_json::array({"MixtralForCausalLM"});
  draft.config["intermediate_size"] = width;
  draft.config["num_local_experts"] = 2;
  draft.config["num_experts_per_tok"] = 1;
  for (const char* name : {"gate_proj", "up_proj", "down_proj"})
    draft.tensors.erase(std::string("model.layers.0.mlp.") + name + ".weight");
  const std::string moe = "model.layers.0.block_sparse_moe.";
  draft.tensors[moe + "gate.weight"] = {"F32", {2, 64}};
  for (const char* expert : {"experts.0.", "experts.1."}) {
    draft.tensors[moe + expert + "w1.weight"] = {"F32", {width, 64}};
    draft.tensors[moe + expert + "w3.weight"] = {"F32", {width, 64}};
    draft.tensors[moe + expert + "w2.weight"] = {"F32", {64, width}};
  }
  return draft;
}

// The halves of an expert are its bytes, none twice.
TEST_F(Bind, CutsExpertsInHalves) {
  const BoundModel whole = bind_draft(experts_draft(96));
  const BoundModel halves = bind(*Checkpoint::open(directory_.path().string()), 2);
  const ExpertWeights& experts = halves.layers[0].experts;
  ASSERT_EQ(experts.n_parts, 2u);
  EXPECT_EQ(experts.gate.rows, 48);
  EXPECT_EQ(experts.down.rows, 32);
  EXPECT_EQ(experts.down.cols, 96);
  for (int64_t e = 0; e < 2; ++e) {
    const UnitSpec& all = whole.units[whole.layers[0].experts.unit(e)];
    const UnitSpec* parts[] = {&halves.units[experts.unit(e, 0)], &halves.units[experts.unit(e, 1)]};
    EXPECT_EQ(experts.expert_of(experts.unit(e, 1)), e);
    ASSERT_EQ(all.extents.size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
      const Extent &extent = all.extents[i], &first = parts[0]->extents[i], &second = parts[1]->extents[i];
      EXPECT_EQ(first.offset, extent.offset);
      EXPECT_EQ(first.bytes, extent.bytes / 2);
      EXPECT_EQ(second.offset, first.offset + first.bytes);
      EXPECT_EQ(second.bytes, first.bytes);
    }
  }
  bind_draft(experts_draft(33));
  try {
    bind(*Checkpoint::open(directory_.path().string()), 2);
    ADD_FAILURE() << "33 rows were halved";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(e.what()).find("33"), std::string::npos) << e.what();
  }
}

TEST_F(Bind, TiesTheHeadWhereThereIsNone) {
  Draft draft;
  draft.tensors.erase("lm_head.weight");
  const BoundModel model = bind_draft(draft);
  EXPECT_TRUE(model.spec.tied_head);
  EXPECT_EQ(model.embedding.pieces[0].unit, model.head.pieces[0].unit);
}

TEST_F(Bind, CutsLargeWeightsIntoBlocksOfRows) {
  Draft draft;
  draft.config["intermediate_size"] = 40000;
  draft.tensors["model.layers.0.mlp.gate_proj.weight"].shape = {40000, 64};
  draft.tensors["model.layers.0.mlp.up_proj.weight"].shape = {40000, 64};
  draft.tensors["model.layers.0.mlp.down_proj.weight"].shape = {64, 40000};
  const BoundModel model = bind_draft(draft);
  const Weight& gate = model.layers[0].gate;
  ASSERT_GT(gate.pieces.size(), 3u);
  int64_t rows = 0;
  for (const WeightRef& piece : gate.pieces) {
    const Extent& extent = model.units[piece.unit].extents[piece.first_extent];
    EXPECT_LE(extent.bytes, kPieceBytes);
    EXPECT_EQ(extent.bytes, static_cast<uint64_t>(piece.rows) * 64 * 4);
    rows += piece.rows;
  }
  EXPECT_EQ(rows, 40000);
}

TEST_F(Bind, ReadsMlxBitsAndGroupsFromShapes) {
  for (const uint64_t bits : {2u, 3u, 4u, 5u, 6u, 8u}) {
    Draft draft;
    draft.quantise("model.layers.0.self_attn.q_proj", bits, 32);
    draft.config["quantization"] = {{"group_size", 32}, {"bits", bits}};
    const Weight q = bind_draft(draft).layers[0].q;
    EXPECT_EQ(encoding_info(q.encoding).bits, bits);
    EXPECT_EQ(q.params.group, 32);
    EXPECT_EQ(q.params.scale_type, ScaleType::kBF16);
  }
}

TEST_F(Bind, HonoursPerLayerQuantisation) {
  Draft draft;
  draft.quantise("model.layers.0.self_attn.q_proj", 8, 64);
  draft.quantise("model.layers.0.self_attn.k_proj", 4, 32);
  draft.config["quantization"] = {{"group_size", 32},
                                  {"bits", 4},
                                  {"model.layers.0.self_attn.q_proj", {{"group_size", 64}, {"bits", 8}}}};
  EXPECT_EQ(bind_draft(draft).layers[0].q.encoding, Encoding::kAffine8);
  draft.config["quantization"].erase("model.layers.0.self_attn.q_proj");
  expect_refused(draft, ErrorKind::kCorrupt, {"q_proj", "bits"});
}

TEST_F(Bind, RefusesByName) {
  struct Case {
    const char* what;
    std::function<void(Draft&)> bend;
    ErrorKind kind;
    std::initializer_list<const char*> mentions;
  };
  const std::string q = "model.layers.0.self_attn.q_proj.weight";
  const Case cases[] = {
      {"missing tensor",
       [&](Draft& d) { d.tensors.erase(q); },
       ErrorKind::kCorrupt,
       {"q_proj.weight", "missing"}},
      {"wrong shape",
       [&](Draft& d) {
         d.tensors[q].shape = {64, 32};
       },
       ErrorKind::kCorrupt,
       {"q_proj", "[64, 32]"}},
      {"a dimension too many",
       [&](Draft& d) {
         d.tensors[q].shape = {1, 64, 64};
       },
       ErrorKind::kCorrupt,
       {"q_proj"}},
      {"integers", [&](Draft& d) { d.tensors[q].dtype = "I32"; }, ErrorKind::kUnsupported, {"q_proj", "I32"}},
      {"FP8", [&](Draft& d) { d.tensors[q].dtype = "F8_E4M3"; }, ErrorKind::kUnsupported, {"F8_E4M3"}},
      {"norm with NaN",
       [](Draft& d) { d.tensors["model.norm.weight"].value = NAN; },
       ErrorKind::kCorrupt,
       {"model.norm.weight", "finite"}},
      {"unknown tensor",
       [](Draft& d) {
         d.tensors["model.layers.0.self_attn.sinks"] = {"F32", {4}};
       },
       ErrorKind::kUnsupported,
       {"sinks", "llama"}},
      {"unknown architecture",
       [](Draft& d) { d.config["architectures"] = {"GPT5ForCausalLM"}; },
       ErrorKind::kUnsupported,
       {"GPT5ForCausalLM", "qwen3_moe"}},
      {"no architecture",
       [](Draft& d) { d.config.erase("architectures"); },
       ErrorKind::kCorrupt,
       {"architectures"}},
      {"no layers",
       [](Draft& d) { d.config.erase("num_hidden_layers"); },
       ErrorKind::kCorrupt,
       {"num_hidden_layers"}},
      {"a string for a number",
       [](Draft& d) { d.config["hidden_size"] = "64"; },
       ErrorKind::kCorrupt,
       {"hidden_size"}},
      {"absurd layers",
       [](Draft& d) { d.config["num_hidden_layers"] = 1000000000000; },
       ErrorKind::kCorrupt,
       {"num_hidden_layers"}},
      {"negative layers",
       [](Draft& d) { d.config["num_hidden_layers"] = -1; },
       ErrorKind::kCorrupt,
       {"num_hidden_layers"}},
      {"2^64 layers",
       [](Draft& d) { d.config["num_hidden_layers"] = UINT64_MAX; },
       ErrorKind::kCorrupt,
       {"num_hidden_layers"}},
      {"heads that do not divide",
       [](Draft& d) { d.config["num_key_value_heads"] = 3; },
       ErrorKind::kCorrupt,
       {"heads"}},
      {"an unknown RoPE",
       [](Draft& d) {
         d.config["rope_scaling"] = {{"rope_type", "spiral"}};
       },
       ErrorKind::kUnsupported,
       {"spiral"}},
      {"a RoPE factor of 0",
       [](Draft& d) {
         d.config["rope_scaling"] = {{"type", "linear"}, {"factor", 0}};
       },
       ErrorKind::kCorrupt,
       {"linear"}},
      {"gelu", [](Draft& d) { d.config["hidden_act"] = "gelu"; }, ErrorKind::kUnsupported, {"gelu"}},
      {"affine without biases",
       [](Draft& d) {
         d.quantise("model.layers.0.self_attn.q_proj", 4, 32);
         d.tensors.erase("model.layers.0.self_attn.q_proj.biases");
       },
       ErrorKind::kCorrupt,
       {"q_proj.biases"}},
      {"mxfp4 mode",
       [](Draft& d) {
         d.quantise("model.layers.0.self_attn.q_proj", 4, 32);
         d.config["quantization"] = {{"group_size", 32}, {"bits", 4}, {"mode", "mxfp4"}};
       },
       ErrorKind::kUnsupported,
       {"mxfp4"}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    Draft draft;
    c.bend(draft);
    expect_refused(draft, c.kind, c.mentions);
  }
}

}  // namespace
}  // namespace sluice
