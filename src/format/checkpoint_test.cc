// Real files: every checkpoint of the test data opens, and its table is what is known of it.
#include "format/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "format/gguf.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

using test::shared_path;

struct GgufCase {
  const char* path;
  const char* architecture;
  size_t n_tensors;
  size_t n_tokens;
  size_t n_merges;
};

TEST(Checkpoint, OpensEveryGguf) {
  SLUICE_REQUIRE_SHARED();
  const GgufCase kCases[] = {
      {"data/weights/gguf/llama-2-tiny-random.gguf", "llama", 12, 32000, 0},
      {"data/derived/stories260K/stories260K-F32.gguf", "llama", 48, 512, 0},
      {"data/derived/stories260K/stories260K-F16.gguf", "llama", 48, 512, 0},
      {"data/tokenizers/ggml-vocab/ggml-vocab-deepseek-coder.gguf", "llama", 0, 32256, 31757},
      {"data/tokenizers/ggml-vocab/ggml-vocab-deepseek-llm.gguf", "llama", 0, 102400, 99757},
      {"data/tokenizers/ggml-vocab/ggml-vocab-gpt-2.gguf", "gpt2", 0, 50257, 50000},
      {"data/tokenizers/ggml-vocab/ggml-vocab-llama-spm.gguf", "llama", 0, 32000, 0},
      {"data/tokenizers/ggml-vocab/ggml-vocab-phi-3.gguf", "phi3", 0, 32064, 0},
  };
  for (const GgufCase& c : kCases) {
    SCOPED_TRACE(c.path);
    const auto checkpoint = Checkpoint::open(shared_path(c.path));
    EXPECT_EQ(checkpoint->family(), CheckpointFamily::kGguf);
    const GgufMetadata& metadata = checkpoint->metadata();
    EXPECT_EQ(*metadata.string("general.architecture"), c.architecture);
    EXPECT_EQ(checkpoint->tensors().size(), c.n_tensors);
    ASSERT_NE(metadata.strings("tokenizer.ggml.tokens"), nullptr);
    EXPECT_EQ(metadata.strings("tokenizer.ggml.tokens")->size(), c.n_tokens);
    const auto* merges = metadata.strings("tokenizer.ggml.merges");
    EXPECT_EQ(merges ? merges->size() : 0, c.n_merges);
  }
}

TEST(Checkpoint, GgufTable) {
  SLUICE_REQUIRE_SHARED();
  const auto checkpoint = Checkpoint::open(shared_path("data/weights/gguf/llama-2-tiny-random.gguf"));
  size_t n_f16 = 0;
  size_t n_f32 = 0;
  for (const TensorInfo& tensor : checkpoint->tensors()) {
    n_f16 += tensor.encoding == Encoding::kF16;
    n_f32 += tensor.encoding == Encoding::kF32;
  }
  EXPECT_EQ(n_f16, 9u);
  EXPECT_EQ(n_f32, 3u);
  const TensorInfo* embedding = checkpoint->find("token_embd.weight");
  ASSERT_NE(embedding, nullptr);
  EXPECT_EQ(embedding->shape, (std::vector<uint64_t>{32000, 8}));
  const TensorInfo& last = checkpoint->tensors().back();
  EXPECT_EQ(last.offset + last.bytes, std::filesystem::file_size(checkpoint->path()));
  EXPECT_EQ(checkpoint->find("no.such.tensor"), nullptr);
}

struct SafetensorsCase {
  const char* path;
  const char* model_type;
  const char* tensor;
  std::vector<uint64_t> shape;
};

TEST(Checkpoint, OpensEverySafetensors) {
  SLUICE_REQUIRE_SHARED();
  const SafetensorsCase kCases[] = {
      {"data/weights/hf-tiny-gpt2-50257", "gpt2", "transformer.h.0.attn.c_attn.weight", {16, 48}},
      {"data/weights/hf-tiny-gpt2", "gpt2", "transformer.wte.weight", {100, 16}},
      {"data/derived/stories260K/hf", "llama", "model.embed_tokens.weight", {512, 64}},
      {"data/derived/moe/tiny-mixtral", "mixtral", "model.embed_tokens.weight", {}},
      {"data/derived/moe/tiny-qwen3-moe", "qwen3_moe", "model.embed_tokens.weight", {}},
      {"data/weights/hf-tiny-model", "tiny_test", "model.embed_tokens.weight", {32, 8}},
      {"demo-model", "qwen3_moe", "model.embed_tokens.weight", {}},
  };
  for (const SafetensorsCase& c : kCases) {
    SCOPED_TRACE(c.path);
    const auto checkpoint = Checkpoint::open(shared_path(c.path));
    EXPECT_EQ(checkpoint->family(), CheckpointFamily::kHuggingFace);
    const nlohmann::ordered_json& config = checkpoint->config();
    EXPECT_EQ(config.at("model_type"), c.model_type);
    const TensorInfo* tensor = checkpoint->find(c.tensor);
    ASSERT_NE(tensor, nullptr);
    const std::vector<uint64_t> expected =
        c.shape.empty() ? std::vector<uint64_t>{config.at("vocab_size"), config.at("hidden_size")} : c.shape;
    EXPECT_EQ(tensor->shape, expected);
    EXPECT_NE(tensor->encoding, Encoding::kCount);
    const TensorInfo& last = checkpoint->tensors().back();
    EXPECT_EQ(last.offset + last.bytes, std::filesystem::file_size(checkpoint->files()[0]));
  }
}

TEST(Checkpoint, RefusesOddFiles) {
  SLUICE_REQUIRE_SHARED();
  struct Case {
    const char* path;
    ErrorKind kind;
    const char* mentions;
  };
  const Case kCases[] = {
      {"data/gguf-oddities/badmagic-FUGG.gguf", ErrorKind::kUnsupported, "FUGG"},
      {"data/gguf-oddities/gguf-v1-467382.gguf", ErrorKind::kUnsupported, "version 1"},
      {"data/gguf-oddities/gguf-v1-595423.gguf", ErrorKind::kUnsupported, "version 1"},
      {"data/weights/hf-tiny-llama", ErrorKind::kUnsupported, "convert to safetensors"},
      {"data/weights/hf-tiny-llama/pytorch_model.bin", ErrorKind::kUnsupported, "convert it to safetensors"},
      {"data/weights/hf-tiny-gpt2/model.safetensors", ErrorKind::kInvalid, "give the directory"},
      {"data/INDEX.md", ErrorKind::kUnsupported, "no model file"},
      {"data/text", ErrorKind::kNotFound, "no model in this directory"},
      {"data/no-such-file", ErrorKind::kNotFound, "no-such-file"},
  };
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.path);
    try {
      Checkpoint::open(shared_path(c.path));
      ADD_FAILURE() << "opened";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), c.kind) << e.what();
      EXPECT_NE(std::string(e.what()).find(c.mentions), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find(c.path), std::string::npos) << e.what();
    }
  }
}

}  // namespace
}  // namespace sluice
