// Which model a checkpoint holds, whatever its files are called, where they lie and how they are split: a
// hash of the names, types and shapes of its tensors, and of the beginnings of its routers, which tell a
// model from one that was trained further. Another quantisation is another model.
#pragma once

#include <cstdint>

#include "model/bound_model.h"

namespace sluice {

// Reads a few kilobytes of each layer. Error(kNotFound, kCorrupt, kIo).
uint64_t model_fingerprint(const Checkpoint& checkpoint, const BoundModel& model);

}  // namespace sluice
