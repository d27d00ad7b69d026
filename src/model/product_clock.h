// How long the products of a pass take beside reads, and how long they take alone: what the store needs to
// know to hold reads back (store/pace_controller.h). Only passes of few rows are measured: there memory
// bandwidth decides, which is what reads take; products of many rows are bound by the cores.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>

#include "model/profile.h"
#include "store/weight_store.h"

namespace sluice {

// What products take while nothing is read. Every operator has a speed of its own, and so have small calls,
// which pay more for waking threads: calls of an operator count together within a power of two of bytes.
// No clock of its own.
class CalmSpeeds {
 public:
  static constexpr uint64_t kLeastCalls = 8;  // before a speed counts as known
  static constexpr double kMemory = 64;       // calls after which an old one counts for 1/e
  static constexpr double kMostSlowdown = 3;  // what took longer was interrupted, by whatever

  void forget() { sums_ = {}; }
  // A call has multiplied `bytes` of weights in `ns` while nothing was read.
  void learn(Operator op, uint64_t bytes, uint64_t ns);
  // What it takes, if that is known.
  std::optional<double> expect(Operator op, uint64_t bytes) const;

 private:
  struct Sum {
    uint64_t calls = 0;
    double ns = 0, bytes = 0;  // fading
  };
  static size_t place(Operator op, uint64_t bytes) {
    return static_cast<size_t>(op) * kClasses + static_cast<size_t>(std::bit_width(bytes));
  }
  static constexpr size_t kClasses = 65;
  std::array<Sum, kNumOperators * kClasses> sums_;
};

// Used by the decoder's thread.
class ProductClock {
 public:
  explicit ProductClock(WeightStore& store) : store_(store) {}

  // Around a pass of `n` token rows: tells the store. A pass that an error ended is not counted.
  void begin_pass(int64_t n);
  void end_pass();

  // Around a product. Without is_running() they need not be called.
  bool is_running() const noexcept { return is_running_; }
  void begin_product();
  void end_product(Operator op, uint64_t bytes);

 private:
  static constexpr int64_t kMaxRows = 4;

  WeightStore& store_;
  CalmSpeeds calm_speeds_;
  int64_t n_rows_ = 0;  // that calm_speeds_ is of
  bool is_running_ = false;
  std::optional<uint64_t> reads_before_;
  uint64_t begin_ns_ = 0;
  double kernel_ns_ = 0, calm_ns_ = 0;  // of this pass
};

}  // namespace sluice
