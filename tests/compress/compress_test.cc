// From one checkpoint to another and back: rounding stays within its steps, what is only rearranged computes
// the same, text survives the change of family, and nothing is left where something went wrong.
#include "compress/compress.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "encoding/reference.h"
#include "engine/text_assets.h"
#include "forge/forge.h"
#include "format/gguf.h"
#include "model/bound_model.h"
#include "platform/file.h"
#include "tests/golden/model_runner.h"
#include "tests/scratch.h"
#include "tests/shared_data.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Compress : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_ / name; }

  std::string forged(const std::string& shape, Encoding encoding, const std::string& name) const {
    ForgeOptions options{.shape = shape, .encoding = encoding, .out = path(name)};
    const bool gguf = fs::path(name).extension() == ".gguf";
    options.family = gguf ? CheckpointFamily::kGguf : CheckpointFamily::kHuggingFace;
    forge(options);
    return options.out;
  }

  std::string shape_file(const json& config) const {
    std::ofstream(path("shape.json")) << config;
    return path("shape.json");
  }

  CompressResult make(const std::string& model, Encoding encoding, const std::string& name,
                      int n_threads = 2) const {
    return compress({.model = model, .out = path(name), .encoding = encoding, .n_threads = n_threads});
  }

  // What is refused leaves the directory as it was.
  Error refusal(CompressOptions options) const {
    std::vector<std::string> before = entries(), after;
    try {
      compress(options);
    } catch (const Error& error) {
      EXPECT_EQ(entries(), before);
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
      return error;
    }
    ADD_FAILURE() << "not refused";
    return {ErrorKind::kIo, ""};
  }

  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_.path()))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  Scratch directory_;
};

// The values of a reference, and the step of each (its scale; 0 for floats).
struct Values {
  std::vector<float> values, steps;
  int bits = 0;
};

Values read_values(const BoundModel& model, const WeightRef& ref, Values out = {}) {
  WeightView view{.encoding = ref.encoding, .params = ref.params, .rows = ref.rows, .cols = ref.cols};
  view.stride = row_bytes(ref.encoding, ref.params, static_cast<uint64_t>(ref.cols));
  std::array<std::vector<std::byte>, kMaxPlanes> planes;
  for (size_t p = 0; p < plane_count(ref.encoding); ++p) {
    const Extent& extent = model.units[ref.unit].extents[ref.first_extent + p];
    planes[p].resize(extent.bytes);
    File::open(model.files[extent.file])->read_at(extent.offset, planes[p]);
    view.plane[p] = planes[p].data();
  }
  const size_t begin = out.values.size(), n = static_cast<size_t>(ref.rows * ref.cols);
  out.values.resize(begin + n);
  out.steps.resize(begin + n);
  decode_matrix(view, out.values.data() + begin);
  out.bits = encoding_info(ref.encoding).bits;
  if (ref.params.group == 0) return out;
  WeightView scales{.encoding = Encoding::kBF16, .rows = ref.rows, .cols = ref.cols / ref.params.group};
  if (ref.params.scale_type == ScaleType::kF16) scales.encoding = Encoding::kF16;
  if (ref.params.scale_type == ScaleType::kF32) scales.encoding = Encoding::kF32;
  scales.plane[0] = view.plane[1];
  scales.stride[0] = view.stride[1];
  std::vector<float> each(static_cast<size_t>(scales.rows * scales.cols));
  decode_matrix(scales, each.data());
  for (size_t i = 0; i < n; ++i) out.steps[begin + i] = std::abs(each[i / ref.params.group]);
  return out;
}

Values read_values(const BoundModel& model, const Weight& weight) {
  Values out;
  for (const WeightRef& ref : weight.pieces) out = read_values(model, ref, std::move(out));
  return out;
}

// All matrices of a model, in one order whatever its files.
std::vector<Values> all_matrices(const BoundModel& model) {
  std::vector<Values> all;
  const auto add = [&](const Weight& weight) {
    if (weight) all.push_back(read_values(model, weight));
  };
  add(model.embedding);
  add(model.head);
  for (const LayerWeights& layer : model.layers) {
    for (const Weight* weight :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down, &layer.router}) {
      add(*weight);
    }
    if (layer.router) {
      for (int64_t e = 0; e < model.spec.n_experts; ++e) {
        for (const WeightRef& ref : {layer.experts.gate, layer.experts.up, layer.experts.down})
          all.push_back(read_values(model, ExpertWeights::of(ref, layer.experts.unit(e))));
      }
    }
  }
  return all;
}

void expect_within_steps(const std::string& before, const std::string& after) {
  const auto source = all_matrices(bind(*Checkpoint::open(before)));
  const auto target = all_matrices(bind(*Checkpoint::open(after)));
  ASSERT_EQ(source.size(), target.size());
  for (size_t m = 0; m < source.size(); ++m) {
    ASSERT_EQ(source[m].values.size(), target[m].values.size());
    double squares = 0, worst = 0;
    for (size_t i = 0; i < source[m].values.size(); ++i) {
      const double change = std::abs(static_cast<double>(source[m].values[i]) - target[m].values[i]);
      const double step = target[m].steps[i];
      const double steps = change == 0 ? 0 : change / step;  // infinite where a float has changed
      worst = std::max(worst, steps);
      squares += steps * steps;
    }
    // A step at the far end of a group, which moves when the scale is rounded to bf16.
    EXPECT_LE(worst, 1.02 + std::exp2(target[m].bits) / 512) << "matrix " << m;
    // Uniform over half a step to both sides is 0.289.
    EXPECT_LE(std::sqrt(squares / static_cast<double>(source[m].values.size())), 0.4) << "matrix " << m;
  }
}

std::vector<int32_t> some_tokens(int64_t vocab, size_t n) {
  std::mt19937 random(1);
  std::vector<int32_t> tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab));
  return tokens;
}

double worst_logit_difference(const std::string& a, const std::string& b) {
  ModelRunner one(a, {}), two(b, {});
  const auto tokens = some_tokens(one.spec().vocab, 40);
  const auto x = one.all_logits(tokens), y = two.all_logits(tokens);
  EXPECT_EQ(x.size(), y.size());
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(x[i]) - y[i]));
  return worst;
}

// ---- MLX affine

TEST_F(Compress, AffineStaysWithinItsSteps) {
  const std::string source = forged("moe-tiny", Encoding::kBF16, "source");
  for (const Encoding encoding : {Encoding::kAffine2, Encoding::kAffine3, Encoding::kAffine4,
                                  Encoding::kAffine5, Encoding::kAffine6, Encoding::kAffine8}) {
    const std::string name(encoding_info(encoding).name);
    SCOPED_TRACE(name);
    const CompressResult result = make(source, encoding, name);
    EXPECT_LT(result.bytes_after, result.bytes_before);
    expect_within_steps(source, path(name));
    const json config = json::parse(read_file(path(name) + "/config.json"));
    EXPECT_EQ(config["quantization"]["bits"], encoding_info(encoding).bits);
    EXPECT_EQ(config["quantization"]["mode"], "affine");
    EXPECT_EQ(config["quantization"], config["quantization_config"]);
    const auto checkpoint = Checkpoint::open(path(name));
    const TensorInfo* experts = checkpoint->find("model.layers.1.mlp.switch_mlp.up_proj.weight");
    ASSERT_NE(experts, nullptr);
    EXPECT_EQ(experts->dtype, "U32");
    EXPECT_EQ(experts->shape, (std::vector<uint64_t>{16, 256, uint64_t{8} * encoding_info(encoding).bits}));
    EXPECT_EQ(checkpoint->find("model.layers.1.mlp.gate.scales")->shape, (std::vector<uint64_t>{16, 4}));
    EXPECT_EQ(checkpoint->find("model.norm.weight")->dtype, "BF16");
    const bool is_default = encoding == Encoding::kAffine8;
    EXPECT_EQ(config["quantization"].contains("model.layers.1.mlp.gate"), !is_default);
  }
}

TEST_F(Compress, AffineOfRealExperts) {
  SLUICE_REQUIRE_SHARED();
  for (const char* name : {"tiny-qwen3-moe", "tiny-mixtral"}) {
    const std::string source = shared_path(std::string("data/derived/moe/") + name);
    make(source, Encoding::kAffine4, name);
    expect_within_steps(source, path(name));
  }
}

// Rows of 96 take groups of 32, rows of 80 none: they stay bf16.
TEST_F(Compress, GroupsFollowTheRows) {
  json config = forge_config("llama-tiny");
  config["hidden_size"] = 96, config["head_dim"] = 24, config["intermediate_size"] = 80;
  const std::string source = forged(shape_file(config), Encoding::kBF16, "source");
  make(source, Encoding::kAffine4, "out");
  expect_within_steps(source, path("out"));
  const BoundModel model = bind(*Checkpoint::open(path("out")));
  EXPECT_EQ(model.layers[0].q.params.group, 32);
  EXPECT_EQ(model.layers[0].down.encoding, Encoding::kBF16);
  const json written = json::parse(read_file(path("out") + "/config.json"));
  EXPECT_EQ(written["quantization"]["group_size"], 64);
  EXPECT_EQ(written["quantization"]["model.layers.0.self_attn.q_proj"]["group_size"], 32);
}

TEST_F(Compress, EncodingsForSingleKinds) {
  const std::string source = forged("moe-tiny", Encoding::kBF16, "source");
  compress({.model = source,
            .out = path("out"),
            .encoding = Encoding::kAffine3,
            .group = 128,
            .embedding = Encoding::kAffine8,
            .head = Encoding::kAffine6,
            .router = Encoding::kBF16});
  const BoundModel model = bind(*Checkpoint::open(path("out")));
  EXPECT_EQ(model.embedding.encoding, Encoding::kAffine8);
  EXPECT_EQ(model.embedding.params.group, 128);
  EXPECT_EQ(model.head.encoding, Encoding::kAffine6);
  EXPECT_EQ(model.layers[0].router.encoding, Encoding::kBF16);
  EXPECT_EQ(model.layers[0].experts.gate.encoding, Encoding::kAffine3);
}

// Stacked experts become one tensor each again, and decoding an affine model into floats of enough bits loses
// nothing.
TEST_F(Compress, AffineBackToFloats) {
  const std::string source = forged("moe-tiny", Encoding::kAffine4, "source");
  const CompressResult result = make(source, Encoding::kF32, "out");
  for (const CompressedKind& kind : result.kinds) EXPECT_EQ(kind.worst_error, 0) << kind.kind;
  EXPECT_NE(Checkpoint::open(path("out"))->find("model.layers.0.mlp.experts.15.down_proj.weight"), nullptr);
  EXPECT_LT(worst_logit_difference(source, path("out")), 1e-3);
  EXPECT_FALSE(json::parse(read_file(path("out") + "/config.json")).contains("quantization"));
}

// ---- between the families

TEST_F(Compress, RearrangingKeepsTheLogits) {
  SLUICE_REQUIRE_SHARED();
  for (const char* name : {"data/derived/stories260K/hf", "data/derived/moe/tiny-mixtral"}) {
    SCOPED_TRACE(name);
    const std::string source = shared_path(name);
    fs::remove(path("a.gguf")), fs::remove_all(path("back"));
    make(source, Encoding::kF32, "a.gguf");
    EXPECT_LT(worst_logit_difference(source, path("a.gguf")), 2e-4);
    make(path("a.gguf"), Encoding::kF32, "back");
    const auto before = all_matrices(bind(*Checkpoint::open(source)));
    const auto after = all_matrices(bind(*Checkpoint::open(path("back"))));
    ASSERT_EQ(before.size(), after.size());
    for (size_t m = 0; m < before.size(); ++m) EXPECT_EQ(before[m].values, after[m].values) << "matrix " << m;
  }
}

TEST_F(Compress, RopeScalingPassesBothWays) {
  json config = forge_config("llama-tiny");
  config["max_position_embeddings"] = 131072;
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 8.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  for (const char* kind : {"llama3", "linear", "yarn"}) {
    SCOPED_TRACE(kind);
    config["rope_scaling"]["rope_type"] = kind;
    fs::remove(path("a.gguf")), fs::remove_all(path("source")), fs::remove_all(path("back"));
    const std::string source = forged(shape_file(config), Encoding::kBF16, "source");
    make(source, Encoding::kBF16, "a.gguf");
    EXPECT_LT(worst_logit_difference(source, path("a.gguf")), 1e-3);
    make(path("a.gguf"), Encoding::kBF16, "back");
    const json back = json::parse(read_file(path("back") + "/config.json"));
    EXPECT_EQ(back["rope_scaling"]["rope_type"], kind);
    EXPECT_EQ(back["rope_scaling"]["factor"], 8.0);
    EXPECT_EQ(worst_logit_difference(source, path("back")), 0);
  }
}

TEST_F(Compress, TextSurvivesTheFamilies) {
  SLUICE_REQUIRE_SHARED();
  const std::string source = shared_path("demo-model");
  make(source, Encoding::kBF16, "a.gguf");
  make(path("a.gguf"), Encoding::kBF16, "back");
  EXPECT_LT(worst_logit_difference(source, path("a.gguf")), 1e-3);
  EXPECT_EQ(worst_logit_difference(source, path("back")), 0);
  const TextAssets original = load_text_assets(source);
  const std::string text = read_file(shared_path("demo-model/eval/code.valid.txt")).substr(0, 40000) +
                           read_file(shared_path("demo-model/eval/novels.valid.txt")).substr(0, 40000);
  EncodeOptions options;
  options.parse_special = true;
  const auto ids = original.tokenizer->encode(text, options);
  const nlohmann::ordered_json context = {{"messages", {{{"role", "user"}, {"content", "Hello"}}}},
                                          {"bos_token", "<|endoftext|>"}};
  for (const char* name : {"a.gguf", "back"}) {
    SCOPED_TRACE(name);
    const TextAssets assets = load_text_assets(*Checkpoint::open(path(name)));
    ASSERT_NE(assets.tokenizer, nullptr);
    EXPECT_EQ(assets.tokenizer->encode(text, options), ids);
    EXPECT_EQ(assets.tokenizer->bos(), original.tokenizer->bos());
    EXPECT_EQ(assets.tokenizer->end_ids(), original.tokenizer->end_ids());
    ASSERT_TRUE(assets.chat_template);
    EXPECT_EQ(assets.chat_template->render(context), original.chat_template->render(context));
  }
}

// Texts of many scripts with the ids that llama.cpp gives them, and long ones.
struct SpmSamples {
  std::vector<std::string> texts;
  size_t n_published = 0;  // the first of them have published ids,
  std::string ids;         // a line each

  SpmSamples() {
    const std::string base = shared_path("data/tokenizers/ggml-vocab/ggml-vocab-llama-spm.gguf");
    const std::string separator = "\n__ggml_vocab_test__\n", all = read_file(base + ".inp");
    for (size_t begin = 0; begin < all.size();) {
      const size_t end = std::min(all.find(separator, begin), all.size());
      texts.push_back(all.substr(begin, end - begin));
      begin = end + separator.size();
    }
    ids = read_file(base + ".out");
    n_published = texts.size();
    for (const char* name : {"code", "novels", "math"})
      texts.push_back(read_file(shared_path(std::string("demo-model/eval/") + name + ".valid.txt")));
    texts.push_back(read_file(shared_path("data/tokenizers/gpt2/german.txt")));
    for (size_t n = 1; n < 40; ++n) {
      texts.push_back(std::string(n, ' ') + "x");
      texts.push_back(std::string(n, 'a') + std::string(n, '\n'));
    }
    texts.push_back("<s>[INST] not control </s> <unk> <0x0A> \xff\xc3 \U0001F600");
  }

  std::vector<std::vector<int32_t>> encode(const Tokenizer& tokenizer) const {
    std::vector<std::vector<int32_t>> out;
    for (const std::string& text : texts) out.push_back(tokenizer.encode(text));
    return out;
  }
};

TEST_F(Compress, SentencePieceSurvivesTheFamilies) {
  SLUICE_REQUIRE_SHARED();
  const SpmSamples samples;
  ASSERT_GT(samples.texts.size(), 120u);
  for (const auto& [file, vocab] : {std::pair{"llama2/tokenizer.model", 32000},
                                    {"mistral/tokenizer.model.v1", 32000},
                                    {"mistral/mistral_instruct_tokenizer_240323.model.v3", 32768}}) {
    SCOPED_TRACE(file);
    for (const char* name : {"source", "a.gguf", "hf", "b.gguf", "hf2"}) fs::remove_all(path(name));
    json config = json::parse(forge_config("llama-tiny").dump());
    config["vocab_size"] = vocab;
    config["hidden_size"] = 64;
    config["intermediate_size"] = 64;
    const std::string source = forged(shape_file(config), Encoding::kBF16, "source");
    fs::remove(source + "/tokenizer.json");
    fs::copy_file(shared_path(std::string("data/tokenizers/") + file), source + "/tokenizer.model");
    const auto original = load_text_assets(source).tokenizer;
    const auto ids = samples.encode(*original);
    make(source, Encoding::kBF16, "a.gguf");
    make(path("a.gguf"), Encoding::kBF16, "hf");
    make(path("hf"), Encoding::kBF16, "b.gguf");
    make(path("b.gguf"), Encoding::kBF16, "hf2");
    EXPECT_TRUE(fs::exists(path("hf/tokenizer.json")));
    EXPECT_EQ(read_file(path("hf/tokenizer.json")), read_file(path("hf2/tokenizer.json")));
    for (const char* name : {"a.gguf", "hf", "b.gguf"}) {
      SCOPED_TRACE(name);
      const auto tokenizer = load_text_assets(path(name)).tokenizer;
      ASSERT_NE(tokenizer, nullptr);
      const auto crossed = samples.encode(*tokenizer);
      for (size_t i = 0; i < ids.size(); ++i)
        ASSERT_EQ(crossed[i], ids[i]) << samples.texts[i].substr(0, 200);
      EXPECT_EQ(tokenizer->bos(), original->bos());
      EXPECT_EQ(tokenizer->eos(), original->eos());
      EXPECT_EQ(tokenizer->unk(), original->unk());
      EXPECT_EQ(tokenizer->adds_bos(), original->adds_bos());
      EXPECT_EQ(tokenizer->end_ids(), original->end_ids());
      for (int32_t id = 0; id < vocab; ++id) {
        ASSERT_EQ(tokenizer->token_bytes(id), original->token_bytes(id)) << id;
        ASSERT_EQ(tokenizer->is_special(id), original->is_special(id)) << id;
      }
      EXPECT_EQ(tokenizer->decode(ids[0]), original->decode(ids[0]));
      // Control tokens in the text, with text right behind them.
      EncodeOptions options;
      options.parse_special = true;
      const std::string turn = "<s>[INST] Who are you? [/INST] I am.</s>";
      EXPECT_EQ(load_text_assets(path("hf")).tokenizer->encode(turn, options),
                load_text_assets(path("a.gguf")).tokenizer->encode(turn, options));
    }
    if (std::string(file).starts_with("llama2")) {  // also what others say that the ids are
      std::string lines;
      for (size_t i = 0; i < samples.n_published; ++i) {
        for (size_t k = 1; k < ids[i].size(); ++k) lines += " " + std::to_string(ids[i][k]);
        lines += "\n";
      }
      EXPECT_EQ(lines, samples.ids);
    }
  }
  fs::remove_all(path("source"));
  const std::string ranks = forged("llama-tiny", Encoding::kBF16, "source");
  fs::remove(ranks + "/tokenizer.json");
  fs::copy_file(shared_path("data/tokenizers/llama3/tokenizer.model"), ranks + "/tokenizer.model");
  const Error error = refusal({.model = ranks, .out = path("x.gguf"), .encoding = Encoding::kBF16});
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported) << error.what();
}

// Merges that scores cannot say, and scores that merges cannot say.
TEST_F(Compress, WhatSentencePieceCannotCrossIsRefusedByName) {
  const std::string source = forged("llama-tiny", Encoding::kBF16, "source");
  const std::string file = source + "/tokenizer.json";
  const json good =
      json::parse(R"({"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    "model": {"type": "BPE", "byte_fallback": true, "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4, "abc": 5},
    "merges": ["a b", "b c", "ab c", "a bc"]}})");
  const auto refused = [&](const char* pointer, const json& value) {
    json bad = good;
    bad[json::json_pointer(pointer)] = value;
    std::ofstream(file) << bad;
    const Error error = refusal({.model = source, .out = path("x.gguf"), .encoding = Encoding::kBF16});
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    return std::string(error.what());
  };
  EXPECT_NE(refused("/model/merges", {"a b", "b c", "ab c"}).find("leave out 'a' + 'bc'"), std::string::npos);
  const json two = json::parse(R"({"type": "BPE", "byte_fallback": true,
    "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "ab": 4, "bc": 5, "cd": 6, "abc": 7, "bcd": 8},
    "merges": ["ab c", "bc d", "a bc", "b cd", "a b", "b c", "c d"]})");
  EXPECT_NE(refused("/model", two).find("only one format knows"), std::string::npos);
  EXPECT_NE(refused("/model/merges", {"a bc", "a b", "ab c", "b c"}).find("stand among others"),
            std::string::npos);
  EXPECT_NE(
      refused("/added_tokens", {{{"id", 3}, {"content", "ab"}, {"special", false}}}).find("plain tokens"),
      std::string::npos);
  EXPECT_NE(refused("/normalizer", {{"type", "NFKC"}}).find("NFKC"), std::string::npos);
  EXPECT_NE(refused("/normalizer", nullptr).find("U+2581"), std::string::npos);
  EXPECT_NE(refused("/pre_tokenizer", {{"type", "Metaspace"}, {"split", true}}).find("pre-tokenizer"),
            std::string::npos);
  json huge = good["model"];
  huge["vocab"][std::string(5000, 'a')] = 6;
  EXPECT_NE(refused("/model", huge).find("5000 bytes"), std::string::npos);
  std::ofstream(file) << good;
  make(source, Encoding::kBF16, "good.gguf");
  EXPECT_EQ(
      load_text_assets(path("good.gguf")).tokenizer->encode("abcab", {EncodeOptions::AddSpecial::kNever}),
      (std::vector<int32_t>{5, 3}));
}

TEST_F(Compress, GgufToGguf) {
  const std::string source = forged("moe-tiny", Encoding::kQ4_K, "source.gguf");
  const CompressResult q8 = make(source, Encoding::kQ8_0, "q8.gguf");
  for (const CompressedKind& kind : q8.kinds) EXPECT_LT(kind.worst_error, 0.01) << kind.kind;
  // What is in the encoding already is copied.
  const CompressResult again = make(path("q8.gguf"), Encoding::kQ8_0, "again.gguf");
  for (const CompressedKind& kind : again.kinds) EXPECT_EQ(kind.worst_error, 0) << kind.kind;
  EXPECT_EQ(read_file(path("q8.gguf")), read_file(path("again.gguf")));
  const auto checkpoint = Checkpoint::open(path("q8.gguf"));
  EXPECT_EQ(checkpoint->metadata().integer("general.file_type"), 7);
  EXPECT_EQ(checkpoint->metadata().strings("tokenizer.ggml.tokens")->size(), 1024u);
  EXPECT_EQ(checkpoint->find("blk.0.attn_norm.weight")->encoding, Encoding::kF32);
  EXPECT_EQ(checkpoint->find("blk.0.ffn_gate_inp.weight")->encoding, Encoding::kF32);
}

// ---- threads, failures

TEST_F(Compress, TheBytesDoNotDependOnThreads) {
  const std::string source = forged("moe-tiny", Encoding::kBF16, "source");
  const CompressResult one = make(source, Encoding::kAffine4, "1", 1);
  for (const int n : {2, 5}) {
    const std::string name = std::to_string(n);
    const CompressResult other = make(source, Encoding::kAffine4, name, n);
    EXPECT_EQ(read_file(path("1/model.safetensors")), read_file(path(name + "/model.safetensors")));
    for (size_t k = 0; k < one.kinds.size(); ++k)
      EXPECT_EQ(one.kinds[k].worst_error, other.kinds[k].worst_error);
  }
}

TEST_F(Compress, CancellingLeavesNothing) {
  const std::string source = forged("moe-tiny", Encoding::kBF16, "source");
  for (const char* name : {"out", "out.gguf"}) {
    const Encoding encoding = std::string(name) == "out" ? Encoding::kAffine4 : Encoding::kQ4_0;
    uint64_t calls = 0, last = 0;
    EXPECT_THROW(compress({.model = source, .out = path(name), .encoding = encoding},
                          [&](uint64_t done, uint64_t total) {
                            EXPECT_TRUE(last <= done && done <= total);
                            last = done;
                            if (++calls == 40) throw_error(ErrorKind::kCancelled, "enough");
                          }),
                 Error);
    EXPECT_EQ(entries(), std::vector<std::string>{"source"});
  }
}

// A disk that takes no more: the limit on file sizes gives the same failure of write().
TEST_F(Compress, AFullDiskGivesOneErrorAndLeavesNothing) {
  const std::string source = forged("moe-tiny", Encoding::kBF16, "source");
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {2 << 20, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Error hf = refusal({.model = source, .out = path("out"), .encoding = Encoding::kAffine4});
  const Error gguf = refusal({.model = source, .out = path("out.gguf"), .encoding = Encoding::kQ4_0});
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(hf.kind(), ErrorKind::kIo) << hf.what();
  EXPECT_EQ(gguf.kind(), ErrorKind::kIo) << gguf.what();
}

TEST_F(Compress, ValuesThatAreNoNumbersAreNamed) {
  const std::string source = forged("llama-tiny", Encoding::kBF16, "source");
  const auto checkpoint = Checkpoint::open(source);
  const TensorInfo* tensor = checkpoint->find("model.layers.1.mlp.up_proj.weight");
  std::fstream file(checkpoint->files()[0], std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(tensor->offset + 100)).write("\xc0\x7f", 2);
  file.close();
  const Error error = refusal({.model = source, .out = path("out"), .encoding = Encoding::kAffine4});
  EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(error.what()).find("model.layers.1.mlp.up_proj"), std::string::npos) << error.what();
}

TEST_F(Compress, WhatCannotBeIsRefused) {
  const std::string dense = forged("llama-tiny", Encoding::kBF16, "dense");
  const auto kind = [&](CompressOptions options) { return refusal(std::move(options)).kind(); };
  EXPECT_EQ(kind({.model = dense, .out = path("x.gguf"), .encoding = Encoding::kAffine4}),
            ErrorKind::kInvalid);
  EXPECT_EQ(kind({.model = dense, .out = path("x"), .encoding = Encoding::kQ4_0}), ErrorKind::kInvalid);
  EXPECT_EQ(kind({.model = dense, .out = path("x.gguf"), .encoding = Encoding::kQ4_K}),
            ErrorKind::kUnsupported);
  EXPECT_EQ(kind({.model = dense, .out = path("x"), .group = 48}), ErrorKind::kInvalid);
  EXPECT_EQ(kind({.model = dense, .out = path("x"), .router = Encoding::kBF16}), ErrorKind::kInvalid);
  EXPECT_EQ(kind({.model = dense, .out = path("dense")}), ErrorKind::kInvalid);
  EXPECT_EQ(kind({.model = path("nothing"), .out = path("x")}), ErrorKind::kNotFound);
  EXPECT_EQ(kind({.model = dense, .out = path("no/such/place")}), ErrorKind::kNotFound);
}

// ---- forged routers, seen in a running model

double share_of_busiest_quarter(const std::string& path) {
  ModelRunner runner(path, {});
  std::vector<std::vector<int64_t>> picks(4, std::vector<int64_t>(16));
  runner.model().set_route_observer(
      [&](int64_t layer, size_t, int64_t, std::span<const int32_t> experts, std::span<const float>) {
        for (const int32_t e : experts) ++picks[static_cast<size_t>(layer)][static_cast<size_t>(e)];
      });
  runner.all_logits(some_tokens(runner.spec().vocab, 400));
  double share = 0;
  for (std::vector<int64_t>& layer : picks) {
    std::sort(layer.rbegin(), layer.rend());
    share += static_cast<double>(layer[0] + layer[1] + layer[2] + layer[3]) / (400.0 * 4 * 4);
  }
  return share;
}

TEST_F(Compress, ZipfRoutersPreferSomeExperts) {
  forge({.shape = "moe-tiny", .encoding = Encoding::kQ8_0, .out = path("uniform.gguf")});
  forge({.shape = "moe-tiny", .encoding = Encoding::kQ8_0, .zipf = 1.5, .out = path("zipf.gguf")});
  const double uniform = share_of_busiest_quarter(path("uniform.gguf"));
  const double zipf = share_of_busiest_quarter(path("zipf.gguf"));
  RecordProperty("uniform", std::to_string(uniform));
  RecordProperty("zipf", std::to_string(zipf));
  EXPECT_LT(uniform, 0.42);
  EXPECT_GT(zipf, 0.55);
}

}  // namespace
}  // namespace sluice::test
