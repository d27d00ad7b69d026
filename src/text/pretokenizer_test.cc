#include "text/pretokenizer.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sluice {
namespace {

using Behavior = PreTokenizer::Behavior;
using Texts = std::vector<std::string>;

Texts cut(const PreTokenizer& pretokenizer, std::string_view text,
          SegmentPlace place = SegmentPlace::kTextStart) {
  PreTokenizer::Pieces pieces;
  pretokenizer.cut(text, place, &pieces);
  Texts texts;
  for (const auto& piece : pieces.pieces) {
    texts.emplace_back(pieces.text.substr(piece.begin, piece.end - piece.begin));
  }
  return texts;
}

Texts split(Behavior behavior, std::string_view text, bool invert = false) {
  PreTokenizer pretokenizer;
  pretokenizer.add(PreTokenizer::Split{Regex("-"), behavior, invert});
  return cut(pretokenizer, text);
}

// The example of the tokenizers library's documentation.
TEST(PreTokenizer, SplitBehaviors) {
  const char* text = "the-final--countdown";
  EXPECT_EQ(split(Behavior::kRemoved, text), (Texts{"the", "final", "countdown"}));
  EXPECT_EQ(split(Behavior::kIsolated, text), (Texts{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(split(Behavior::kMergedWithPrevious, text), (Texts{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(split(Behavior::kMergedWithNext, text), (Texts{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(split(Behavior::kContiguous, text), (Texts{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(split(Behavior::kRemoved, text, true), (Texts{"-", "-", "-"}));
  EXPECT_EQ(split(Behavior::kMergedWithNext, "-a-"), (Texts{"-a", "-"}));
  EXPECT_EQ(split(Behavior::kMergedWithPrevious, "-a-"), (Texts{"-", "a-"}));
}

TEST(PreTokenizer, StepsCutWhatIsLeft) {
  PreTokenizer pretokenizer;
  pretokenizer.add(PreTokenizer::Split{Regex("[0-9]"), Behavior::kIsolated, false});
  pretokenizer.add(PreTokenizer::Split{Regex(" ?[a-z]+"), Behavior::kIsolated, false});
  EXPECT_EQ(cut(pretokenizer, "ab 12 cd"), (Texts{"ab", " ", "1", "2", " cd"}));
}

TEST(PreTokenizer, Metaspace) {
  const auto with = [](PrependScheme scheme, bool split_pieces) {
    PreTokenizer pretokenizer;
    pretokenizer.add(PreTokenizer::Metaspace{"▁", scheme, split_pieces});
    return pretokenizer;
  };
  EXPECT_EQ(cut(with(PrependScheme::kAlways, true), "a  b c"), (Texts{"▁a", "▁", "▁b", "▁c"}));
  EXPECT_EQ(cut(with(PrependScheme::kAlways, true), " a"), (Texts{"▁a"}));
  EXPECT_EQ(cut(with(PrependScheme::kAlways, false), "a b"), (Texts{"▁a▁b"}));
  EXPECT_EQ(cut(with(PrependScheme::kNever, true), "a b"), (Texts{"a", "▁b"}));
  EXPECT_EQ(cut(with(PrependScheme::kFirst, true), "a", SegmentPlace::kAfterToken), (Texts{"a"}));
  EXPECT_EQ(cut(with(PrependScheme::kAlways, true), "a", SegmentPlace::kAfterToken), (Texts{"▁a"}));
  EXPECT_EQ(cut(with(PrependScheme::kAlways, true), "a", SegmentPlace::kContinuation), (Texts{"a"}));
}

TEST(PreTokenizer, PrefixSpace) {
  PreTokenizer pretokenizer;
  pretokenizer.add(PreTokenizer::PrefixSpace());
  pretokenizer.add(PreTokenizer::Split{Regex(gpt2_pattern()), Behavior::kIsolated, false});
  EXPECT_EQ(cut(pretokenizer, "it's 42!"), (Texts{" it", "'s", " 42", "!"}));
  EXPECT_EQ(cut(pretokenizer, " it"), (Texts{" it"}));
}

TEST(PreTokenizer, NamedPatterns) {
  const auto named = [](const char* name, std::string_view text) {
    PreTokenizer pretokenizer;
    EXPECT_TRUE(add_named_pretokenizer(name, &pretokenizer)) << name;
    return cut(pretokenizer, text);
  };
  EXPECT_EQ(named("llama-bpe", "It's 12345\n\n  x"),
            (Texts{"It", "'s", " ", "123", "45", "\n\n", " ", " x"}));
  EXPECT_EQ(named("qwen2", "It'S 123"), (Texts{"It", "'S", " ", "1", "2", "3"}));
  EXPECT_EQ(named("gpt-2", "It'S 123"), (Texts{"It", "'", "S", " 123"}));
  EXPECT_EQ(named("deepseek-v3", "x1234 日本語 ok"), (Texts{"x", "123", "4", " ", "日本語", " ok"}));
  EXPECT_EQ(named("o200k", "HelloWorld isn't"), (Texts{"Hello", "World", " isn't"}));
  EXPECT_EQ(named("tekken", "aB 12"), (Texts{"a", "B", " ", "1", "2"}));
  EXPECT_EQ(named("kimi-k2", "ab日本cd"), (Texts{"ab", "日本", "cd"}));
  EXPECT_EQ(named("qwen35", "e\u0301a"), (Texts{"e\u0301a"}));
  PreTokenizer pretokenizer;
  EXPECT_FALSE(add_named_pretokenizer("no such name", &pretokenizer));
}

// Every pattern compiles, and cuts without losing anything.
TEST(PreTokenizer, NamedPatternsKeepTheText) {
  const std::string text =
      "Hello, World! 12345 naïve\r\n\t  <sentinel:1> 日本語 한국어 Ünïcödé 🙂🙂 x_y'll   ";
  for (const char* name :
       {"default",     "gpt-2",    "llama-bpe",  "qwen2",      "qwen35",     "deepseek-llm", "deepseek-coder",
        "deepseek-v3", "falcon",   "starcoder",  "bloom",      "viking",     "tekken",       "o200k",
        "chameleon",   "tiny_aya", "bailingmoe", "seed-coder", "exaone-moe", "kimi-k2"}) {
    PreTokenizer pretokenizer;
    ASSERT_TRUE(add_named_pretokenizer(name, &pretokenizer)) << name;
    std::string joined;
    for (const std::string& piece : cut(pretokenizer, text)) joined += piece;
    EXPECT_EQ(joined, text) << name;
  }
}

TEST(Regex, RewritesForPcre2) {
  EXPECT_EQ(regex_for_pcre2(R"(\s+(?!\S))"), R"([\x09-\x0d\x{85}\p{Z}]+(?![^\x09-\x0d\x{85}\p{Z}]))");
  EXPECT_EQ(regex_for_pcre2(R"([^\s\p{L}])"), R"([^\x09-\x0d\x{85}\p{Z}\p{L}])");
  EXPECT_EQ(regex_for_pcre2(R"(\p{Han}\P{Greek}\p{L})"), R"(\p{sc:Han}\P{sc:Greek}\p{L})");
  EXPECT_EQ(regex_for_pcre2(R"([\p{L}&&[^\p{Han}]]+)"), R"((?:(?![\p{sc:Han}])[\p{L}])+)");
  EXPECT_EQ(regex_for_pcre2(R"( ?[^(a|[.,]b)]+)"), R"( ?[^(a|.,b)]+)");
  EXPECT_EQ(regex_for_pcre2(R"(\[\s\]\\s)"), R"(\[[\x09-\x0d\x{85}\p{Z}]\]\\s)");
  EXPECT_EQ(regex_for_pcre2(R"([[:alpha:]_][^]a])"), R"([[:alpha:]_][^]a])");
}

TEST(Regex, WhiteSpaceIsUnicodes) {
  const Regex spaces("\\s");
  const auto count = [&](std::string_view text) {
    Regex::Matches matches(spaces, text);
    Regex::Match match;
    int n = 0;
    while (matches.next(&match)) ++n;
    return n;
  };
  EXPECT_EQ(count(" \t\u00A0\u2003\u3000\u0085"), 6);
  EXPECT_EQ(count("\u180E\u200B"), 0);
}

TEST(Regex, BadPatternsAreRefused) {
  EXPECT_THROW(Regex("(a"), Error);
  EXPECT_THROW(Regex("[a"), Error);
  EXPECT_THROW(Regex(std::string(100'000, 'a')), Error);
  EXPECT_THROW(Regex("\\p{Nonsense}"), Error);
}

TEST(Regex, RunawayMatchingIsAnError) {
  const Regex regex("^(?:a|a)*[bc]");
  const std::string text = std::string(100, 'a') + "d";
  Regex::Matches matches(regex, text);
  Regex::Match match;
  EXPECT_THROW(
      {
        while (matches.next(&match)) {
        }
      },
      Error);
}

TEST(Regex, EmptyMatchesArePassedOver) {
  const Regex regex("x*");
  Regex::Matches matches(regex, "éxxé");
  Regex::Match match;
  ASSERT_TRUE(matches.next(&match));
  EXPECT_EQ(match.begin, 2u);
  EXPECT_EQ(match.end, 4u);
  EXPECT_FALSE(matches.next(&match));
}

}  // namespace
}  // namespace sluice
