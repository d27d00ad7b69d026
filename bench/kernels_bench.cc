// Micro-benchmarks of the kernels: each instruction set x encoding x number of input rows.
//
//   matmul/<isa>/<encoding>[+f32]/rows:<output>x<input>/batch:<n>/threads:<t>
//   attention/<isa>/<kv type>/dim:<n>/group:<n>/context:<n>/batch:<n>/threads:<t>    8 KV heads
//
// Weights are many matrices (layers of a KV cache), on huge pages, three times the last-level cache together
// and 512 MiB at least, used in turn, so that a batch of 1 reads memory and not a cache. bytes_per_second
// counts the bytes of the weights (keys and values), items_per_second the operations (2 per product). Select
// with --benchmark_filter; bench/table.py stores the tables of docs/performance.md.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "encoding/woven.h"
#include "kernels/kernels.h"
#include "plan/peaks.h"
#include "platform/memory_info.h"

namespace sluice {
namespace {

// Bytes of all matrices of a benchmark: as much as read peaks are measured on.
size_t weight_bytes() {
  static const size_t bytes = read_buffer_bytes(UINT64_MAX);
  return bytes;
}

// The same memory for every benchmark: random bytes, every 16-bit piece of which is a small finite half in
// either format, so that no encoding sees a NaN or a subnormal. MXFP4 has its exponents elsewhere.
const std::byte* weight_memory(Encoding encoding = Encoding::kF32) {
  static const PageBuffer memory(weight_bytes() + (1u << 20));
  static std::optional<bool> is_mxfp4;
  if (is_mxfp4 == (encoding == Encoding::kMXFP4)) return memory.data();
  is_mxfp4 = encoding == Encoding::kMXFP4;
  std::mt19937_64 random(1);
  for (size_t i = 0; i < memory.size(); i += 8) {
    const uint64_t word = (random() & 0xb3ffb3ffb3ffb3ff) | 0x2000200020002000;
    std::memcpy(memory.data() + i, &word, 8);
  }
  constexpr size_t kBlockBytes = 17;
  for (size_t i = 0; *is_mxfp4 && i < memory.size(); i += kBlockBytes) memory.data()[i] = std::byte{120};
  return memory.data();
}

struct Shape {
  int64_t rows, cols, batch;
  int threads;
  bool is_woven = false;  // random bytes are as random woven
};

void run_matmul(benchmark::State& state, const std::string& isa, Encoding encoding, bool f32, Shape shape) {
  ThreadPool pool(shape.threads);
  Compute compute{&kernel_table(isa), &pool, f32};
  const EncodingParams params{64, ScaleType::kBF16};
  const auto bytes = row_bytes(encoding, params, static_cast<uint64_t>(shape.cols));
  uint64_t matrix_bytes = 0;
  for (uint64_t b : bytes) matrix_bytes += b * static_cast<uint64_t>(shape.rows);
  const size_t n_matrices = shape.batch > 64 ? 1 : std::max<size_t>(1, weight_bytes() / matrix_bytes);
  std::vector<WeightView> weights;
  const std::byte* at = weight_memory(encoding);
  for (size_t m = 0; m < n_matrices; ++m) {
    WeightView w;
    w.encoding = encoding;
    w.params = params;
    w.rows = shape.rows;
    w.cols = shape.cols;
    for (size_t p = 0; p < plane_count(encoding); ++p) {
      w.plane[p] = at;
      w.stride[p] = bytes[p];
      at += bytes[p] * static_cast<uint64_t>(shape.rows);
      if (shape.is_woven) w.woven_rows = weavable_rows(w.rows, bytes[p]);
    }
    weights.push_back(w);
  }
  std::vector<float> x(static_cast<size_t>(shape.batch * shape.cols));
  std::mt19937 random(2);
  for (float& v : x) v = std::normal_distribution<float>()(random);
  std::vector<float> out(static_cast<size_t>(shape.batch * shape.rows));
  Activations input;
  input.reserve(shape.batch, shape.cols);
  size_t next = 0;
  for (auto _ : state) {
    input.set(x.data(), shape.batch, shape.cols, shape.cols);
    input.prepare(compute, encoding);
    const MatmulTask task{weights[next], &input, {}, out.data(), shape.rows};
    matmul(compute, std::span(&task, 1));
    next = (next + 1) % n_matrices;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(matrix_bytes));
  state.SetItemsProcessed(state.iterations() * 2 * shape.rows * shape.cols * shape.batch);
}

// Layers of a KV cache, block by block as SequenceState lays them out, used in turn like the weights.
struct AttentionShape {
  KvType type;
  int64_t group, head_dim, context, batch;
  int threads;
};

void run_attention(benchmark::State& state, const std::string& isa, AttentionShape shape) {
  constexpr int64_t kHeads = 8;
  ThreadPool pool(shape.threads);
  Compute compute{&kernel_table(isa), &pool, false};
  const size_t head_bytes = kv_head_bytes(shape.type, shape.head_dim);
  const size_t layer_bytes = 2 * kHeads * head_bytes;
  const int64_t n_blocks = (shape.context + kKvBlockTokens - 1) / kKvBlockTokens;
  const size_t n_layers = std::max<size_t>(1, weight_bytes() / (layer_bytes * static_cast<size_t>(n_blocks)));
  const PageBuffer memory(n_layers * layer_bytes * static_cast<size_t>(n_blocks));
  for (size_t i = 0; i < memory.size(); i += weight_bytes()) {
    std::memcpy(memory.data() + i, weight_memory(), std::min(memory.size() - i, weight_bytes()));
  }
  std::vector<std::vector<const std::byte*>> blocks(n_layers);
  const std::byte* at = memory.data();
  for (int64_t b = 0; b < n_blocks; ++b) {
    for (size_t l = 0; l < n_layers; ++l, at += layer_bytes) blocks[l].push_back(at);
  }
  std::vector<float> q(static_cast<size_t>(shape.batch * kHeads * shape.group * shape.head_dim), 0.1f);
  std::vector<float> out(q.size());
  std::vector<float> scratch(
      static_cast<size_t>(attention_scratch_floats(kHeads * shape.group, shape.head_dim)));
  std::vector<AttentionTask> tasks;
  for (int64_t h = 0; h < kHeads; ++h) {
    AttentionTask task;
    task.q = q.data() + h * shape.group * shape.head_dim;
    task.out = out.data() + h * shape.group * shape.head_dim;
    task.q_stride = task.out_stride = kHeads * shape.group * shape.head_dim;
    task.n_queries = shape.batch;
    task.first_position = shape.context - shape.batch;
    task.k_offset = static_cast<size_t>(h) * head_bytes;
    task.v_offset = static_cast<size_t>(kHeads + h) * head_bytes;
    task.kv_type = shape.type;
    task.group = shape.group;
    task.head_dim = shape.head_dim;
    task.scale = 0.1f;
    tasks.push_back(task);
  }
  size_t layer = 0;
  for (auto _ : state) {
    for (AttentionTask& task : tasks) task.blocks = blocks[layer];
    attention(compute, tasks, scratch);
    layer = (layer + 1) % n_layers;
  }
  const int64_t n_seen = shape.batch * (shape.context - shape.batch) + shape.batch * (shape.batch + 1) / 2;
  state.SetBytesProcessed(state.iterations() * n_blocks * static_cast<int64_t>(layer_bytes));
  state.SetItemsProcessed(state.iterations() * 4 * kHeads * shape.group * shape.head_dim * n_seen);
}

void register_all() {
  const auto add_matmul = [](const std::string& isa, Encoding encoding, bool f32, Shape s) {
    const std::string name = "matmul/" + isa + "/" + std::string(encoding_info(encoding).name) +
                             (f32 ? "+f32" : "") + "/rows:" + std::to_string(s.rows) + "x" +
                             std::to_string(s.cols) + (s.is_woven ? "/woven" : "") +
                             "/batch:" + std::to_string(s.batch) + "/threads:" + std::to_string(s.threads);
    benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
      run_matmul(state, isa, encoding, f32, s);
    })->UseRealTime();
  };
  for (const std::string& isa : available_isas()) {
    if (isa == "generic") continue;
    for (size_t e = 0; e < kNumEncodings; ++e) {
      const auto encoding = static_cast<Encoding>(e);
      for (bool f32 : {false, true}) {
        if (f32 && activation_of({.table = &kernel_table(isa)}, encoding) == Activation::kF32) continue;
        for (int threads : {1, 2}) {
          add_matmul(isa, encoding, f32, {2048, 8192, 1, threads});
          add_matmul(isa, encoding, f32, {2048, 2048, 512, threads});
        }
        if (f32) continue;
        for (int threads : {1, 2}) add_matmul(isa, encoding, f32, {2048, 8192, 1, threads, true});
        add_matmul(isa, encoding, f32, {8192, 2048, 1, 2});
        for (int64_t batch : {2, 4, 8}) add_matmul(isa, encoding, f32, {2048, 8192, batch, 2, true});
      }
    }
    constexpr const char* kTypes[] = {"f32", "f16", "bf16", "int8"};  // by KvType
    for (size_t type = 0; type < std::size(kTypes); ++type) {
      for (const auto& [head_dim, group] : {std::pair{128, 4}, {128, 8}, {64, 4}, {64, 8}}) {
        if (type != static_cast<size_t>(KvType::kF16) && (head_dim != 128 || group != 4)) continue;
        for (int64_t context : {512, 8192, 32768}) {
          for (int64_t batch : {1, 512}) {
            for (int threads : {1, 2}) {
              const AttentionShape shape = {
                  static_cast<KvType>(type), group, head_dim, context, batch, threads};
              const std::string name =
                  "attention/" + isa + "/" + kTypes[type] + "/dim:" + std::to_string(head_dim) +
                  "/group:" + std::to_string(group) + "/context:" + std::to_string(context) +
                  "/batch:" + std::to_string(batch) + "/threads:" + std::to_string(threads);
              benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
                run_attention(state, isa, shape);
              })->UseRealTime();
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  sluice::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
