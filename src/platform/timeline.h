// What happened when: spans of computing, waiting and reading, for a picture of how they overlap. Kept in
// memory of a fixed size and turned into text at the end, so that nothing is written while a model runs.
#pragma once

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

  explicit Timeline(size_t max_spans) : spans_(max_spans) {}

  // Thread-safe. `name` must live as long as the timeline; times are monotonic_ns(). Spans beyond the size
  // are counted and dropped. `file` and `offset`: where a read began.
  void add(Track track, const char* name, uint64_t begin_ns, uint64_t end_ns, uint64_t bytes,
           uint32_t file = 0, uint64_t offset = 0);

  // A JSON object in Chrome's trace event format, which chrome://tracing and Perfetto show, in pieces for
  // `write`. Thread-safe.
  void write_json(const std::function<void(std::string_view)>& write) const;

 private:
  struct Span {
    const char* name = nullptr;
    uint64_t begin_ns = 0, end_ns = 0, bytes = 0, offset = 0;
    uint32_t file = 0;
    Track track = Track::kCompute;
  };
  mutable std::mutex mutex_;
  std::vector<Span> spans_;
  size_t n_added_ = 0;
};

}  // namespace sluice
