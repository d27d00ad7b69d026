// Where the time of forward passes goes: per operator the calls, the time and the weight and KV bytes that
// were read. Always counted: two looks at the clock for each operator of a layer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "platform/clock.h"
#include "platform/timeline.h"

namespace sluice {

enum class Operator : uint8_t {
  kEmbedding,
  kNorm,
  kQkv,
  kRope,  // with the norms of q and k, and the way into the KV cache
  kAttention,
  kAttentionOut,
  kResidual,
  kRouter,
  kPredict,  // the next layer's experts
  kGateUp,
  kActivation,
  kDown,
  kCombine,
  kHead,
};
inline constexpr size_t kNumOperators = 14;
const char* operator_name(Operator op) noexcept;  // "attention"

struct OperatorCount {
  uint64_t calls = 0, ns = 0, bytes = 0;
};

class Profile {
 public:
  const OperatorCount& of(Operator op) const noexcept { return counts_[static_cast<size_t>(op)]; }
  void add(Operator op, uint64_t ns, uint64_t bytes) noexcept {
    OperatorCount& count = counts_[static_cast<size_t>(op)];
    ++count.calls;
    count.ns += ns;
    count.bytes += bytes;
  }
  void set_timeline(Timeline* timeline) noexcept { timeline_ = timeline; }
  Timeline* timeline() const noexcept { return timeline_; }

 private:
  std::array<OperatorCount, kNumOperators> counts_;
  Timeline* timeline_ = nullptr;
};

// Counts the time until its end.
class ProfileScope {
 public:
  ProfileScope(Profile& profile, Operator op) noexcept : profile_(profile), op_(op), start_(monotonic_ns()) {}
  ~ProfileScope() {
    const uint64_t end = monotonic_ns();
    profile_.add(op_, end - start_, bytes_);
    if (profile_.timeline() != nullptr)
      profile_.timeline()->add(Timeline::Track::kCompute, operator_name(op_), start_, end, bytes_);
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

  void add_bytes(uint64_t bytes) noexcept { bytes_ += bytes; }

 private:
  Profile& profile_;
  Operator op_;
  uint64_t start_;
  uint64_t bytes_ = 0;
};

}  // namespace sluice
