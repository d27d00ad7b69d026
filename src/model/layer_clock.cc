#include "model/layer_clock.h"

#include "platform/clock.h"

namespace sluice {

LayerClock::LayerClock(const WeightStore& store, int64_t n_layers)
    : store_(store), running_(static_cast<size_t>(n_layers)) {
  ended_.layers.resize(running_.size());
}

LayerClock::Pass::Pass(LayerClock* clock) : clock_(clock) {
  if (clock_ == nullptr) return;
  clock_->pass_begin_ns_ = monotonic_ns();
  clock_->begin_layer(0);  // for the embedding, whose time the layer itself will overwrite
}

LayerClock::Pass::~Pass() {
  if (clock_ != nullptr) clock_->layer_.store(-1, std::memory_order_relaxed);
}

void LayerClock::Pass::end() {
  if (clock_ == nullptr) return;
  clock_->begin_layer(-1);
  const std::lock_guard lock(clock_->mutex_);
  LayerTimes& ended = clock_->ended_;
  ended.begin_ns = clock_->pass_begin_ns_;
  ended.end_ns = clock_->begin_ns_;
  for (size_t l = 0; l < ended.layers.size(); ++l) {
    LayerTime& layer = ended.layers[l];
    const LayerTime& now = clock_->running_[l];
    layer.begin_ns = now.begin_ns;
    layer.ns += now.ns;
    layer.stall_ns += now.stall_ns;
    layer.bytes_read += now.bytes_read;
  }
}

// Closes the layer before.
void LayerClock::begin_layer(int64_t layer) {
  const uint64_t now = monotonic_ns(), stall = store_.stall_ns(), bytes = store_.bytes_read();
  const int64_t before = layer_.exchange(layer, std::memory_order_relaxed);
  if (before >= 0 && before < static_cast<int64_t>(running_.size()))
    running_[static_cast<size_t>(before)] = {begin_ns_, now - begin_ns_, stall - begin_stall_ns_,
                                             bytes - begin_bytes_};
  begin_ns_ = now;
  begin_stall_ns_ = stall;
  begin_bytes_ = bytes;
}

LayerTimes LayerClock::times() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

}  // namespace sluice
