// Token ids against published vectors: llama.cpp's, tiktoken's (as jtokkit ships them), Mistral's.
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/shared_data.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json_value.h"
#include "text/tokenizer_test_gguf.h"

namespace sluice {
namespace {

using test::read_file;
using test::shared_path;

std::vector<int32_t> parse_ids(std::string_view text) {
  std::vector<int32_t> ids;
  for (size_t i = 0; i < text.size();) {
    if (text[i] < '0' || text[i] > '9') {
      ++i;
      continue;
    }
    int32_t id = 0;
    const auto end = std::from_chars(text.data() + i, text.data() + text.size(), id).ptr;
    ids.push_back(id);
    i = static_cast<size_t>(end - text.data());
  }
  return ids;
}

struct Vector {
  std::string text;
  std::vector<int32_t> ids;
};

// .inp: texts between separator lines; .out: a line of ids for each. The last text is empty and has no ids.
std::vector<Vector> llama_cpp_vectors(const std::string& name) {
  const std::string base = shared_path("data/tokenizers/ggml-vocab/ggml-vocab-" + name + ".gguf");
  const std::string separator = "\n__ggml_vocab_test__\n";
  const std::string texts = read_file(base + ".inp");
  const std::string ids = read_file(base + ".out");
  std::vector<Vector> vectors;
  size_t text_begin = 0;
  size_t line_begin = 0;
  while (line_begin < ids.size()) {
    const size_t text_end = texts.find(separator, text_begin);
    const size_t line_end = ids.find('\n', line_begin);
    vectors.push_back({texts.substr(text_begin, text_end - text_begin),
                       parse_ids(std::string_view(ids).substr(line_begin, line_end - line_begin))});
    if (text_end == texts.npos || line_end == ids.npos) break;
    text_begin = text_end + separator.size();
    line_begin = line_end + 1;
  }
  return vectors;
}

constexpr EncodeOptions kBare = {EncodeOptions::AddSpecial::kNever, false, true};

void expect_vectors(const Tokenizer& tokenizer, const std::vector<Vector>& vectors, size_t n_expected) {
  EXPECT_EQ(vectors.size(), n_expected);
  for (const Vector& vector : vectors) {
    EXPECT_EQ(tokenizer.encode(vector.text, kBare), vector.ids) << vector.text;
    EXPECT_EQ(tokenizer.decode(vector.ids), vector.text);
  }
}

class LlamaCppVectors : public testing::TestWithParam<std::string> {};

TEST_P(LlamaCppVectors, GgufVocabulary) {
  SLUICE_REQUIRE_SHARED();
  const auto tokenizer =
      test::load_gguf_tokenizer(shared_path("data/tokenizers/ggml-vocab/ggml-vocab-" + GetParam() + ".gguf"));
  expect_vectors(*tokenizer, llama_cpp_vectors(GetParam()), 46);
}

INSTANTIATE_TEST_SUITE_P(All, LlamaCppVectors,
                         testing::Values("gpt-2", "deepseek-coder", "deepseek-llm", "llama-spm", "phi-3"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// The names above are all the vocabularies there are: a new file must be listed.
TEST(LlamaCppVectors, NoVocabularyIsForgotten) {
  SLUICE_REQUIRE_SHARED();
  size_t n_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(shared_path("data/tokenizers/ggml-vocab"))) {
    n_files += entry.path().extension() == ".gguf";
  }
  EXPECT_EQ(n_files, 5u);
}

TEST(TokenizerVectors, Gpt2VocabMerges) {
  SLUICE_REQUIRE_SHARED();
  const auto tokenizer =
      load_vocab_merges(read_file(shared_path("data/tokenizers/gpt2/vocab.json")),
                        read_file(shared_path("data/tokenizers/gpt2/merges.txt")), "gpt-2");
  expect_vectors(*tokenizer, llama_cpp_vectors("gpt-2"), 46);
  EXPECT_EQ(tokenizer->eos(), 50256);
}

TEST(TokenizerVectors, Qwen2VocabMerges) {
  SLUICE_REQUIRE_SHARED();
  const std::string directory = shared_path("data/tokenizers/qwen2/");
  const auto tokenizer = load_vocab_merges(
      read_file(directory + "vocab.json"), read_file(directory + "merges.txt"), "qwen2",
      read_file(directory + "added_tokens.json"), read_file(directory + "tokenizer_config.json"));
  expect_vectors(*tokenizer, llama_cpp_vectors("qwen2"), 46);
  expect_vectors(*tokenizer, llama_cpp_vectors("deepseek-r1-qwen"), 46);
}

TEST(TokenizerVectors, Llama3RankFile) {
  SLUICE_REQUIRE_SHARED();
  const auto tokenizer =
      load_tiktoken(read_file(shared_path("data/tokenizers/llama3/tokenizer.model")), "llama-bpe",
                    {{"<|begin_of_text|>", 128000}, {"<|end_of_text|>", 128001}});
  expect_vectors(*tokenizer, llama_cpp_vectors("llama-bpe"), 46);
  EXPECT_TRUE(tokenizer->adds_bos());
}

TEST(TokenizerVectors, Llama2SentencePiece) {
  SLUICE_REQUIRE_SHARED();
  const auto tokenizer = load_sentencepiece(read_file(shared_path("data/tokenizers/llama2/tokenizer.model")));
  expect_vectors(*tokenizer, llama_cpp_vectors("llama-spm"), 46);
}

}  // namespace
}  // namespace sluice
