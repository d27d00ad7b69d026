#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/tokenizer.h"

namespace sluice {
namespace {

using Ids = std::vector<int32_t>;

// The protobuf wire format, as little of it as the models need.
std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes += static_cast<char>(value);
}
std::string number(uint32_t field, uint64_t value) { return varint(field << 3) + varint(value); }
std::string bytes(uint32_t field, const std::string& value) {
  return varint(field << 3 | 2) + varint(value.size()) + value;
}
std::string real(uint32_t field, float value) {
  std::string raw(4, '\0');
  std::memcpy(raw.data(), &value, 4);
  return varint(field << 3 | 5) + raw;
}
std::string piece(const std::string& text, float score, uint64_t type = 1) {
  return bytes(1, bytes(1, text) + real(2, score) + number(3, type));
}

constexpr uint64_t kUnigram = 1;
constexpr uint64_t kBpe = 2;

// <unk> <s> </s> <0x41> and a few letters; "▁[x]" is a user-defined symbol.
std::string model(uint64_t type, const std::string& normalizer) {
  return piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + piece("<0x41>", 0, 6) +
         piece("▁", -3) + piece("a", -4) + piece("b", -5) + piece("ab", -1) + piece("▁ab", -2) +
         piece("▁[x]", 0, 4) + bytes(2, number(3, type) + number(99, 7)) + bytes(3, normalizer);
}

const std::string kPlain = number(3, 1) + number(4, 0) + number(5, 1);

TEST(SentencePiece, Bpe) {
  const auto tokenizer = load_sentencepiece(model(kBpe, kPlain));
  EXPECT_EQ(tokenizer->encode("ab b"), (Ids{1, 8, 4, 6}));
  EXPECT_EQ(tokenizer->encode("abAx", {EncodeOptions::AddSpecial::kNever, false, true}), (Ids{8, 3, 0}));
  EXPECT_EQ(tokenizer->encode(" ab"), (Ids{1, 4, 8}));
  EXPECT_EQ(tokenizer->decode(Ids{1, 8, 4, 6}, true), "ab b");
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_EQ(tokenizer->unk(), 0);
  EXPECT_EQ(tokenizer->end_ids(), (Ids{2}));
}

TEST(SentencePiece, Unigram) {
  const auto tokenizer = load_sentencepiece(model(kUnigram, kPlain));
  EXPECT_EQ(tokenizer->encode("ab b"), (Ids{1, 8, 4, 6}));
  EXPECT_EQ(tokenizer->encode("aab"), (Ids{1, 4, 5, 7}));
}

TEST(SentencePiece, UserDefinedSymbolsAreWhole) {
  const auto tokenizer = load_sentencepiece(model(kBpe, kPlain));
  EXPECT_EQ(tokenizer->encode("ab [x]ab"), (Ids{1, 8, 9, 7}));
}

TEST(SentencePiece, PrefixOnlyAtTheStart) {
  const auto tokenizer = load_sentencepiece(model(kBpe, kPlain));
  const EncodeOptions parse = {EncodeOptions::AddSpecial::kNever, true, true};
  EXPECT_EQ(tokenizer->encode("ab</s>ab", parse), (Ids{8, 2, 7}));
  EXPECT_EQ(tokenizer->encode("ab", {EncodeOptions::AddSpecial::kNever, true, false}), (Ids{7}));
}

TEST(SentencePiece, BlanksAsTheNormalizerSays) {
  const auto collapsing = load_sentencepiece(model(kBpe, number(3, 1) + number(4, 1)));
  EXPECT_EQ(collapsing->encode("  ab   ab "), (Ids{1, 8, 8}));
  const auto bare = load_sentencepiece(model(kBpe, number(3, 0) + number(4, 0)));
  EXPECT_EQ(bare->encode("ab"), (Ids{1, 7}));
  EXPECT_FALSE(bare->strips_first_space());
}

// Whatever is cut off: an error, or a smaller model.
TEST(SentencePiece, TruncatedFiles) {
  const std::string whole = model(kBpe, kPlain);
  size_t n_refused = 0;
  for (size_t n = 0; n < whole.size(); ++n) {
    try {
      (void)load_sentencepiece(whole.substr(0, n))->encode("ab [x]");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kCorrupt) << error.what();
      ++n_refused;
    }
  }
  EXPECT_GT(n_refused, whole.size() / 2);
}

TEST(SentencePiece, BrokenFilesAreRefused) {
  const std::string huge_length = varint(1 << 3 | 2) + varint(~uint64_t{0}) + "x";
  const std::string cases[] = {
      "",
      "not a protobuf",
      huge_length,
      std::string(20, '\xFF'),
      piece("a", 0, 9),
      piece("a", std::numeric_limits<float>::quiet_NaN()),
      piece("<unk>", 0, 2) + bytes(2, number(3, kBpe) + number(41, 77)),
      piece("<unk>", 0, 2) + bytes(2, number(3, 4)),
      model(kBpe, bytes(2, "xx")),
  };
  for (const std::string& file : cases) EXPECT_THROW(load_sentencepiece(file), Error) << printable(file);
}

TEST(Tiktoken, RankFile) {
  const auto tokenizer = load_tiktoken("YQ== 0\nYg== 1\r\nYWI= 2\n", "gpt-2", {{"<|endoftext|>", 5}});
  EXPECT_EQ(tokenizer->encode("abba"), (Ids{2, 1, 0}));
  EXPECT_EQ(tokenizer->eos(), 5);
  EXPECT_EQ(tokenizer->vocab_size(), 6u);
  EXPECT_EQ(tokenizer->encode("a<|endoftext|>", {EncodeOptions::AddSpecial::kDefault, true, true}),
            (Ids{0, 5}));
}

TEST(Tiktoken, BrokenFilesAreRefused) {
  for (const char* file : {"", "\n", "YQ==", "YQ== x", "YQ== -1", "YQ== 99999999999", "!! 0",
                           "YQ== 0\nYg== 0\n", " 0", "YQ== 4194304"}) {
    EXPECT_THROW(load_tiktoken(file, "gpt-2"), Error) << file;
  }
  EXPECT_THROW(load_tiktoken("YQ== 0\n", "no such pattern"), Error);
}

GgufVocabulary gguf(const char* type) {
  GgufVocabulary vocabulary;
  vocabulary.model = type;
  vocabulary.tokens = {"<s>", "</s>", "<unk>", "a", "b", "ab", "▁"};
  vocabulary.types = {3, 3, 2, 1, 1, 1, 1};
  vocabulary.scores = {0, 0, 0, -2, -2, -1, -1};
  vocabulary.merges = {"a b"};
  vocabulary.bos = 0;
  vocabulary.eos = 1;
  vocabulary.unk = 2;
  return vocabulary;
}

TEST(GgufTokenizer, Models) {
  EXPECT_EQ(load_tokenizer_gguf(gguf("gpt2"))->encode("abb"), (Ids{5, 4}));
  EXPECT_EQ(load_tokenizer_gguf(gguf("llama"))->encode("abb"), (Ids{0, 6, 5, 4}));
  EXPECT_EQ(load_tokenizer_gguf(gguf("t5"))->encode("abb"), (Ids{6, 5, 4, 1}));
  GgufVocabulary vocabulary = gguf("gpt2");
  vocabulary.pre = "llama-bpe";
  vocabulary.eot = 6;
  EXPECT_EQ(load_tokenizer_gguf(vocabulary)->encode("ab"), (Ids{0, 5}));
  EXPECT_EQ(load_tokenizer_gguf(vocabulary)->end_ids(), (Ids{1, 6}));
  vocabulary.add_bos = false;
  EXPECT_EQ(load_tokenizer_gguf(vocabulary)->encode("ab"), (Ids{5}));
  vocabulary = gguf("llama");
  vocabulary.add_space_prefix = false;
  EXPECT_EQ(load_tokenizer_gguf(vocabulary)->encode("ab"), (Ids{0, 5}));
}

TEST(GgufTokenizer, BrokenMetadataIsRefused) {
  const auto refused = [](void (*change)(GgufVocabulary*), const char* type = "gpt2") {
    GgufVocabulary vocabulary = gguf(type);
    change(&vocabulary);
    EXPECT_THROW(load_tokenizer_gguf(vocabulary), Error);
  };
  refused([](GgufVocabulary* v) { v->tokens.clear(); });
  refused([](GgufVocabulary* v) { v->scores.pop_back(); });
  refused([](GgufVocabulary* v) { v->types.pop_back(); });
  refused([](GgufVocabulary* v) { v->types[0] = 7; });
  refused([](GgufVocabulary* v) { v->bos = 7; });
  refused([](GgufVocabulary* v) { v->eos = -1; });
  refused([](GgufVocabulary* v) { v->model = "bert"; });
  refused([](GgufVocabulary* v) { v->pre = "unheard-of"; });
  refused([](GgufVocabulary* v) { v->unk = 70; }, "llama");
  refused([](GgufVocabulary* v) { v->scores[3] = std::numeric_limits<float>::infinity(); }, "llama");
  refused([](GgufVocabulary* v) { v->charsmap = "broken"; }, "t5");
}

}  // namespace
}  // namespace sluice
