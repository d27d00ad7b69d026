// Every matrix product of the model goes through linear(): it leases the weights, multiplies what has arrived
// while the rest is still on its way, and gives room back. So residency, and whatever hooks into products,
// cannot be bypassed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "model/bound_model.h"
#include "model/lossy.h"
#include "model/product_clock.h"
#include "model/profile.h"
#include "model/stand_in.h"
#include "store/weight_store.h"

namespace sluice {

class Prefetcher;
class Speculation;

// What a forward pass runs with. Scratch vectors are kept from call to call. Not thread-safe.
struct ExecContext {
  Compute compute;
  WeightStore* store = nullptr;
  Profile* profile = nullptr;
  ProductClock* products = nullptr;
  Prefetcher* prefetcher = nullptr;
  Speculation* speculation = nullptr;
  LossyRouting lossy;
  uint64_t n_dropped_experts = 0;  // that lossy routing left out so far
  StandIns stand_ins;

  // Of linear() and ffn_moe().
  std::vector<UnitRange> ranges;
  std::vector<MatmulTask> tasks;
  std::vector<size_t> arrived;
  std::vector<UnitRange> skipped;  // left out because they were not in memory
};

struct LinearOp {
  const Weight* weight = nullptr;
  Activations* input = nullptr;  // [n, weight.cols]
  float* output = nullptr;       // [n, weight.rows], rows output_stride floats apart
  int64_t output_stride = 0;
  bool f32_activations = false;  // see MatmulTask
};

// output = input * weight^T + bias for all ops, as one group: one lease, few parallel regions. Counted as
// `op`. `beside`: more products, of weights that the caller has leased, in the first of the regions.
void linear(ExecContext& context, Operator op, std::span<const LinearOp> ops,
            std::span<const MatmulTask> beside = {});

// The products of what a caller has leased, in one parallel region, on the clock as `op`'s.
void multiply(ExecContext& context, Operator op, std::span<const MatmulTask> tasks);

// Bytes of a weight, or of a part of one, that a product reads.
uint64_t weight_bytes(const WeightRef& ref);
uint64_t weight_bytes(const WeightView& view);

// Indices of ranges of `lease` that have arrived: blocks for one, then takes all that are there. Empty once
// all have been returned.
void take_arrived(Lease& lease, std::vector<size_t>& arrived);

}  // namespace sluice
