// Predictors that only count: which experts go together from layer to layer, what the tokens before chose,
// and what is chosen most.
#include <algorithm>
#include <array>

#include "model/predictor/expert_predictor.h"

namespace sluice {
namespace {

// P(expert of the next layer | expert of a layer 1, 2 or 3 before it), summed over all that are known.
class CooccurrencePredictor final : public ExpertPredictor {
 public:
  static constexpr int64_t kHops = 3;

  explicit CooccurrencePredictor(const RoutedShape& shape)
      : shape_(shape),
        counts_(static_cast<size_t>(shape.n_layers * kHops * shape.n_experts * shape.n_experts)),
        totals_(static_cast<size_t>(shape.n_layers * kHops * shape.n_experts)),
        recent_(static_cast<size_t>(kHops)) {}

  const char* name() const noexcept override { return "cooccurrence"; }

  bool rank(const Sight& sight, std::span<float> scores) override {
    std::fill(scores.begin(), scores.end(), 0.0F);
    bool knows = add(sight.layer + 1, 1, sight.experts, scores);
    for (int64_t hop = 2; hop <= kHops && hop - 2 < n_recent_; ++hop)
      knows |= add(sight.layer + 1, hop, recent_[static_cast<size_t>(hop - 2)], scores);
    return knows;
  }

  void learn(const Sight& sight) override {
    if (sight.layer == 0) n_recent_ = 0;  // a new token
    for (int64_t hop = 1; hop <= n_recent_; ++hop)
      for (const int32_t from : recent_[static_cast<size_t>(hop - 1)])
        count(sight.layer, hop, from, sight.experts);
    std::rotate(recent_.begin(), recent_.end() - 1, recent_.end());
    recent_[0].assign(sight.experts.begin(), sight.experts.end());
    n_recent_ = std::min(n_recent_ + 1, kHops);
  }

 private:
  size_t row(int64_t layer, int64_t hop, int32_t from) const {
    return static_cast<size_t>((layer * kHops + hop - 1) * shape_.n_experts + from);
  }

  bool add(int64_t layer, int64_t hop, std::span<const int32_t> experts, std::span<float> scores) const {
    bool knows = false;
    for (const int32_t from : experts) {
      const size_t at = row(layer, hop, from);
      if (totals_[at] == 0) continue;
      knows = true;
      const float scale = 1.0F / static_cast<float>(totals_[at]);
      const uint8_t* const counts = counts_.data() + at * scores.size();
      for (size_t e = 0; e < scores.size(); ++e) scores[e] += scale * static_cast<float>(counts[e]);
    }
    return knows;
  }

  // When one of a row is full all of it is halved, so that the old fades.
  void count(int64_t layer, int64_t hop, int32_t from, std::span<const int32_t> experts) {
    const size_t at = row(layer, hop, from);
    const auto n = static_cast<size_t>(shape_.n_experts);
    const std::span<uint8_t> counts = std::span(counts_).subspan(at * n, n);
    for (const int32_t e : experts) {
      ++totals_[at];
      if (++counts[static_cast<size_t>(e)] < UINT8_MAX) continue;
      totals_[at] = 0;
      for (uint8_t& c : counts) totals_[at] += c /= 2;
    }
  }

  const RoutedShape shape_;
  std::vector<uint8_t> counts_;               // [n_layers, kHops, n_experts (from), n_experts]
  std::vector<uint32_t> totals_;              // [n_layers, kHops, n_experts] sums of the rows
  std::vector<std::vector<int32_t>> recent_;  // [kHops] experts of the layers before, the last first
  int64_t n_recent_ = 0;
};

// Scores that are remembered per expert and fade with every token.
class FadingPredictor final : public ExpertPredictor {
 public:
  FadingPredictor(const char* name, const RoutedShape& shape, float keep)
      : name_(name),
        n_experts_(static_cast<size_t>(shape.n_experts)),
        keep_(keep),
        scores_(static_cast<size_t>(shape.n_layers) * n_experts_),
        knows_(static_cast<size_t>(shape.n_layers)) {}

  const char* name() const noexcept override { return name_; }

  bool rank(const Sight& sight, std::span<float> scores) override {
    const auto next = static_cast<size_t>(sight.layer + 1);
    std::copy_n(scores_.begin() + static_cast<ptrdiff_t>(next * n_experts_), n_experts_, scores.begin());
    return knows_[next] != 0;
  }

  void learn(const Sight& sight) override {
    const auto layer = static_cast<size_t>(sight.layer);
    knows_[layer] = 1;
    const std::span<float> own = std::span(scores_).subspan(layer * n_experts_, n_experts_);
    for (float& score : own) score *= keep_;
    for (const int32_t e : sight.experts) own[static_cast<size_t>(e)] += 1;
  }

 private:
  const char* const name_;
  const size_t n_experts_;
  const float keep_;
  std::vector<float> scores_;   // [n_layers, n_experts]
  std::vector<uint8_t> knows_;  // [n_layers]
};

}  // namespace

std::unique_ptr<ExpertPredictor> make_cooccurrence_predictor(const RoutedShape& shape) {
  return std::make_unique<CooccurrencePredictor>(shape);
}

// Halved with each token: the last one outweighs all before it.
std::unique_ptr<ExpertPredictor> make_previous_predictor(const RoutedShape& shape) {
  return std::make_unique<FadingPredictor>("previous", shape, 0.5F);
}

std::unique_ptr<ExpertPredictor> make_frequency_predictor(const RoutedShape& shape) {
  return std::make_unique<FadingPredictor>("frequency", shape, 1.0F - 1.0F / 1024);
}

uint64_t cooccurrence_predictor_bytes(const RoutedShape& shape) {
  const auto rows = static_cast<uint64_t>(shape.n_layers * CooccurrencePredictor::kHops * shape.n_experts);
  return rows * (static_cast<uint64_t>(shape.n_experts) + sizeof(uint32_t));
}

uint64_t counting_predictor_bytes(const RoutedShape& shape) {
  return static_cast<uint64_t>(shape.n_layers * shape.n_experts) * sizeof(float);
}

}  // namespace sluice
