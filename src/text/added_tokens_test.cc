#include "text/added_tokens.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

using Stage = AddedTokens::Stage;

AddedToken token(const char* content, int32_t id) {
  AddedToken result;
  result.content = content;
  result.id = id;
  return result;
}

// "[begin,end)=id" of every match.
std::string matches(const AddedTokens& tokens, std::string_view text, bool parse_special = true,
                    Stage stage = Stage::kRaw) {
  std::string result;
  AddedTokens::Match match;
  for (size_t from = 0; tokens.find(stage, text, from, parse_special, &match); from = match.end) {
    result +=
        "[" + std::to_string(match.begin) + "," + std::to_string(match.end) + ")=" + std::to_string(match.id);
  }
  return result;
}

TEST(AddedTokens, LeftmostLongest) {
  AddedTokens tokens;
  tokens.add(token("ab", 1));
  tokens.add(token("abcd", 2));
  tokens.add(token("bc", 3));
  EXPECT_EQ(matches(tokens, "xabcd abc bc"), "[1,5)=2[6,8)=1[10,12)=3");
  EXPECT_EQ(matches(tokens, ""), "");
}

TEST(AddedTokens, SpecialOnlyWhenAskedFor) {
  AddedTokens tokens;
  AddedToken special = token("<|end|>", 1);
  special.special = true;
  tokens.add(special);
  tokens.add(token("<|", 2));
  EXPECT_EQ(matches(tokens, "a<|end|>"), "[1,8)=1");
  EXPECT_EQ(matches(tokens, "a<|end|>", false), "[1,3)=2");
}

TEST(AddedTokens, Stripping) {
  AddedTokens tokens;
  AddedToken left = token("<l>", 1);
  left.lstrip = true;
  AddedToken right = token("<r>", 2);
  right.rstrip = true;
  tokens.add(left);
  tokens.add(right);
  EXPECT_EQ(matches(tokens, "a \u3000<l> b"), "[1,8)=1");
  EXPECT_EQ(matches(tokens, "a <r> \n b"), "[2,8)=2");
  EXPECT_EQ(matches(tokens, "<r>  <l>"), "[0,5)=2[5,8)=1");
}

TEST(AddedTokens, SingleWords) {
  AddedTokens tokens;
  AddedToken word = token("cat", 1);
  word.single_word = true;
  tokens.add(word);
  EXPECT_EQ(matches(tokens, "cat concat cats \u00E9cat cat\u00E9 (cat)"), "[0,3)=1[29,32)=1");
}

TEST(AddedTokens, NormalizedStandApart) {
  AddedTokens tokens;
  AddedToken normalized = token("x", 1);
  normalized.normalized = true;
  tokens.add(normalized);
  EXPECT_EQ(matches(tokens, "x"), "");
  EXPECT_EQ(matches(tokens, "x", true, Stage::kNormalized), "[0,1)=1");
}

}  // namespace
}  // namespace sluice
