#include "text/bpe.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>
#include <thread>

namespace sluice {
namespace {

// Joins by the definition: look for the best pair, join it, again.
std::vector<int32_t> by_definition(const Vocabulary& vocabulary, const std::vector<uint32_t>& rank_of,
                                   const std::string& text) {
  std::vector<std::string> symbols;
  for (const char c : text) symbols.emplace_back(1, c);
  for (;;) {
    size_t best = symbols.size();
    uint32_t best_rank = ~0u;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const int32_t id = vocabulary.find(symbols[i] + symbols[i + 1]);
      if (id >= 0 && rank_of[static_cast<size_t>(id)] < best_rank) {
        best = i;
        best_rank = rank_of[static_cast<size_t>(id)];
      }
    }
    if (best == symbols.size()) break;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& symbol : symbols) ids.push_back(vocabulary.find(symbol));
  return ids;
}

std::string random_text(std::mt19937* random, size_t n) {
  std::string text(n, 'a');
  for (char& c : text) c = static_cast<char>('a' + (*random)() % 3);
  return text;
}

// A vocabulary over {a, b, c} with random longer tokens, some of which joining cannot reach.
Vocabulary random_vocabulary(std::mt19937* random, size_t n) {
  Vocabulary vocabulary;
  for (const char* letter : {"a", "b", "c"}) {
    vocabulary.add(static_cast<int32_t>(vocabulary.size()), letter, TokenKind::kNormal);
  }
  while (vocabulary.size() < n) {
    const std::string text = random_text(random, 2 + (*random)() % 5);
    if (vocabulary.find(text) < 0) {
      vocabulary.add(static_cast<int32_t>(vocabulary.size()), text, TokenKind::kNormal);
    }
  }
  return vocabulary;
}

std::vector<int32_t> encode(const Bpe& bpe, std::string_view text) {
  Bpe::Scratch scratch;
  std::vector<int32_t> ids;
  bpe.encode(text, &scratch, &ids);
  return ids;
}

TEST(Bpe, JoinsByRankAsDefined) {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    const Vocabulary vocabulary = random_vocabulary(&random, 4 + random() % 60);
    std::vector<uint32_t> ranks(vocabulary.size());
    for (uint32_t& rank : ranks) rank = static_cast<uint32_t>(random() % 20);  // equal ranks: leftmost first
    Bpe::Options options;
    options.byte_level = true;
    const Bpe bpe(vocabulary, options, ranks);
    for (int i = 0; i < 40; ++i) {
      const std::string text = random_text(&random, random() % 60);
      ASSERT_EQ(encode(bpe, text), by_definition(vocabulary, ranks, text)) << text;
      ASSERT_EQ(encode(bpe, text), by_definition(vocabulary, ranks, text)) << "second time: " << text;
    }
  }
}

TEST(Bpe, MergeListEqualsRanksOfPieces) {
  std::mt19937 random(8);
  for (int round = 0; round < 30; ++round) {
    const Vocabulary vocabulary = random_vocabulary(&random, 40);
    std::vector<uint32_t> ranks(vocabulary.size());
    MergeTable merges;
    for (size_t i = 0; i < vocabulary.size(); ++i) {
      ranks[i] = static_cast<uint32_t>(i);
      const auto id = static_cast<int32_t>(i);
      const std::string_view text = vocabulary.text(id);
      for (size_t cut = 1; cut < text.size(); ++cut) {
        const int32_t left = vocabulary.find(text.substr(0, cut));
        const int32_t right = vocabulary.find(text.substr(cut));
        if (left >= 0 && right >= 0) merges.add(left, right, {static_cast<uint32_t>(i), id});
      }
    }
    Bpe::Options options;
    options.byte_level = true;
    const Bpe by_merges(vocabulary, options, std::move(merges));
    const Bpe by_pieces(vocabulary, options, ranks);
    for (int i = 0; i < 40; ++i) {
      const std::string text = random_text(&random, random() % 60);
      ASSERT_EQ(encode(by_merges, text), encode(by_pieces, text)) << text;
    }
  }
}

// Tokens "a", "b", "ab" and "abb", but no merge that makes "abb" of its parts.
TEST(Bpe, IgnoreMergesTakesWholePieces) {
  Vocabulary vocabulary;
  for (const char* token : {"a", "b", "ab", "abb"}) {
    vocabulary.add(static_cast<int32_t>(vocabulary.size()), token, TokenKind::kNormal);
  }
  const auto make = [&](bool ignore_merges) {
    MergeTable merges;
    merges.add(0, 1, {0, 2});
    Bpe::Options options;
    options.byte_level = true;
    options.ignore_merges = ignore_merges;
    return Bpe(vocabulary, options, std::move(merges));
  };
  EXPECT_EQ(encode(make(false), "abb"), (std::vector<int32_t>{2, 1}));
  EXPECT_EQ(encode(make(true), "abb"), (std::vector<int32_t>{3}));
  EXPECT_EQ(encode(make(true), "abba"), (std::vector<int32_t>{2, 1, 0}));
}

TEST(Bpe, UnknownCharacters) {
  Vocabulary vocabulary;
  vocabulary.add(0, "<unk>", TokenKind::kUnknown);
  vocabulary.add(1, "a", TokenKind::kNormal);
  vocabulary.add(2, "<0xC3>", TokenKind::kByte);
  vocabulary.add(3, "<0xAB>", TokenKind::kByte);
  Bpe::Options options;
  EXPECT_EQ(encode(Bpe(vocabulary, options, MergeTable()), "aëa"), (std::vector<int32_t>{1, 1}));
  options.unknown = 0;
  EXPECT_EQ(encode(Bpe(vocabulary, options, MergeTable()), "aëëa"), (std::vector<int32_t>{1, 0, 0, 1}));
  options.fuse_unknown = true;
  EXPECT_EQ(encode(Bpe(vocabulary, options, MergeTable()), "aëëa"), (std::vector<int32_t>{1, 0, 1}));
  options.byte_tokens[0xC3] = 2;
  options.byte_tokens[0xAB] = 3;
  EXPECT_EQ(encode(Bpe(vocabulary, options, MergeTable()), "aëà"), (std::vector<int32_t>{1, 2, 3, 0}));
}

// Texts are cut at blanks when no token spans one, and only then.
TEST(Bpe, TokensMaySpanWords) {
  const auto encode_with = [](const std::vector<const char*>& tokens, std::string_view text) {
    Vocabulary vocabulary;
    std::vector<uint32_t> ranks;  // later tokens join first
    for (const char* token : tokens) {
      ranks.push_back(static_cast<uint32_t>(tokens.size() - ranks.size()));
      vocabulary.add(static_cast<int32_t>(vocabulary.size()), token, TokenKind::kNormal);
    }
    return encode(Bpe(vocabulary, Bpe::Options(), ranks), text);
  };
  EXPECT_EQ(encode_with({"▁", "a", "b", "▁a", "▁▁", "▁ab"}, "▁▁▁ab▁a"), (std::vector<int32_t>{4, 5, 3}));
  EXPECT_EQ(encode_with({"▁", "a", "b", "a▁", "a▁b"}, "ba▁b▁"), (std::vector<int32_t>{2, 4, 0}));
}

TEST(Bpe, AMillionLettersTakeNoMinutes) {
  Vocabulary vocabulary;
  std::string text = "a";
  for (int32_t id = 0; id < 8; ++id, text += text) vocabulary.add(id, text, TokenKind::kNormal);
  std::vector<uint32_t> ranks(vocabulary.size());
  for (size_t i = 0; i < ranks.size(); ++i) ranks[i] = static_cast<uint32_t>(i);
  Bpe::Options options;
  options.byte_level = true;
  const Bpe bpe(vocabulary, options, ranks);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(encode(bpe, std::string(1 << 20, 'a')), std::vector<int32_t>(1 << 13, 7));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

TEST(Bpe, ThreadsAgree) {
  std::mt19937 random(9);
  const Vocabulary vocabulary = random_vocabulary(&random, 60);
  std::vector<uint32_t> ranks(vocabulary.size());
  for (size_t i = 0; i < ranks.size(); ++i) ranks[i] = static_cast<uint32_t>(i);
  Bpe::Options options;
  options.byte_level = true;
  const Bpe bpe(vocabulary, options, ranks);
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i) texts.push_back(random_text(&random, 1 + random() % 8));
  std::vector<std::vector<std::vector<int32_t>>> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&] {
      for (const std::string& text : texts) result.push_back(encode(bpe, text));
    });
  }
  for (auto& thread : threads) thread.join();
  for (size_t i = 0; i < texts.size(); ++i) {
    for (const auto& result : results) ASSERT_EQ(result[i], by_definition(vocabulary, ranks, texts[i]));
  }
}

}  // namespace
}  // namespace sluice
