// Token ids against published vectors: llama.cpp's, tiktoken's (as jtokkit ships them), Mistral's.
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "tests/shared_data.h"
#include "text/tokenizer.h"
#include "text/tokenizer_bytes.h"
#include "text/tokenizer_json_value.h"

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

std::vector<int32_t> json_ids(const JsonObject& object, const char* name) {
  std::vector<int32_t> ids;
  const JsonArray array = json_array(object, name).value();
  for (const auto id : array) ids.push_back(static_cast<int32_t>(as_json_integer(id, name)));
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

std::shared_ptr<const Tokenizer> load_from_gguf(const std::string& path) {
  return load_tokenizer_gguf(open_gguf(path)->metadata(), path);
}

class LlamaCppVectors : public testing::TestWithParam<std::string> {};

TEST_P(LlamaCppVectors, GgufVocabulary) {
  SLUICE_REQUIRE_SHARED();
  const auto tokenizer =
      load_from_gguf(shared_path("data/tokenizers/ggml-vocab/ggml-vocab-" + GetParam() + ".gguf"));
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

// Llama 3's ranks as the list of merges that converters make of them: each token is a merge of the two parts
// that lower ranks leave of it. Some tokens are never reached so ("Cửa Việt" needs one), which is why
// "llama-bpe" looks pieces up before it merges.
TEST(TokenizerVectors, Llama3MergesAsGguf) {
  SLUICE_REQUIRE_SHARED();
  const auto ranks =
      load_tiktoken(read_file(shared_path("data/tokenizers/llama3/tokenizer.model")), "llama-bpe");
  const auto rank_of = [&](std::string_view bytes) { return ranks->find(bytes).value_or(INT32_MAX); };
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  for (int32_t id = 0; id < static_cast<int32_t>(ranks->vocab_size()); ++id) {
    vocabulary.tokens.push_back(written_of_bytes(ranks->token_bytes(id)));
    std::vector<std::string> parts;
    for (const char c : ranks->token_bytes(id)) parts.emplace_back(1, c);
    while (parts.size() > 2) {
      size_t best = 0;
      for (size_t i = 1; i + 1 < parts.size(); ++i) {
        if (rank_of(parts[i] + parts[i + 1]) < rank_of(parts[best] + parts[best + 1])) best = i;
      }
      if (rank_of(parts[best] + parts[best + 1]) >= id) break;
      parts[best] += parts[best + 1];
      parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
    }
    if (parts.size() == 2)
      vocabulary.merges.push_back(written_of_bytes(parts[0]) + " " + written_of_bytes(parts[1]));
  }
  vocabulary.pre = "llama-bpe";
  const auto vectors = llama_cpp_vectors("llama-bpe");
  expect_vectors(*load_tokenizer_gguf(vocabulary), vectors, 46);
  vocabulary.pre = "dbrx";  // the same pattern, merges only
  const auto merges_only = load_tokenizer_gguf(vocabulary);
  size_t n_different = 0;
  for (const Vector& vector : vectors) n_different += merges_only->encode(vector.text, kBare) != vector.ids;
  EXPECT_EQ(n_different, 1u);
}

TEST(TokenizerVectors, Llama2SentencePiece) {
  SLUICE_REQUIRE_SHARED();
  const auto tokenizer = load_sentencepiece(read_file(shared_path("data/tokenizers/llama2/tokenizer.model")));
  expect_vectors(*tokenizer, llama_cpp_vectors("llama-spm"), 46);
}

// The fields of a CSV file with quotes, row by row.
std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows(1);
  std::string field;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      if (quoted && i + 1 < text.size() && text[i + 1] == '"')
        field += text[i++];
      else
        quoted = !quoted;
    } else if (!quoted && (c == ',' || c == '\n')) {
      rows.back().push_back(std::move(field));
      field.clear();
      if (c == '\n') rows.emplace_back();
    } else {
      field += c;
    }
  }
  if (field.empty() && rows.back().empty())
    rows.pop_back();
  else
    rows.back().push_back(field);
  return rows;
}

void expect_tiktoken_vectors(const std::string& name, size_t n_expected) {
  const auto tokenizer =
      load_tiktoken(read_file(shared_path("data/tokenizers/tiktoken/" + name + "_base.tiktoken")), name);
  std::vector<Vector> vectors;
  for (const auto& row :
       parse_csv(read_file(shared_path("data/tokenizers/tiktoken/" + name + "_base_encodings.csv")))) {
    if (row.at(0) == "input") continue;
    vectors.push_back({row[0], parse_ids(row.at(1))});
  }
  expect_vectors(*tokenizer, vectors, n_expected);
}

TEST(TokenizerVectors, TiktokenCl100k) {
  SLUICE_REQUIRE_SHARED();
  expect_tiktoken_vectors("cl100k", 423);
}

TEST(TokenizerVectors, TiktokenO200k) {
  SLUICE_REQUIRE_SHARED();
  expect_tiktoken_vectors("o200k", 421);
}

// Rendered conversations, special tokens included, for each version of Mistral's tokenizer.
TEST(TokenizerVectors, MistralSamples) {
  SLUICE_REQUIRE_SHARED();
  const std::map<std::string, std::string> models = {{"v1", "tokenizer.model.v1"},
                                                     {"v2", "mistral_instruct_tokenizer_240216.model.v2"},
                                                     {"v3", "mistral_instruct_tokenizer_240323.model.v3"}};
  size_t n_samples = 0;
  for (const auto& [version, file] : models) {
    const auto tokenizer =
        load_sentencepiece(read_file(shared_path("data/tokenizers/mistral/" + file)), file);
    for (const auto& entry : std::filesystem::directory_iterator(shared_path("data/chat/mistral-samples"))) {
      const auto tokens = entry.path() / ("tokens_" + version + ".json");
      // That sample's ids and text contradict each other.
      if (version == "v2" && entry.path().filename() == "parallel_calls") continue;
      if (!std::filesystem::exists(tokens)) continue;
      std::string text = read_file(entry.path() / ("text_" + version + ".txt"));
      // The file shows pieces: blanks as U+2581 and a line feed as the piece of its byte.
      for (size_t at; (at = text.find("\xE2\x96\x81")) != text.npos;) text.replace(at, 3, " ");
      for (size_t at; (at = text.find("<0x0A>")) != text.npos;) text.replace(at, 6, "\n");
      const EncodeOptions options = {EncodeOptions::AddSpecial::kNever, true, true};
      EXPECT_EQ(tokenizer->encode(text, options), parse_ids(read_file(tokens))) << tokens;
      ++n_samples;
    }
  }
  EXPECT_EQ(n_samples, 12u);
}

TEST(TokenizerVectors, MistralModelsLoad) {
  SLUICE_REQUIRE_SHARED();
  size_t n_models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(shared_path("data/tokenizers/mistral"))) {
    const auto tokenizer = load_sentencepiece(read_file(entry.path()), entry.path());
    const std::string text = "  Zoë wrote:\n\t\"naïve 🙂 \xE4\xBD\xA0\xE5\xA5\xBD\"  ";
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text), true), text) << entry.path();
    EXPECT_GE(tokenizer->vocab_size(), 32000u);
    ++n_models;
  }
  EXPECT_EQ(n_models, 5u);
}

TEST(TokenizerVectors, Stories260K) {
  SLUICE_REQUIRE_SHARED();
  const std::string golden = read_file(shared_path("data/derived/stories260K/golden.json"));
  const JsonDocument document(golden, "golden.json");
  const auto cases = json_array(document.root(), "encode_cases");
  ASSERT_TRUE(cases);
  for (const char* file : {"stories260K-F32.gguf", "stories260K-F16.gguf"}) {
    const auto tokenizer = load_from_gguf(shared_path(std::string("data/derived/stories260K/") + file));
    size_t n_cases = 0;
    for (const auto value : *cases) {
      const JsonObject item = as_json_object(value, "case");
      const std::string text(*json_string(item, "text"));
      const auto ids = json_ids(item, "ids");
      EXPECT_EQ(tokenizer->encode(text, kBare), ids) << text;
      EXPECT_EQ(tokenizer->decode(ids), text);
      ++n_cases;
    }
    EXPECT_EQ(n_cases, 6u);
    const auto greedy = json_ids(document.root(), "greedy_ids");
    EXPECT_EQ(tokenizer->decode(greedy, true), *json_string(document.root(), "greedy_text"));
  }
}

TEST(TokenizerVectors, DemoModel) {
  SLUICE_REQUIRE_SHARED();
  const auto tokenizer = load_tokenizer_directory(shared_path("demo-model"));
  const std::string expected = read_file(shared_path("demo-model/expected.json"));
  const JsonDocument document(expected, "expected.json");
  const auto ids = json_ids(document.root(), "prompt_ids");
  EXPECT_EQ(tokenizer->encode(*json_string(document.root(), "prompt")), ids);
  EXPECT_EQ(tokenizer->eos(), 4093);
  EXPECT_TRUE(tokenizer->is_end(4095));
  size_t n_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(shared_path("demo-model/eval"))) {
    const std::string text = read_file(entry.path());
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text), true), text) << entry.path();
    ++n_files;
  }
  EXPECT_EQ(n_files, 4u);
}

}  // namespace
}  // namespace sluice
