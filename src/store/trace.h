// Recorded routing: which units of each group were chosen for every token, with what weight, pass by pass in
// the engine's order of access. The file is described in docs/formats.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sluice {

struct TraceShape {
  std::string model;
  std::vector<uint32_t> groups;  // that have units, ascending: a model's MoE layers
  uint32_t n_units = 0;          // of each group: experts
  uint32_t n_chosen = 0;         // of them by each token
  uint64_t unit_bytes = 0;       // of one unit, as it is read
  uint64_t fixed_bytes = 0;      // of the process but for the cache, with everything else resident
  // Measured while it was recorded, 0 if not.
  double token_seconds = 0;  // of a pass of one token, without waiting for weights
  double unit_seconds = 0;   // of which in the experts
  double disk_bytes_s = 0;   // of the drive with the model
};

struct TracePass {
  uint32_t n_tokens = 0;
  bool is_prompt = false;  // read, rather than made
};

struct RoutingTrace {
  TraceShape shape;
  std::vector<TracePass> passes;
  std::vector<uint16_t> units;    // [pass][group][token][n_chosen] in router order
  std::vector<uint16_t> weights;  // the same, f16

  size_t n_tokens() const { return n_tokens_; }
  size_t n_slots_of_all() const { return shape.groups.size() * shape.n_units; }
  // [n_tokens of the pass, n_chosen] of the group at `group` in shape.groups.
  std::span<const uint16_t> chosen(size_t pass, size_t group) const;

  void add_pass(const TracePass& pass);  // whose units and weights are there already

 private:
  std::vector<size_t> begins_;  // [n_passes] in `units`
  size_t n_tokens_ = 0;
};

// Collects what a model's route observer tells.
class TraceRecorder {
 public:
  // Takes the memory for that many tokens now, so that it is part of what the process uses. `shape.groups`
  // comes with the first pass.
  TraceRecorder(TraceShape shape, size_t n_tokens, size_t n_groups);

  // One token in one group; all tokens of a group one after another, the groups ascending.
  void add(uint32_t group, std::span<const int32_t> units, std::span<const float> weights);
  void end_pass(bool is_prompt);

  RoutingTrace& trace() { return trace_; }

 private:
  RoutingTrace trace_;
  std::vector<uint32_t> groups_;  // of this pass
  size_t n_added_ = 0;            // tokens times groups of this pass
};

// Replaces the file once it is complete. Throws Error(kIo).
void write_trace(const std::string& path, const RoutingTrace& trace);

// From untrusted bytes; `where` names them in Error(kCorrupt, kUnsupported).
RoutingTrace parse_trace(std::span<const std::byte> bytes, const std::string& where);
RoutingTrace read_trace(const std::string& path);  // also Error(kNotFound, kIo)

}  // namespace sluice
