#include "platform/timeline.h"

#include <algorithm>
#include <cinttypes>
#include <string>

#include "base/error.h"

namespace sluice {

Timeline::Timeline(size_t max_spans, size_t n_newest) : spans_(max_spans) {
  for (std::vector<Span>& ring : newest_) ring.resize(n_newest);
}

void Timeline::add(Track track, const char* name, uint64_t begin_ns, uint64_t end_ns, uint64_t bytes,
                   uint32_t file, uint64_t offset) {
  const std::lock_guard lock(mutex_);
  const Span span = {name, begin_ns, end_ns, bytes, offset, file, track};
  if (n_added_ < spans_.size()) spans_[n_added_] = span;
  ++n_added_;
  const auto t = static_cast<size_t>(track);
  if (std::vector<Span>& ring = newest_[t]; !ring.empty()) ring[n_newest_[t]++ % ring.size()] = span;
}

bool Timeline::newest(Track track, uint64_t since_ns, std::vector<Span>& spans) const {
  const std::lock_guard lock(mutex_);
  const auto t = static_cast<size_t>(track);
  const std::vector<Span>& ring = newest_[t];
  const size_t end = n_newest_[t], oldest = end - std::min(end, ring.size());
  size_t begin = end;
  while (begin > oldest && ring[(begin - 1) % ring.size()].end_ns >= since_ns) --begin;
  spans.clear();
  for (size_t i = begin; i < end; ++i) spans.push_back(ring[i % ring.size()]);
  return begin > oldest || oldest == 0;
}

void Timeline::write_json(const std::function<void(std::string_view)>& write) const {
  const std::lock_guard lock(mutex_);
  const size_t n = std::min(n_added_, spans_.size());
  uint64_t start = UINT64_MAX;
  for (size_t i = 0; i < n; ++i) start = std::min(start, spans_[i].begin_ns);
  std::string text = "{\"traceEvents\":[";
  const char* const tracks[] = {"compute", "waits for weights", "reads"};
  for (size_t track = 0; track < 3; ++track) {
    text += format_string(
        "%s\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":%zu,\"args\":{\"name\":\"%s\"}}",
        track == 0 ? "" : ",", track, tracks[track]);
  }
  for (size_t i = 0; i < n; ++i) {
    const Span& span = spans_[i];
    const double begin = static_cast<double>(span.begin_ns - start) * 1e-3;
    const double end = static_cast<double>(span.end_ns - start) * 1e-3;
    const auto tid = static_cast<unsigned>(span.track);
    const auto add = [&](const std::string& kind, const std::string& more, double at) {
      text += format_string(
          ",\n{\"ph\":\"%s\",\"name\":\"%s\",\"pid\":1,\"tid\":%u,\"ts\":%.3f,%s\"args\":{\"bytes\":%" PRIu64,
          kind.c_str(), span.name, tid, at, more.c_str(), span.bytes);
      if (span.track == Track::kReads)
        text += format_string(",\"file\":%u,\"offset\":%" PRIu64, span.file, span.offset);
      text += "}}";
    };
    if (span.track == Track::kReads) {  // they overlap: each has an identity of its own
      const std::string id = format_string("\"cat\":\"read\",\"id\":%zu,", i);
      add("b", id, begin);
      add("e", id, end);
    } else {
      add("X", format_string("\"dur\":%.3f,", end - begin), begin);
    }
    if (text.size() < (64 << 10)) continue;
    write(text);
    text.clear();
  }
  write(text + format_string("\n],\"displayTimeUnit\":\"ms\",\"otherData\":{\"dropped_spans\":%zu}}\n",
                             n_added_ - n));
}

}  // namespace sluice
