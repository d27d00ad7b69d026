#include "engine/engine_monitor.h"

#include <algorithm>

namespace sluice {
namespace {

using Span = Timeline::Span;

// Adds the spans' time in each slice, in nanoseconds, to `sums`, which cover begin_ns to end_ns.
void add_spans(const std::vector<Span>& spans, uint64_t begin_ns, uint64_t end_ns,
               std::vector<double>& sums) {
  const double width = static_cast<double>(end_ns - begin_ns) / static_cast<double>(sums.size());
  for (const Span& span : spans) {
    if (span.end_ns <= begin_ns || span.begin_ns >= end_ns) continue;
    const auto begin = static_cast<double>(std::max(span.begin_ns, begin_ns) - begin_ns);
    const auto end = static_cast<double>(std::min(span.end_ns, end_ns) - begin_ns);
    const auto first = static_cast<size_t>(begin / width);
    for (size_t i = first; i < sums.size() && static_cast<double>(i) * width < end; ++i) {
      const double from = static_cast<double>(i) * width;
      sums[i] += std::min(end, from + width) - std::max(begin, from);
    }
  }
}

// Computing begins with a span and may wait inside: those waits, which are no computing.
std::vector<Span> waits_inside(const std::vector<Span>& waits, const std::vector<Span>& computing) {
  std::vector<Span> inside;
  for (const Span& wait : waits) {
    const auto after =
        std::upper_bound(computing.begin(), computing.end(), wait.begin_ns,
                         [](uint64_t begin, const Span& span) { return begin < span.begin_ns; });
    if (after != computing.begin() && wait.end_ns <= std::prev(after)->end_ns) inside.push_back(wait);
  }
  return inside;
}

}  // namespace

void PassLog::add(int64_t n_prompt_tokens, int64_t n_decoded, double seconds, const StoreStats& stats,
                  const PassTotals& totals) {
  const std::lock_guard lock(mutex_);
  MonitorPass pass;
  pass.number = ++n_passes_;
  pass.n_prompt_tokens = n_prompt_tokens;
  pass.n_decoded = n_decoded;
  pass.seconds = seconds;
  pass.stall_seconds = static_cast<double>(stats.stall_ns - last_.stall_ns) * 1e-9;
  pass.hits = stats.hits - last_.hits;
  pass.misses = stats.misses - last_.misses;
  pass.evictions = stats.evictions - last_.evictions;
  pass.bytes_read = stats.bytes_read - last_.bytes_read;
  last_ = stats;
  totals_ = totals;
  if (passes_.size() == kMonitorPasses) passes_.pop_front();
  passes_.push_back(pass);
}

void PassLog::tell(MonitorSnapshot& snapshot) const {
  const std::lock_guard lock(mutex_);
  snapshot.passes.assign(passes_.begin(), passes_.end());
  snapshot.n_prompt_tokens = totals_.prefill_tokens;
  snapshot.n_decoded = totals_.decode_tokens;
  snapshot.prompt_seconds = totals_.prefill_seconds;
  snapshot.decode_seconds = totals_.decode_seconds;
}

std::vector<MonitorSlice> slice_timeline(const Timeline& timeline, uint64_t begin_ns, uint64_t end_ns,
                                         size_t n) {
  if (n == 0 || end_ns <= begin_ns) return {};
  std::vector<Span> computing, waits, reads;
  timeline.newest(Timeline::Track::kCompute, begin_ns, computing);
  timeline.newest(Timeline::Track::kWait, begin_ns, waits);
  const bool all_reads = timeline.newest(Timeline::Track::kReads, begin_ns, reads);

  std::vector<double> compute_ns(n), inside_ns(n), wait_ns(n), read_ns(n);
  add_spans(computing, begin_ns, end_ns, compute_ns);
  add_spans(waits_inside(waits, computing), begin_ns, end_ns, inside_ns);
  add_spans(waits, begin_ns, end_ns, wait_ns);
  add_spans(reads, begin_ns, end_ns, read_ns);

  const double width = static_cast<double>(end_ns - begin_ns) / static_cast<double>(n);
  std::vector<MonitorSlice> slices(n);
  for (size_t i = 0; i < n; ++i) {
    slices[i].computing = std::clamp((compute_ns[i] - inside_ns[i]) / width, 0.0, 1.0);
    slices[i].waiting = std::clamp(wait_ns[i] / width, 0.0, 1.0);
    slices[i].reads_in_flight = read_ns[i] / width;
    const double slice_end = static_cast<double>(begin_ns) + width * static_cast<double>(i + 1);
    if (!all_reads && slice_end < static_cast<double>(reads.front().end_ns)) slices[i].reads_in_flight = -1;
  }
  return slices;
}

}  // namespace sluice
