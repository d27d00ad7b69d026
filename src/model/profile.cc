#include "model/profile.h"

namespace sluice {

const char* operator_name(Operator op) noexcept {
  static constexpr const char* kNames[kNumOperators] = {
      "embedding", "norms",      "q, k, v",  "rope, kv",   "attention", "attention out",    "residual",
      "router",    "prediction", "gate, up", "activation", "down",      "experts together", "head"};
  return kNames[static_cast<size_t>(op)];
}

}  // namespace sluice
