// What happened when: spans of computing, waiting and reading, for a picture of how they overlap. Kept in
// memory of a fixed size and turned into text at the end, so that nothing is written while a model runs. The
// first spans are for that text; the newest, of which older ones are forgotten, for whoever watches.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <vector>

namespace sluice {

class Timeline {
 public:
  enum class Track : uint8_t { kCompute, kWait, kReads };  // spans of the first two nest or follow each other

  struct Span {
    const char* name = nullptr;
    uint64_t begin_ns = 0, end_ns = 0, bytes = 0, offset = 0;
    uint32_t file = 0;
    Track track = Track::kCompute;
  };

  // Room for the first `max_spans`, and for the newest `n_newest` of each track.
  explicit Timeline(size_t max_spans, size_t n_newest = 0);

  // Thread-safe. `name` must live as long as the timeline; times are monotonic_ns(). Spans beyond the sizes
  // are counted and dropped. `file` and `offset`: where a read began.
  void add(Track track, const char* name, uint64_t begin_ns, uint64_t end_ns, uint64_t bytes,
           uint32_t file = 0, uint64_t offset = 0);

  // A JSON object in Chrome's trace event format, which chrome://tracing and Perfetto show, in pieces for
  // `write`. Thread-safe.
  void write_json(const std::function<void(std::string_view)>& write) const;

  // The spans of a track that ended at `since_ns` or later, oldest first. False: some of them are forgotten.
  // Spans of one track must have been added in the order of their ends, or nearly so. Thread-safe.
  bool newest(Track track, uint64_t since_ns, std::vector<Span>& spans) const;

 private:
  mutable std::mutex mutex_;
  std::vector<Span> spans_;
  size_t n_added_ = 0;
  std::array<std::vector<Span>, 3> newest_;  // rings
  std::array<size_t, 3> n_newest_ = {};      // added to each
};

}  // namespace sluice
