#include "text/normalizer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"

namespace sluice {
namespace {

std::string apply(Normalizer::Step step, std::string_view text,
                  SegmentPlace place = SegmentPlace::kTextStart) {
  Normalizer normalizer;
  normalizer.add(std::move(step));
  return normalizer.apply(text, place);
}

TEST(Normalizer, UnicodeForms) {
  using Form = Normalizer::Form;
  EXPECT_EQ(apply(Form::kNfc, "xe\u0301y"), "x\u00E9y");
  EXPECT_EQ(apply(Form::kNfd, "x\u00E9y"), "xe\u0301y");
  EXPECT_EQ(apply(Form::kNfkc, "\uFB01\u00B2 \uFF21"), "fi2 A");
  EXPECT_EQ(apply(Form::kNfkd, "\uFB01\u00E9"), "fie\u0301");
  EXPECT_EQ(apply(Form::kNfc, "\uFB01"), "\uFB01");
  EXPECT_EQ(apply(Form::kNfc, "\u0301a"), "\u0301a");
  EXPECT_EQ(apply(Form::kNfc, "\u1100\u1161"), "\uAC00");
  EXPECT_EQ(apply(Form::kNfc, "plain"), "plain");
}

TEST(Normalizer, Letters) {
  EXPECT_EQ(apply(Normalizer::Lowercase(), "ÀΣx1"), "àσx1");
  EXPECT_EQ(apply(Normalizer::Lowercase(), "\u0130"), "i\u0307");
  EXPECT_EQ(apply(Normalizer::StripAccents(), "e\u0301a"), "ea");
}

TEST(Normalizer, Blanks) {
  EXPECT_EQ(apply(Normalizer::Strip{true, true}, "\u3000 a b\n"), "a b");
  EXPECT_EQ(apply(Normalizer::Strip{true, false}, " a "), "a ");
  EXPECT_EQ(apply(Normalizer::Strip{false, true}, " a "), " a");
  EXPECT_EQ(apply(Normalizer::Strip{true, true}, "  "), "");
  EXPECT_EQ(apply(Normalizer::CollapseBlanks(), "  a   b  "), "a b");
  EXPECT_EQ(apply(Normalizer::Prepend{"_", PrependScheme::kAlways}, "a", SegmentPlace::kAfterToken), "_a");
  EXPECT_EQ(apply(Normalizer::Prepend{"_", PrependScheme::kFirst}, "a", SegmentPlace::kAfterToken), "a");
  EXPECT_EQ(apply(Normalizer::Prepend{"_", PrependScheme::kAlways}, "a", SegmentPlace::kContinuation), "a");
  EXPECT_EQ(apply(Normalizer::Prepend{"_", PrependScheme::kAlways}, ""), "");
  EXPECT_EQ(apply(Normalizer::Append{"_"}, "a"), "a_");
}

TEST(Normalizer, Replace) {
  EXPECT_EQ(apply(Normalizer::Replace{Regex("."), "x"}, "é1"), "xx");
  EXPECT_EQ(apply(Normalizer::Replace{Regex(".", Regex::Syntax::kLiteral), "x"}, "a.b"), "axb");
  EXPECT_EQ(apply(Normalizer::Replace{Regex(" {2,}"), " "}, "a    b c"), "a b c");
}

TEST(Normalizer, StepsFollowEachOther) {
  Normalizer normalizer;
  normalizer.add(Normalizer::Prepend{" ", PrependScheme::kAlways});
  normalizer.add(Normalizer::Replace{Regex(" ", Regex::Syntax::kLiteral), "▁"});
  EXPECT_EQ(normalizer.apply("a b", SegmentPlace::kTextStart), "▁a▁b");
}

// A trie with the keys "a" (replaced by "b") and "ac" (by "xyz"), built by hand: children of a node lie at
// its offset xor their label, the value of a node at its offset.
std::string charsmap_blob() {
  std::vector<uint32_t> units(0x200, 0);
  const auto unit = [](uint32_t label, uint32_t offset, bool has_value) {
    return label | (has_value ? 1u << 8 : 0) | offset << 10;
  };
  units[0] = unit(0, 0x100, false);
  const uint32_t a = 0x100 ^ 'a';
  const uint32_t a_children = a ^ 0x42;
  units[a] = unit('a', 0x42, true);
  units[a_children] = 1u << 31 | 0;
  const uint32_t ac = a_children ^ 'c';
  units[ac] = unit('c', 0x18, true);
  units[ac ^ 0x18] = 1u << 31 | 2;
  const auto n_bytes = static_cast<uint32_t>(units.size() * 4);
  std::string blob(4 + n_bytes, '\0');
  std::memcpy(blob.data(), &n_bytes, 4);
  std::memcpy(blob.data() + 4, units.data(), n_bytes);
  return blob + std::string("b\0xyz\0", 6);
}

TEST(Normalizer, Charsmap) {
  EXPECT_EQ(apply(Charsmap(charsmap_blob()), "a ac d é aac"), "b xyz d é bxyz");
  EXPECT_EQ(apply(Charsmap(charsmap_blob()), ""), "");
}

TEST(Normalizer, BrokenCharsmapsAreRefused) {
  const std::string blob = charsmap_blob();
  EXPECT_THROW(Charsmap(""), Error);
  EXPECT_THROW(Charsmap(blob.substr(0, 100)), Error);
  EXPECT_THROW(Charsmap(blob.substr(0, blob.size() - 1)), Error);
  EXPECT_THROW(Charsmap("\xFF\xFF\xFF\xFFxxxxxxxx"), Error);
}

}  // namespace
}  // namespace sluice
