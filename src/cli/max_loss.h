// --max-loss: the lossy setting that leaves out most experts, or has most of them stood in for, while a text
// becomes at most that much less likely, found by measuring.
#pragma once

#include <string>

#include "cli/model_flags.h"
#include "sluice/engine.h"

namespace sluice {

inline constexpr int64_t kMostLossTokens = 1024;  // of the text, and what the context must hold for it
inline constexpr int64_t kLossLogitRows = 64;

struct MaxLossFlags {
  std::string limit;  // "1%"; empty: nothing is given up
  std::string file;   // the text to measure on
};

void add_max_loss_flags(Arguments& args, MaxLossFlags& flags);

// Error(kInvalid) for a limit that is none or a missing text. Otherwise `options` become what measuring
// needs.
void check_max_loss(const MaxLossFlags& flags, EngineOptions& options);

// Measures, sets the engine's lossy routing and returns a line that says what was chosen and measured. Empty
// without a limit.
std::string apply_max_loss(const MaxLossFlags& flags, bool has_stand_in, Engine& engine);

}  // namespace sluice
