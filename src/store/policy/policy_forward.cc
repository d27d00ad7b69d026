// Forward-looking: what Belady's rule (A study of replacement algorithms, IBM Systems Journal 1966) does with
// the future, on guesses. The unit goes whose next use is expected farthest away, counted in groups:
//
//   distance to the next turn of its group + n_groups · (1 / p − 1)
//
// where p is the chance that it is used when its group has its turn. p is measured on two time scales, as
// routing keeps to a topic for some passes and to a model's habits for all of them: two averages over the
// passes so far, in which a pass weighs half as much every kShort and every kLong passes, mixed. A prediction
// (expect()) of probability q in d groups makes it q · d + (1 − q) · (the above). Of equals the one that was
// used longest ago goes.
#include <algorithm>
#include <cmath>
#include <utility>

#include "store/policy/policies.h"

namespace sluice {
namespace {

constexpr float kShort = 8, kLong = 128;  // passes
constexpr float kShareOfShort = 0.3F;
constexpr float kSeed = 64;      // passes that what is known of former runs counts for
constexpr float kPrior = 0.05F;  // uses in one pass that nobody has seen: keeps 1 / p finite

class ForwardPolicy final : public CachePolicy {
 public:
  std::string name() const override { return "forward"; }

  void reset(const CacheGeometry& geometry) override {
    clock_.reset(geometry.n_groups);
    units_.assign(geometry.n_units(), {});
    for (size_t unit = 0; unit < units_.size(); ++unit) units_[unit].group = geometry.group[unit];
    slot_unit_.assign(geometry.n_slots, 0);
    expected_.clear();
    time_ = 0;
    seed_ = 0;
  }

  // The long average begins as if there had been kSeed passes at these rates; the short one is of this run
  // alone, which may be of another kind.
  void seed(std::span<const float> rates) override {
    seed_ = all_long_ = uses_of_all(kSeed, kLong);
    for (size_t unit = 0; unit < units_.size(); ++unit) {
      units_[unit].uses_long = rates[unit] * seed_;
      set_wait(units_[unit]);
    }
  }

  void begin(uint32_t group) override {
    const uint32_t before = clock_.pass();
    clock_.begin(group);
    if (clock_.pass() == before) return;
    const auto age = static_cast<float>(clock_.pass());
    all_short_ = uses_of_all(age, kShort);
    all_long_ = uses_of_all(age, kLong) + seed_ * std::exp2(-age / kLong);
  }

  void on_insert(size_t slot, UnitId unit) override {
    on_prefetch(slot, unit);
    on_hit(slot, unit);
  }
  void on_prefetch(size_t slot, UnitId unit) override { slot_unit_[slot] = unit; }
  void on_hit(size_t, UnitId id) override {
    Unit& unit = units_[id];
    age(unit);
    unit.uses_short += 1;
    unit.uses_long += 1;
    unit.used = ++time_;
    set_wait(unit);
  }

  size_t victim(const std::function<bool(size_t slot)>& evictable) override {
    const auto nearness = [this](size_t slot) {
      Unit& unit = units_[slot_unit_[slot]];
      return std::pair(-next_use(unit), unit.used);
    };
    return lowest_slot(slot_unit_.size(), nearness, evictable);
  }

  void expect(std::span<const Expectation> expected) override {
    for (const UnitId unit : expected_) units_[unit].probability = 0;
    expected_.clear();
    for (const Expectation& one : expected) {
      units_[one.unit].probability = one.probability;
      units_[one.unit].expected_at = clock_.position() + one.groups_ahead;
      expected_.push_back(one.unit);
    }
  }

 private:
  struct Unit {
    float uses_short = 0, uses_long = 0;  // as of `pass`
    uint32_t pass = 0;
    uint32_t group = 0;
    uint64_t used = 0;      // when last
    float wait = 0;         // n_groups · (1 / p − 1), as of `pass`
    float probability = 0;  // that it is used at
    uint64_t expected_at = 0;
  };

  // The average of a unit that each of so many passes used.
  static float uses_of_all(float n_passes, float half_life) {
    return (1 - std::exp2(-n_passes / half_life)) / (1 - std::exp2(-1 / half_life));
  }

  void age(Unit& unit) const {
    if (unit.pass == clock_.pass()) return;
    const auto passes = static_cast<float>(clock_.pass() - unit.pass);
    unit.uses_short *= std::exp2(-passes / kShort);
    unit.uses_long *= std::exp2(-passes / kLong);
    unit.pass = clock_.pass();
  }

  void set_wait(Unit& unit) const {
    const float p = kShareOfShort * (unit.uses_short + kPrior) / (all_short_ + kPrior) +
                    (1 - kShareOfShort) * (unit.uses_long + kPrior) / (all_long_ + kPrior);
    unit.wait = static_cast<float>(clock_.n_groups()) * std::max(1 / p - 1, 0.0F);
  }

  // In groups from now.
  float next_use(Unit& unit) const {
    if (unit.pass != clock_.pass()) {
      age(unit);
      set_wait(unit);
    }
    const float guess = static_cast<float>(clock_.distance(unit.group)) + unit.wait;
    if (unit.probability == 0 || unit.expected_at < clock_.position()) return guess;
    const auto ahead = static_cast<float>(unit.expected_at - clock_.position());
    return unit.probability * ahead + (1 - unit.probability) * guess;
  }

  PassClock clock_;
  std::vector<Unit> units_;
  std::vector<UnitId> slot_unit_;       // [n_slots]
  std::vector<UnitId> expected_;        // those with a probability
  float all_short_ = 1, all_long_ = 1;  // uses of a unit that is used in every pass
  float seed_ = 0;                      // of which in passes before the first
  uint64_t time_ = 0;
};

}  // namespace

std::unique_ptr<CachePolicy> make_forward_policy() { return std::make_unique<ForwardPolicy>(); }

}  // namespace sluice
