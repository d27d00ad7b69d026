#include "store/trace.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/align.h"
#include "base/check.h"
#include "base/error.h"
#include "encoding/half.h"
#include "platform/file.h"
#include "store/byte_cursor.h"

namespace sluice {
namespace {

constexpr char kMagic[8] = {'S', 'L', 'U', 'I', 'C', 'E', 'R', 'T'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kMaxName = 4096;
constexpr uint32_t kMaxGroups = 4096;
constexpr uint32_t kMaxUnits = 65536;
constexpr uint32_t kMaxChosen = 256;
constexpr uint64_t kMaxPasses = uint64_t{1} << 28;
constexpr uint64_t kMaxFile = uint64_t{8} << 30;
constexpr uint32_t kPromptBit = uint32_t{1} << 31;

TraceShape take_shape(ByteCursor& in) {
  TraceShape shape;
  const auto name_bytes = in.take<uint32_t>();
  const auto n_groups = in.take<uint32_t>();
  shape.n_units = in.take<uint32_t>();
  shape.n_chosen = in.take<uint32_t>();
  shape.unit_bytes = in.take<uint64_t>();
  shape.fixed_bytes = in.take<uint64_t>();
  for (double* seconds : {&shape.token_seconds, &shape.unit_seconds, &shape.disk_bytes_s}) {
    *seconds = in.take<double>();
    if (!std::isfinite(*seconds) || *seconds < 0) in.refuse("has a measurement that is no number");
  }
  if (name_bytes > kMaxName || n_groups == 0 || n_groups > kMaxGroups || shape.n_units == 0 ||
      shape.n_units > kMaxUnits || shape.n_chosen == 0 || shape.n_chosen > kMaxChosen ||
      shape.n_chosen > shape.n_units || shape.unit_bytes == 0 || shape.unit_bytes > (uint64_t{1} << 40) ||
      shape.fixed_bytes > (uint64_t{1} << 50)) {
    in.refuse("has a shape that no model has");
  }
  shape.model = in.take_text(name_bytes);
  for (uint32_t i = 0; i < n_groups; ++i) {
    shape.groups.push_back(in.take<uint32_t>());
    if (shape.groups.back() >= kMaxGroups || (i > 0 && shape.groups[i] <= shape.groups[i - 1]))
      in.refuse("has layers out of order");
  }
  return shape;
}

}  // namespace

std::span<const uint16_t> RoutingTrace::chosen(size_t pass, size_t group) const {
  const size_t n = size_t{passes[pass].n_tokens} * shape.n_chosen;
  return std::span(units).subspan(begins_[pass] + group * n, n);
}

void RoutingTrace::add_pass(const TracePass& pass) {
  const size_t row = shape.groups.size() * shape.n_chosen;
  begins_.push_back(n_tokens_ * row);
  n_tokens_ += pass.n_tokens;
  passes.push_back(pass);
  SLUICE_CHECK(n_tokens_ * row <= units.size() && units.size() == weights.size());
}

TraceRecorder::TraceRecorder(TraceShape shape, size_t n_tokens, size_t n_groups) {
  trace_.shape = std::move(shape);
  trace_.shape.groups.clear();
  const size_t n = n_tokens * n_groups * trace_.shape.n_chosen;
  for (std::vector<uint16_t>* list : {&trace_.units, &trace_.weights}) {
    list->resize(n, 1);  // touched, and so resident
    list->clear();
  }
}

void TraceRecorder::add(uint32_t group, std::span<const int32_t> units, std::span<const float> weights) {
  SLUICE_CHECK(units.size() == trace_.shape.n_chosen && weights.size() == units.size());
  if (groups_.empty() || groups_.back() != group) groups_.push_back(group);
  for (const int32_t unit : units) {
    SLUICE_CHECK(unit >= 0 && static_cast<uint32_t>(unit) < trace_.shape.n_units, "expert %d", unit);
    trace_.units.push_back(static_cast<uint16_t>(unit));
  }
  for (const float weight : weights) trace_.weights.push_back(f32_to_f16(weight));
  ++n_added_;
}

void TraceRecorder::end_pass(bool is_prompt) {
  if (n_added_ == 0) return;
  if (trace_.shape.groups.empty()) trace_.shape.groups = groups_;
  SLUICE_CHECK(groups_ == trace_.shape.groups && n_added_ % groups_.size() == 0, "%zu tokens in %zu layers",
               n_added_, groups_.size());
  trace_.add_pass({static_cast<uint32_t>(n_added_ / groups_.size()), is_prompt});
  groups_.clear();
  n_added_ = 0;
}

void write_trace(const std::string& path, const RoutingTrace& trace) {
  const TraceShape& shape = trace.shape;
  std::vector<std::byte> header;
  for (const char c : kMagic) append_bytes(header, c);
  append_bytes(header, kVersion);
  const std::string name = shape.model.substr(0, kMaxName);
  append_bytes(header, static_cast<uint32_t>(name.size()));
  append_bytes(header, static_cast<uint32_t>(shape.groups.size()));
  append_bytes(header, shape.n_units);
  append_bytes(header, shape.n_chosen);
  append_bytes(header, shape.unit_bytes);
  append_bytes(header, shape.fixed_bytes);
  append_bytes(header, shape.token_seconds);
  append_bytes(header, shape.unit_seconds);
  append_bytes(header, shape.disk_bytes_s);
  for (const char c : name) append_bytes(header, c);
  for (const uint32_t group : shape.groups) append_bytes(header, group);
  append_bytes(header, static_cast<uint64_t>(trace.passes.size()));
  for (const TracePass& pass : trace.passes)
    append_bytes(header, pass.n_tokens | (pass.is_prompt ? kPromptBit : 0));

  FileWriter out(path);
  out.write(header);
  if (shape.n_units <= 256) {
    const std::vector<uint8_t> bytes(trace.units.begin(), trace.units.end());
    out.write(std::as_bytes(std::span(bytes)));
  } else {
    out.write(std::as_bytes(std::span(trace.units)));
  }
  out.write(std::as_bytes(std::span(trace.weights)));
  out.commit();
}

RoutingTrace parse_trace(std::span<const std::byte> bytes, const std::string& where) {
  ByteCursor in(bytes, where, "a routing trace", "record it again");
  if (bytes.size() < sizeof(kMagic) || std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) != 0)
    throw_error(ErrorKind::kCorrupt, "%s is no routing trace: record one with sluice trace", where.c_str());
  in.take_bytes(sizeof(kMagic));
  if (const auto version = in.take<uint32_t>(); version != kVersion)
    throw_error(ErrorKind::kUnsupported,
                "%s is a routing trace of version %u, and this reads version %u: "
                "record it again",
                where.c_str(), version, kVersion);
  RoutingTrace trace;
  trace.shape = take_shape(in);
  const uint64_t row = uint64_t{trace.shape.groups.size()} * trace.shape.n_chosen;  // at most 2^20

  const auto n_passes = in.take<uint64_t>();
  if (n_passes == 0 || n_passes > kMaxPasses) in.refuse("has no passes, or too many");
  const auto table = in.take_bytes(n_passes * sizeof(uint32_t));
  uint64_t n_tokens = 0;
  std::vector<TracePass> passes(n_passes);
  for (size_t i = 0; i < passes.size(); ++i) {
    uint32_t value = 0;
    std::memcpy(&value, table.data() + i * sizeof(value), sizeof(value));
    passes[i] = {value & ~kPromptBit, (value & kPromptBit) != 0};
    if (passes[i].n_tokens == 0) in.refuse("has a pass without tokens");
    n_tokens += passes[i].n_tokens;  // at most 2^59
  }
  const uint64_t id_bytes = trace.shape.n_units <= 256 ? 1 : 2;
  uint64_t n = 0, expected = 0;
  if (!checked_mul(n_tokens, row, &n) || !checked_mul(n, id_bytes + sizeof(uint16_t), &expected) ||
      expected != in.left()) {
    in.refuse("is not as long as its passes say");
  }

  const auto ids = in.take_bytes(n * id_bytes);
  const auto weights = in.take_bytes(n * sizeof(uint16_t));
  trace.units.resize(n);
  trace.weights.resize(n);
  if (id_bytes == 1) {
    const auto* const narrow = reinterpret_cast<const uint8_t*>(ids.data());
    std::copy(narrow, narrow + n, trace.units.begin());
  } else {
    std::memcpy(trace.units.data(), ids.data(), ids.size());
  }
  std::memcpy(trace.weights.data(), weights.data(), weights.size());
  for (const uint16_t unit : trace.units) {
    if (unit >= trace.shape.n_units) in.refuse("names an expert that its model does not have");
  }
  for (const uint16_t weight : trace.weights) {
    if (!std::isfinite(f16_to_f32(weight))) in.refuse("has a weight that is no number");
  }
  for (const TracePass& pass : passes) trace.add_pass(pass);
  return trace;
}

RoutingTrace read_trace(const std::string& path) {
  const auto file = File::open(path);
  if (file->size() > kMaxFile)
    throw_error(ErrorKind::kCorrupt, "%s is too large for a routing trace", path.c_str());
  std::vector<std::byte> bytes(file->size());
  file->read_at(0, bytes);
  return parse_trace(bytes, path);
}

}  // namespace sluice
