// Stand-ins: the same experts a second time in a smaller encoding, all of them in memory. With --lossy
// stand-in a token computes from them what it would otherwise wait for, unless the expert weighs much; the
// expert itself is read for later tokens while the disk has nothing else to do. (After HOBBIT, arXiv
// 2411.01433, which keeps several precisions on disk and reads a smaller one on a miss.)
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "format/checkpoint.h"
#include "model/lossy.h"
#include "store/weight_store.h"

namespace sluice {

struct BoundModel;
struct LayerWeights;
struct MoeRouting;

// Adds the experts of `checkpoint` to the model's units, as UnitKind::kPinned, and to its layers. Throws
// Error(kInvalid) if it is not the same model in another encoding, and what bind() throws.
void bind_stand_ins(BoundModel& model, const Checkpoint& checkpoint);

// Who is stood in for. Part of what a forward pass runs with; not thread-safe.
class StandIns {
 public:
  // Sets routing.by_stand_in for one layer, whose experts and weights [n, k] have been chosen. An expert that
  // is waited for because some token gives it much weight serves all tokens.
  void choose(const LossyRouting& lossy, WeightStore& store, const LayerWeights& weights, int64_t k,
              MoeRouting& routing);

  // Asks for the next expert that was stood in for, if the one before has come: more at once would only get
  // in the way of what is waited for.
  void read_on(WeightStore& store);

  void reset() noexcept {  // forgets what it would read and the count
    wanted_.clear();
    n_used_ = 0;
  }
  uint64_t n_used() const noexcept { return n_used_; }  // experts of single tokens since then

 private:
  uint64_t n_used_ = 0;
  std::vector<UnitId> wanted_;    // experts that were stood in for, the most wanted last
  std::optional<UnitId> coming_;  // the last one asked for
  std::vector<uint8_t> is_full_;  // scratch: [n_experts] computed from the expert itself
  std::vector<uint8_t> is_asked_;
};

}  // namespace sluice
