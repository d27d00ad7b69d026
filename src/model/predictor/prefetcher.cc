#include "model/predictor/prefetcher.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "model/blocks/router.h"

namespace sluice {
namespace {

constexpr int64_t kFewRows = 4;        // a pass of no more follows a predictor; others ask the next router
constexpr int64_t kAskedRows = 128;    // of a long pass, that the next router is asked about
constexpr int32_t kSureRows = 2;       // that seem to want an expert: then it is no guess
constexpr double kSureCoverage = 0.9;  // share of a layer's experts that a chunk wants: then all are read
const char* const kAutoPredictor = "linear";

RoutedShape shape_of(const ModelSpec& spec) {
  RoutedShape shape{.n_experts = spec.n_experts, .k = spec.n_experts_per_token, .hidden = spec.hidden};
  for (const LayerSpec& layer : spec.layers) shape.n_layers += layer.ffn == FfnKind::kMoe;
  return shape;
}

}  // namespace

Prefetcher::Plan Prefetcher::plan_of(const std::string& mode) {
  if (mode == "off") return {};
  if (mode == "auto") return {Mode::kAuto, {kAutoPredictor}};
  const auto names = expert_predictor_names();
  if (mode == "study") return {Mode::kStudy, {names.begin(), names.end()}};
  const size_t colon = std::min(mode.find(':'), mode.size());
  Plan plan{Mode::kAlways, {mode.substr(0, colon)}};
  if (colon == mode.size()) return plan;
  const char* const end = mode.data() + mode.size();
  const auto number = std::from_chars(mode.data() + colon + 1, end, plan.most);
  if (number.ec != std::errc() || number.ptr != end || plan.most == 0)
    throw_error(ErrorKind::kInvalid, "\"%s\" does not end in a number of experts from 1 on, as in linear:1",
                printable(mode).c_str());
  return plan;
}

void Prefetcher::check_mode(const std::string& mode) {
  for (const std::string& name : plan_of(mode).predictors) make_expert_predictor(name, {}, {});
}

uint64_t Prefetcher::bytes(const ModelSpec& spec, const std::string& mode) {
  const Plan plan = plan_of(mode);
  if (!spec.is_moe() || plan.mode == Mode::kOff) return 0;
  uint64_t bytes = kAskedRows * static_cast<uint64_t>(spec.hidden + spec.n_experts) * sizeof(float);
  for (const std::string& name : plan.predictors) bytes += expert_predictor_bytes(name, shape_of(spec));
  return bytes;
}

Prefetcher::Prefetcher(const BoundModel& model, const Compute& compute, WeightStore& store,
                       const std::string& mode)
    : model_(model), compute_(compute), store_(store), shape_(shape_of(model.spec)) {
  compute_.f32_activations = true;  // as routers are computed
  if (!model.spec.is_moe()) return;
  plan_ = plan_of(mode);
  for (const LayerSpec& layer : model.spec.layers) {
    const bool is_moe = layer.ffn == FfnKind::kMoe;
    moe_layer_of_.push_back(is_moe ? static_cast<int64_t>(layer_of_.size()) : -1);
    if (is_moe) layer_of_.push_back(static_cast<int64_t>(moe_layer_of_.size()) - 1);
  }
  if (plan_.mode == Mode::kOff) return;
  const AskRouter router = [this](int64_t moe_layer, const float* residual, std::span<float> logits) {
    return ask_router(moe_layer, residual, 1, shape_.hidden, logits);
  };
  for (const std::string& name : plan_.predictors) {
    Candidate candidate{make_expert_predictor(name, shape_, router), {.name = name}, {}};
    candidate.guesses.resize(static_cast<size_t>(kFewRows));
    candidates_.push_back(std::move(candidate));
  }
  scores_.resize(static_cast<size_t>(shape_.n_experts));
  order_.resize(static_cast<size_t>(shape_.n_experts));
  votes_.resize(static_cast<size_t>(shape_.n_experts));
  normed_.resize(static_cast<size_t>(kAskedRows * shape_.hidden));
  logits_.resize(static_cast<size_t>(kAskedRows * shape_.n_experts));
}

bool Prefetcher::ask_router(int64_t moe_layer, const float* residual, int64_t n, int64_t apart,
                            std::span<float> logits) {
  const LayerWeights& weights = model_.layers[static_cast<size_t>(layer_of_[static_cast<size_t>(moe_layer)])];
  const Weight& router = weights.router;
  router_ranges_.clear();
  for (const WeightRef& piece : router.pieces) {
    if (!store_.is_pinned(piece.unit)) return false;
    router_ranges_.push_back({.unit = piece.unit});
  }
  rms_norm(compute_, residual, apart, weights.ffn_norm.data(), model_.spec.norm_eps, normed_.data(),
           shape_.hidden, n, shape_.hidden);
  input_.set(normed_.data(), n, shape_.hidden, shape_.hidden);
  input_.prepare(compute_, router.encoding);
  const Lease lease = store_.acquire(router_ranges_);
  tasks_.clear();
  int64_t row = 0;
  for (size_t i = 0; i < router.pieces.size(); ++i) {
    tasks_.push_back({.weight = lease.view(i, router.pieces[i]),
                      .input = &input_,
                      .output = logits.data() + row,
                      .output_stride = shape_.n_experts});
    row += router.pieces[i].rows;
  }
  matmul(compute_, tasks_);
  for (size_t i = 0; i < logits.size() && !router.bias.empty(); ++i)
    logits[i] += router.bias[i % router.bias.size()];
  return true;
}

void Prefetcher::begin_pass(int64_t n) {
  n_rows_ = n;
  want_nothing();
  for (Candidate& candidate : candidates_)
    for (auto& guess : candidate.guesses) guess.clear();
  const bool is_off = plan_.mode == Mode::kOff || plan_.mode == Mode::kStudy || !store_.has_slots() ||
                      (plan_.mode == Mode::kAuto && n <= kFewRows && !trial_.is_on());
  most_ = is_off ? 0 : plan_.most;
}

void Prefetcher::end_pass(double seconds) {
  if (plan_.mode == Mode::kAuto && n_rows_ <= kFewRows && store_.has_slots()) trial_.add_pass(seconds);
}

void Prefetcher::before_acquire(std::span<const UnitRange> wanted) {
  if (n_asked_ > 0) store_.cancel_prefetches(wanted);
  want_nothing();
}

void Prefetcher::after_acquire(int64_t layer, const float* residual, std::span<const int32_t> experts) {
  if (plan_.mode == Mode::kOff) return;
  const int64_t moe_layer = moe_layer_of_[static_cast<size_t>(layer)];
  const bool is_last = moe_layer + 1 == shape_.n_layers;
  if (n_rows_ > kFewRows) {
    if (most_ == 0 || is_last) return;
    want_by_votes(moe_layer + 1, residual);
    return go_on();
  }
  // Learning costs little and goes on while the trial has prefetching off, but not where all is in memory.
  const bool is_needed = most_ > 0 || plan_.mode == Mode::kStudy || keeps_guessing_;
  if (!is_needed && !store_.has_slots()) return;
  const auto k = static_cast<size_t>(shape_.k);
  for (int64_t row = n_rows_; row-- > 0;) {  // the first row last: its routes stay for learn()
    chosen_.clear();
    for (const int32_t e : experts.subspan(static_cast<size_t>(row) * k, k))
      if (e >= 0) chosen_.push_back(e);  // lossy routing leaves some out
    const Sight sight{moe_layer, residual + row * shape_.hidden, chosen_};
    for (Candidate& candidate : candidates_) {
      auto& guess = candidate.guesses[static_cast<size_t>(row)];
      for (const int32_t e : guess)
        candidate.score.n_right += std::count(sight.experts.begin(), sight.experts.end(), e) != 0;
      candidate.score.n_predicted += guess.size();
      guess.clear();
      if (is_needed && !is_last && candidate.predictor->rank(sight, scores_)) {
        for (size_t e = 0; e < order_.size(); ++e) order_[e] = static_cast<int32_t>(e);
        const auto better = [this](int32_t a, int32_t b) {
          return scores_[static_cast<size_t>(a)] > scores_[static_cast<size_t>(b)];
        };
        std::partial_sort(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(k), order_.end(), better);
        guess.assign(order_.begin(), order_.begin() + static_cast<ptrdiff_t>(k));
      }
    }
  }
  const Sight first{moe_layer, residual, chosen_};
  for (Candidate& candidate : candidates_) candidate.predictor->learn(first);
  if (most_ == 0 || is_last) return;
  const int64_t next_layer = layer_of_[static_cast<size_t>(moe_layer) + 1];
  const auto& weights = model_.layers[static_cast<size_t>(next_layer)];
  const PredictorScore& score = candidates_[0].score;
  const float accuracy = static_cast<float>(score.n_right + 1) / static_cast<float>(score.n_predicted + 2);
  expected_.clear();
  for (size_t place = 0; place < k; ++place) {  // the likeliest of every row first
    for (int64_t row = 0; row < n_rows_; ++row) {
      const auto& guess = candidates_[0].guesses[static_cast<size_t>(row)];
      if (place >= guess.size()) continue;
      const size_t n_before = wanted_.size();
      weights.experts.add_units(guess[place], wanted_);
      for (size_t i = n_before; i < wanted_.size(); ++i)
        expected_.push_back({wanted_[i].unit, accuracy, static_cast<uint32_t>(next_layer - layer)});
    }
  }
  store_.expect(expected_);
  if (most_ != SIZE_MAX) keep_missing(most_, weights.experts.n_parts);
  go_on();
}

// Of what is wanted, the first `most` experts that are not there, with all of their parts.
void Prefetcher::keep_missing(size_t most, uint32_t n_parts) {
  size_t n_kept = 0;
  for (size_t expert = 0; expert < wanted_.size() && n_kept < most * n_parts; expert += n_parts) {
    const auto parts = std::span(wanted_).subspan(expert, n_parts);
    const auto is_here = [this](const UnitRange& part) { return store_.holds(part.unit); };
    if (std::all_of(parts.begin(), parts.end(), is_here)) continue;
    std::copy(parts.begin(), parts.end(), wanted_.begin() + static_cast<ptrdiff_t>(n_kept));
    n_kept += n_parts;
  }
  wanted_.resize(n_kept);
}

// What the router of a layer to come chooses on the present residuals. Of experts that no row wants that was
// asked about, others may. Where the router is not in memory: everything, if the pass is long enough to want
// nearly everything.
void Prefetcher::want_by_votes(int64_t moe_layer, const float* residual) {
  const auto& weights = model_.layers[static_cast<size_t>(layer_of_[static_cast<size_t>(moe_layer)])];
  const auto n_experts = static_cast<size_t>(shape_.n_experts);
  const int64_t step = (n_rows_ + kAskedRows - 1) / kAskedRows, n = n_rows_ / step;
  if (!ask_router(moe_layer, residual, n, step * shape_.hidden,
                  std::span(logits_).first(static_cast<size_t>(n) * n_experts))) {
    const double per_token = static_cast<double>(shape_.k) / static_cast<double>(shape_.n_experts);
    if (1 - std::pow(1 - per_token, static_cast<double>(n_rows_)) < kSureCoverage) return;
    for (int64_t e = 0; e < shape_.n_experts; ++e) weights.experts.add_units(e, wanted_);
    n_sure_ = wanted_.size();
    return;
  }
  std::fill(votes_.begin(), votes_.end(), 0);
  chosen_.resize(static_cast<size_t>(shape_.k));
  for (size_t row = 0; row < static_cast<size_t>(n); ++row) {
    choose(std::span(logits_).subspan(row * n_experts, n_experts), chosen_);
    for (const int32_t e : chosen_) ++votes_[static_cast<size_t>(e)];
  }
  // Sure ones in the order of the file, which a drive reads fastest; then guesses, the likeliest first.
  const auto votes = [this](int32_t e) { return votes_[static_cast<size_t>(e)]; };
  const auto is_sure = [&](int32_t e) { return votes(e) * step >= kSureRows; };
  std::iota(order_.begin(), order_.end(), 0);
  const auto guesses = std::stable_partition(order_.begin(), order_.end(), is_sure);
  std::stable_sort(guesses, order_.end(), [&](int32_t a, int32_t b) { return votes(a) > votes(b); });
  for (const int32_t e : order_) {
    if (votes(e) == 0 && step == 1) break;
    weights.experts.add_units(e, wanted_);
    if (is_sure(e)) n_sure_ = wanted_.size();
  }
}

void Prefetcher::want_nothing() {
  wanted_.clear();
  n_asked_ = n_sure_ = 0;
}

void Prefetcher::go_on() {
  const std::span<const UnitRange> wanted = wanted_;
  if (n_asked_ < n_sure_)
    n_asked_ += store_.prefetch(wanted.subspan(n_asked_, n_sure_ - n_asked_), /*are_guesses=*/false);
  if (n_asked_ >= n_sure_ && n_asked_ < wanted.size())
    n_asked_ += store_.prefetch(wanted.subspan(n_asked_), /*are_guesses=*/true);
}

PrefetchReport Prefetcher::report() const {
  PrefetchReport report;
  report.passes_off = trial_.passes(false);
  report.passes_on = trial_.passes(true);
  for (const Candidate& candidate : candidates_) report.predictors.push_back(candidate.score);
  return report;
}

}  // namespace sluice
