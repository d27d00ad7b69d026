#include "text/unigram.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <string>

namespace sluice {
namespace {

struct Model {
  Vocabulary vocabulary;
  std::vector<float> scores;
};

Model random_model(std::mt19937* random, size_t n) {
  Model model;
  while (model.vocabulary.size() < n) {
    std::string text;
    for (size_t i = 0; i < 1 + (*random)() % 4; ++i) text += static_cast<char>('a' + (*random)() % 3);
    if (model.vocabulary.find(text) >= 0) continue;
    model.vocabulary.add(static_cast<int32_t>(model.vocabulary.size()), text, TokenKind::kNormal);
    model.scores.push_back(-static_cast<float>((*random)() % 1000) / 64.f);
  }
  return model;
}

// The best sum of scores over all ways to write `text`, by trying them all.
double best_sum(const Model& model, std::string_view text, double unknown) {
  if (text.empty()) return 0;
  double best = -std::numeric_limits<double>::infinity();
  for (size_t length = 1; length <= text.size() && length <= 4; ++length) {
    const int32_t id = model.vocabulary.find(text.substr(0, length));
    if (id < 0 && length > 1) continue;
    const double score = id < 0 ? unknown : model.scores[static_cast<size_t>(id)];
    best = std::max(best, score + best_sum(model, text.substr(length), unknown));
  }
  return best;
}

TEST(Unigram, FindsTheBestOfAllWays) {
  std::mt19937 random(11);
  for (int round = 0; round < 100; ++round) {
    const Model model = random_model(&random, 3 + random() % 25);
    const Unigram unigram(model.vocabulary, Unigram::Options(), model.scores);
    double lowest = 0;
    for (const float score : model.scores) lowest = std::min<double>(lowest, score);
    for (int i = 0; i < 10; ++i) {
      std::string text;
      for (size_t k = 0; k < random() % 11; ++k) text += static_cast<char>('a' + random() % 3);
      Unigram::Scratch scratch;
      std::vector<int32_t> ids;
      unigram.encode(text, &scratch, &ids);
      double sum = 0;
      size_t n_bytes = 0;
      for (const int32_t id : ids) {
        sum += model.scores[static_cast<size_t>(id)];
        n_bytes += model.vocabulary.text(id).size();
      }
      sum += static_cast<double>(text.size() - n_bytes) * (lowest - 10);  // unknown letters are dropped here
      ASSERT_NEAR(sum, best_sum(model, text, lowest - 10), 1e-6) << text;
    }
  }
}

TEST(Unigram, UnknownCharacters) {
  Vocabulary vocabulary;
  vocabulary.add(0, "<unk>", TokenKind::kUnknown);
  vocabulary.add(1, "a", TokenKind::kNormal);
  vocabulary.add(2, "<0xC3>", TokenKind::kByte);
  vocabulary.add(3, "<0xAB>", TokenKind::kByte);
  const auto encode = [&](const Unigram::Options& options, std::string_view text) {
    Unigram::Scratch scratch;
    std::vector<int32_t> ids;
    Unigram(vocabulary, options, {0, -1, 0, 0}).encode(text, &scratch, &ids);
    return ids;
  };
  Unigram::Options options;
  EXPECT_EQ(encode(options, "aëëa"), (std::vector<int32_t>{1, 1}));
  options.unknown = 0;
  EXPECT_EQ(encode(options, "aëëa"), (std::vector<int32_t>{1, 0, 1}));
  options.byte_tokens[0xC3] = 2;
  options.byte_tokens[0xAB] = 3;
  EXPECT_EQ(encode(options, "aëa"), (std::vector<int32_t>{1, 2, 3, 1}));
  EXPECT_EQ(encode(options, ""), std::vector<int32_t>());
}

}  // namespace
}  // namespace sluice
