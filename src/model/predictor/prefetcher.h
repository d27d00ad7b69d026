// Reads experts before their router has asked for them. After each layer's routing it predicts that of the
// next, by a predictor for a few rows and by the next router itself for more, and hands the store what is
// missing, behind every demand; when the next router has decided, what was not yet begun and is not wanted
// is called off. Nothing here changes what is computed.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "model/bound_model.h"
#include "model/predictor/expert_predictor.h"
#include "model/predictor/prefetch_trial.h"
#include "store/weight_store.h"

namespace sluice {

// How well one predictor did: of the k experts that it put first, how many were chosen.
struct PredictorScore {
  std::string name;
  uint64_t n_predicted = 0, n_right = 0;
};

struct PrefetchReport {
  std::vector<PredictorScore> predictors;
  uint64_t passes_off = 0, passes_on = 0;  // of decoding in mode "auto"
};

// Used by the decoder's thread.
class Prefetcher {
 public:
  // `mode`: "off"; the name of a predictor, which is then followed always, or NAME:N, for at most N missing
  // experts of a layer; "auto", the linear predictor as far as it pays; "study", all predictors, measured and
  // not followed. Error(kInvalid) for anything else. For dense models it is off.
  Prefetcher(const BoundModel& model, const Compute& compute, WeightStore& store, const std::string& mode);
  static uint64_t bytes(const ModelSpec& spec, const std::string& mode);  // for the account
  static void check_mode(const std::string& mode);

  // Around a pass of `n` token rows.
  void begin_pass(int64_t n);
  void end_pass(double seconds);

  // A layer's router has decided; its experts [n, k] have not been acquired yet.
  void before_acquire(std::span<const UnitRange> wanted);
  // They have been. `residual` [n, hidden] is the stream before the layer's FFN norm.
  void after_acquire(int64_t layer, const float* residual, std::span<const int32_t> experts);
  // While experts arrive: goes on with what was predicted, if the disk has time.
  void go_on();

  // From now on predicts for passes of few rows also where nothing is to be read: somebody uses guess().
  void keep_guessing() noexcept { keeps_guessing_ = true; }
  // The experts of the MoE layer that comes, for the pass's first row, likeliest first; empty if unknown.
  std::span<const int32_t> guess() const noexcept {
    return candidates_.empty() ? std::span<const int32_t>() : candidates_[0].guesses[0];
  }

  PrefetchReport report() const;

 private:
  enum class Mode : uint8_t { kOff, kAuto, kAlways, kStudy };
  struct Plan {
    Mode mode = Mode::kOff;
    std::vector<std::string> predictors;
    size_t most = SIZE_MAX;  // missing experts of a layer, for passes of few rows
  };
  static Plan plan_of(const std::string& mode);

  // Of `n` residuals, `apart` floats from one to the next; logits [n, n_experts].
  bool ask_router(int64_t moe_layer, const float* residual, int64_t n, int64_t apart,
                  std::span<float> logits);
  void want_by_votes(int64_t moe_layer, const float* residual);
  void want_nothing();
  void keep_missing(size_t most, uint32_t n_parts);

  const BoundModel& model_;
  Compute compute_;
  WeightStore& store_;
  Plan plan_;
  RoutedShape shape_;
  std::vector<int64_t> layer_of_;      // [n MoE layers] decoder layers
  std::vector<int64_t> moe_layer_of_;  // [n_layers] their numbers; -1: dense

  struct Candidate {
    std::unique_ptr<ExpertPredictor> predictor;
    PredictorScore score;
    std::vector<std::vector<int32_t>> guesses;  // [rows] for the layer that comes, best first; empty: none
  };
  std::vector<Candidate> candidates_;
  PrefetchTrial trial_;

  int64_t n_rows_ = 0;  // of this pass
  size_t most_ = 0;     // missing experts of a layer that this pass reads ahead
  bool keeps_guessing_ = false;
  std::vector<UnitRange> wanted_;      // predicted, in the order of reading
  std::vector<Expectation> expected_;  // the same, for the cache's policy: nobody shall evict them now
  size_t n_asked_ = 0;                 // of wanted_
  size_t n_sure_ = 0;                  // of wanted_: no guesses
  std::vector<int32_t> chosen_;        // by one token
  std::vector<float> scores_;          // [n_experts]
  std::vector<int32_t> order_;         // [n_experts]
  std::vector<int32_t> votes_;         // [n_experts] rows of a long pass
  std::vector<float> normed_;          // [rows asked about, hidden]
  std::vector<float> logits_;          // [rows asked about, n_experts]
  Activations input_;
  std::vector<UnitRange> router_ranges_;
  std::vector<MatmulTask> tasks_;
};

}  // namespace sluice
