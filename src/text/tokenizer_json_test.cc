#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/scratch.h"
#include "tests/shared_data.h"
#include "text/tokenizer.h"

namespace sluice {
namespace {

using Ids = std::vector<int32_t>;
using AddSpecial = EncodeOptions::AddSpecial;
using test::read_file;
using test::shared_path;

// A tokenizer.json around `model`, with other members as given.
std::string tokenizer_json(const std::string& model, const std::string& rest = "") {
  return R"({"version":"1.0",)" + rest + R"("model":)" + model + "}";
}

const char* const kLetters =
    R"({"type":"BPE","unk_token":"?","vocab":{"?":0,"a":1,"b":2,"ab":3,"c":4,"▁":5,"▁a":6,)"
    R"("▁ab":7},"merges":["a b","▁ a","▁ ab"]})";

TEST(TokenizerJson, Bpe) {
  const auto tokenizer = load_tokenizer_json(tokenizer_json(kLetters));
  EXPECT_EQ(tokenizer->encode("abcax"), (Ids{3, 4, 1, 0}));
  EXPECT_EQ(tokenizer->vocab_size(), 8u);
  EXPECT_EQ(tokenizer->find("ab"), 3);
  EXPECT_EQ(tokenizer->find("zz"), std::nullopt);
  EXPECT_EQ(tokenizer->unk(), 0);
  EXPECT_EQ(tokenizer->token_text(3), "ab");
  EXPECT_EQ(tokenizer->token_text(99), "");
  EXPECT_EQ(tokenizer->token_bytes(-1), "");
}

TEST(TokenizerJson, MergesAsPairs) {
  const auto tokenizer = load_tokenizer_json(
      tokenizer_json(R"({"type":"BPE","vocab":{"a":0," ":1,"a ":2},"merges":[["a"," "]]})"));
  EXPECT_EQ(tokenizer->encode("a a"), (Ids{2, 0}));
}

// The pipeline of Llama 2's tokenizer.json: no pre-tokenizer, blanks by the normalizer, byte fallback.
TEST(TokenizerJson, LlamaStylePipeline) {
  const char* const model =
      R"({"type":"BPE","unk_token":"<unk>","byte_fallback":true,"fuse_unk":true,"vocab":{"<unk>":0,"<s>":1,)"
      R"("<0xC3>":2,"<0xA9>":3,"▁":4,"a":5,"▁a":6},"merges":["▁ a"]})";
  const char* const rest =
      R"("added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true}],)"
      R"("normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
      R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,)"
      R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},)"
      R"({"Sequence":{"id":"A","type_id":0}}]},)"
      R"("decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},)"
      R"({"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},)";
  const auto tokenizer = load_tokenizer_json(tokenizer_json(model, rest), R"({"bos_token":"<s>"})");
  EXPECT_EQ(tokenizer->encode("a é"), (Ids{1, 6, 4, 2, 3}));
  EXPECT_EQ(tokenizer->decode(Ids{1, 6, 4, 2, 3}, true), "a é");
  EXPECT_EQ(tokenizer->decode(Ids{1, 6}), "<s> a");
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_TRUE(tokenizer->strips_first_space());
  EncodeOptions options;
  options.add_special = AddSpecial::kNever;
  EXPECT_EQ(tokenizer->encode("a", options), (Ids{6}));
  options.at_text_start = false;
  EXPECT_EQ(tokenizer->encode("a", options), (Ids{5}));
  options = {AddSpecial::kNever, true, true};
  EXPECT_EQ(tokenizer->encode("<s>a", options), (Ids{1, 6}));
  EXPECT_EQ(tokenizer->encode(""), (Ids{1}));
}

TEST(TokenizerJson, BosAndEosAsConfigured) {
  const char* const rest =
      R"("added_tokens":[{"id":8,"content":"<b>","special":true},{"id":9,"content":"<e>",)"
      R"("special":true}],)";
  const std::string json = tokenizer_json(kLetters, rest);
  const auto encode = [&](const char* config, AddSpecial add) {
    return load_tokenizer_json(json, config)->encode("a", {add, false, true});
  };
  const char* const silent = R"({"bos_token":"<b>","eos_token":{"content":"<e>"}})";
  EXPECT_EQ(encode(silent, AddSpecial::kDefault), (Ids{1}));
  EXPECT_EQ(encode(silent, AddSpecial::kAlways), (Ids{8, 1}));
  const char* const both =
      R"({"bos_token":"<b>","eos_token":"<e>","add_bos_token":true,"add_eos_token":true})";
  EXPECT_EQ(encode(both, AddSpecial::kDefault), (Ids{8, 1, 9}));
  EXPECT_EQ(encode(both, AddSpecial::kAlways), (Ids{8, 1, 9}));
  EXPECT_EQ(encode(both, AddSpecial::kNever), (Ids{1}));
  const auto tokenizer = load_tokenizer_json(json, both);
  EXPECT_EQ(tokenizer->bos(), 8);
  EXPECT_EQ(tokenizer->eos(), 9);
  EXPECT_EQ(tokenizer->end_ids(), (Ids{9}));
  EXPECT_TRUE(tokenizer->is_special(8));
  EXPECT_FALSE(tokenizer->is_special(1));
}

TEST(TokenizerJson, SpecialTokensOnlyWhenParsed) {
  const auto tokenizer = load_tokenizer_json(
      tokenizer_json(kLetters, R"("added_tokens":[{"id":8,"content":"c","special":true}],)"));
  EXPECT_EQ(tokenizer->encode("aca", {AddSpecial::kDefault, true, true}), (Ids{1, 8, 1}));
  EXPECT_EQ(tokenizer->encode("aca", {AddSpecial::kDefault, false, true}), (Ids{1, 4, 1}));
}

TEST(TokenizerJson, Metaspace) {
  const char* const rest =
      R"("pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"},)"
      R"("decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"},)";
  const auto tokenizer = load_tokenizer_json(tokenizer_json(kLetters, rest));
  EXPECT_EQ(tokenizer->encode("ab a"), (Ids{7, 6}));
  EXPECT_EQ(tokenizer->decode(Ids{7, 6}), "ab a");
}

TEST(TokenizerJson, Unigram) {
  const char* const model =
      R"({"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-2],["b",-2],["ab",-3],["ba",-1.5],["▁",-1]]})";
  const auto tokenizer = load_tokenizer_json(tokenizer_json(
      model, R"("pre_tokenizer":{"type":"Metaspace","replacement":"▁","add_prefix_space":false},)"));
  EXPECT_EQ(tokenizer->encode("abab b"), (Ids{1, 4, 2, 5, 2}));
  EXPECT_EQ(tokenizer->encode("axxa"), (Ids{1, 0, 1}));
}

TEST(TokenizerJson, EachStepIsKnown) {
  const char* const steps[] = {
      R"("normalizer":{"type":"NFC"},)",
      R"("normalizer":{"type":"NFD"},)",
      R"("normalizer":{"type":"NFKC"},)",
      R"("normalizer":{"type":"NFKD"},)",
      R"("normalizer":{"type":"Lowercase"},)",
      R"("normalizer":{"type":"StripAccents"},)",
      R"("normalizer":{"type":"Strip","strip_left":true,"strip_right":true},)",
      R"("normalizer":{"type":"Replace","pattern":{"Regex":" +"},"content":" "},)",
      R"("pre_tokenizer":{"type":"Digits","individual_digits":true},)",
      R"("pre_tokenizer":{"type":"Punctuation","behavior":"Contiguous"},)",
      R"("pre_tokenizer":{"type":"Whitespace"},)",
      R"("pre_tokenizer":{"type":"WhitespaceSplit"},)",
      R"("pre_tokenizer":{"type":"Split","pattern":{"String":"b"},"behavior":"MergedWithNext","invert":true},)",
      R"("post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"}]},)",
      R"("post_processor":{"type":"RobertaProcessing","sep":["b",2],"cls":["a",1]},)",
  };
  for (const char* step : steps) {
    EXPECT_FALSE(load_tokenizer_json(tokenizer_json(kLetters, step))->encode("aB c1.").empty()) << step;
  }
}

TEST(TokenizerJson, WhatIsNotSupportedIsNamed) {
  const char* const cases[][2] = {
      {R"("normalizer":{"type":"Wat"},)", "normalizer \"Wat\""},
      {R"("pre_tokenizer":{"type":"UnicodeScripts"},)", "pre-tokenizer \"UnicodeScripts\""},
      {R"("decoder":{"type":"CTC"},)", "decoder \"CTC\""},
      {R"("post_processor":{"type":"X"},)", "post-processor \"X\""},
  };
  for (const auto& [rest, message] : cases) {
    try {
      load_tokenizer_json(tokenizer_json(kLetters, rest));
      FAIL() << rest;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
    }
  }
}

TEST(TokenizerJson, BrokenFilesAreRefused) {
  const std::string cases[] = {
      "",
      "{",
      "[]",
      "{}",
      tokenizer_json("3"),
      tokenizer_json(R"({"type":"WordPiece","vocab":{}})"),
      tokenizer_json(R"({"type":"BPE"})"),
      tokenizer_json(R"({"type":"BPE","vocab":{"a":-1},"merges":[]})"),
      tokenizer_json(R"({"type":"BPE","vocab":{"a":99999999999},"merges":[]})"),
      tokenizer_json(R"({"type":"BPE","vocab":{"a":1,"b":1},"merges":[]})"),
      tokenizer_json(R"({"type":"BPE","vocab":{"a":"x"},"merges":[]})"),
      tokenizer_json(R"({"type":"BPE","vocab":{"a":0},"merges":["a b"]})"),
      tokenizer_json(R"({"type":"BPE","vocab":{"a":0},"merges":["a"]})"),
      tokenizer_json(R"({"type":"BPE","vocab":{"a":0},"merges":[["a"]]})"),
      tokenizer_json(R"({"type":"BPE","vocab":{"a":0},"merges":[],"end_of_word_suffix":"</w>"})"),
      tokenizer_json(R"({"type":"Unigram","vocab":[["a"]]})"),
      tokenizer_json(R"({"type":"Unigram","unk_id":7,"vocab":[["a",0]]})"),
      tokenizer_json(kLetters, R"("added_tokens":[{"id":-5,"content":"x"}],)"),
      tokenizer_json(kLetters, R"("added_tokens":[{"content":"x"}],)"),
      tokenizer_json(kLetters, R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(("}},)"),
      tokenizer_json(kLetters, R"("pre_tokenizer":{"type":"Split"},)"),
      tokenizer_json(kLetters, R"("normalizer":{"type":"Precompiled","precompiled_charsmap":"!!"},)"),
      tokenizer_json(kLetters, R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":)"
                               R"({"id":"nope"}}]},)"),
  };
  for (const std::string& json : cases) EXPECT_THROW(load_tokenizer_json(json), Error) << json;
}

// Every tokenizer.json there is: loads, and gives real texts back.
TEST(TokenizerJson, FilesGiveTextsBack) {
  SLUICE_REQUIRE_SHARED();
  const char* const files[] = {"data/tokenizers/gpt-neox/tokenizer.json",
                               "data/tokenizers/minimind/tokenizer.json",
                               "data/weights/hf-tiny-gpt2-50257/tokenizer.json", "demo-model/tokenizer.json"};
  const char* const texts[] = {"frankenstein.txt", "tinyshakespeare.txt", "wiki.test.raw",
                               "tinystories-v2-2MiB.txt"};
  for (const char* file : files) {
    const auto tokenizer = load_tokenizer_json(read_file(shared_path(file)), {}, file);
    for (const char* name : texts) {
      const std::string text = read_file(shared_path(std::string("data/text/") + name));
      const auto ids = tokenizer->encode(text, {AddSpecial::kNever, false, true});
      EXPECT_LT(ids.size(), text.size());
      EXPECT_EQ(tokenizer->decode(ids), text) << file << " " << name;
    }
  }
}

// Fixtures with few tokens: they load, and know what little they know.
TEST(TokenizerJson, SmallFixturesLoad) {
  SLUICE_REQUIRE_SHARED();
  const auto llama = load_tokenizer_json(read_file(shared_path("data/tokenizers/mini_llama.json")));
  EXPECT_EQ(llama->find("<|begin_of_text|>"), 128000);
  const auto tiny = load_tokenizer_json(read_file(shared_path("data/weights/hf-tiny-gpt2/tokenizer.json")));
  EXPECT_EQ(tiny->vocab_size(), 100u);
  // None of its merges is between tokens; the tokenizers library refuses it as well.
  EXPECT_THROW(
      load_tokenizer_json(read_file(shared_path("data/tokenizers/misc/pytorch_test_hf_tokenizer.json"))),
      Error);
}

TEST(TokenizerJson, Gpt2FilesAgree) {
  SLUICE_REQUIRE_SHARED();
  const std::string directory = shared_path("data/weights/hf-tiny-gpt2-50257/");
  const auto from_json = load_tokenizer_directory(directory);
  const auto from_pair =
      load_vocab_merges(read_file(directory + "vocab.json"), read_file(directory + "merges.txt"), "gpt-2");
  const std::string text = read_file(shared_path("data/text/wiki.test.raw"));
  EXPECT_EQ(from_json->encode(text), from_pair->encode(text));
  EXPECT_EQ(from_json->eos(), 50256);
  EXPECT_TRUE(from_json->is_end(50256));
}

TEST(TokenizerDirectory, Qwen2) {
  SLUICE_REQUIRE_SHARED();
  const auto tokenizer = load_tokenizer_directory(shared_path("data/tokenizers/qwen2"));
  EXPECT_EQ(tokenizer->eos(), 151645);
  EXPECT_EQ(tokenizer->end_ids(), (Ids{151643, 151645}));
  EXPECT_EQ(tokenizer->pad(), 151643);
  EXPECT_FALSE(tokenizer->bos());
  EXPECT_EQ(tokenizer->encode("<|im_start|>hi", {AddSpecial::kDefault, true, true}), (Ids{151644, 6023}));
  EXPECT_EQ(tokenizer->encode("e\u0301"), tokenizer->encode("\u00E9"));
}

TEST(TokenizerDirectory, Llama3RankFile) {
  SLUICE_REQUIRE_SHARED();
  const auto tokenizer = load_tokenizer_directory(shared_path("data/tokenizers/llama3"));
  EXPECT_EQ(tokenizer->bos(), 128000);
  EXPECT_EQ(tokenizer->find("<|eot_id|>"), 128009);
  EXPECT_EQ(tokenizer->vocab_size(), 128256u);
  EXPECT_TRUE(tokenizer->is_end(128009));
}

TEST(TokenizerDirectory, Llama2SentencePiece) {
  SLUICE_REQUIRE_SHARED();
  const auto tokenizer = load_tokenizer_directory(shared_path("data/tokenizers/llama2"));
  EXPECT_EQ(tokenizer->encode("Hello"), (Ids{1, 15043}));
  EXPECT_EQ(tokenizer->eos(), 2);
}

TEST(TokenizerDirectory, NothingThere) {
  try {
    load_tokenizer_directory(test::Scratch().path().string());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  }
}

}  // namespace
}  // namespace sluice
