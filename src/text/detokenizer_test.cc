#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "text/tokenizer.h"
#include "text/tokenizer_utf8.h"

namespace sluice {
namespace {

// Each byte is a token: id = byte. 256 is "<x>", special.
std::shared_ptr<const Tokenizer> byte_tokenizer() {
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  const char* const digits = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">");
    vocabulary.types.push_back(6);
  }
  vocabulary.tokens.push_back("<x>");
  vocabulary.types.push_back(3);
  return load_tokenizer_gguf(vocabulary);
}

TEST(StreamingDetokenizer, WaitsForWholeCharacters) {
  const auto tokenizer = byte_tokenizer();
  StreamingDetokenizer detokenizer(*tokenizer);
  EXPECT_EQ(detokenizer.push('a'), "a");
  EXPECT_EQ(detokenizer.push(0xF0), "");
  EXPECT_EQ(detokenizer.push(0x9F), "");
  EXPECT_EQ(detokenizer.push(0x99), "");
  EXPECT_EQ(detokenizer.push(0x82), "🙂");
  EXPECT_EQ(detokenizer.flush(), "");
  EXPECT_EQ(detokenizer.push(0xC3), "");
  EXPECT_EQ(detokenizer.flush(), "\uFFFD");
  EXPECT_EQ(detokenizer.flush(), "");
}

TEST(StreamingDetokenizer, BrokenCharactersAreReplaced) {
  const auto tokenizer = byte_tokenizer();
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{0x80, 'a', 0xC3, 'b', 0xE2, 0x82}),
            "\uFFFDa\uFFFDb\uFFFD");
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{0xED, 0xA0, 0x80}), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{-1, 5000, 'x'}), "x");
}

TEST(StreamingDetokenizer, SpecialTokens) {
  const auto tokenizer = byte_tokenizer();
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{256, 'a'}), "<x>a");
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{256, 'a'}, true), "a");
}

TEST(StreamingDetokenizer, FirstSpace) {
  const auto tokenizer = byte_tokenizer();
  const std::vector<int32_t> ids = {' ', ' ', 'a'};
  EXPECT_EQ(tokenizer->decode(ids), " a");
  StreamingDetokenizer continuation(*tokenizer, false, /*at_text_start=*/false);
  std::string text;
  for (const int32_t id : ids) text += continuation.push(id);
  EXPECT_EQ(text, "  a");
}

// Whatever the ids: each part is valid UTF-8, and the parts are what decode() gives.
TEST(StreamingDetokenizer, PartsAreValidAndAddUp) {
  const auto tokenizer = byte_tokenizer();
  std::mt19937 random(5);
  for (int round = 0; round < 500; ++round) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < random() % 20; ++i) {
      ids.push_back(static_cast<int32_t>(random() % 2 ? 0x80 + random() % 0x80 : random() % 257));
    }
    StreamingDetokenizer detokenizer(*tokenizer);
    std::string text;
    std::string bytes;
    for (const int32_t id : ids) {
      const std::string part = detokenizer.push(id);
      ASSERT_TRUE(is_valid_utf8(part));
      text += part;
      bytes += tokenizer->token_bytes(id);
    }
    text += detokenizer.flush();
    ASSERT_EQ(text, tokenizer->decode(ids));
    if (bytes.starts_with(' ')) bytes.erase(0, 1);
    ASSERT_EQ(text, replace_invalid_utf8(bytes));
  }
}

TEST(Utf8, StepsAreMaximalSubparts) {
  EXPECT_EQ(replace_invalid_utf8("a\xF0\x9F\x99z"), "a\uFFFDz");
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF"), "\uFFFD\uFFFD");
  EXPECT_EQ(replace_invalid_utf8("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(replace_invalid_utf8("ok \u00E9"), "ok \u00E9");
  EXPECT_FALSE(is_valid_utf8("\xE2\x82"));
  EXPECT_TRUE(is_valid_utf8("12345678é"));
}

}  // namespace
}  // namespace sluice
