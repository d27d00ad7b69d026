// Which table for which CPU.
#include <algorithm>

#include "base/error.h"
#include "kernels/table.h"
#include "platform/cpu_features.h"

namespace sluice {
namespace {

KernelTable changed(KernelTable table, const TableChanges& changes) {
  table.isa = changes.isa;
  for (size_t e = 0; e < kNumEncodings; ++e) {
    for (size_t a = 0; a < std::size(changes.matmul[e]); ++a) {
      if (changes.matmul[e][a] != nullptr) table.matmul[e][a] = changes.matmul[e][a];
    }
  }
  if (changes.pack != nullptr) table.pack = changes.pack;
  if (changes.round != nullptr) table.round = changes.round;
  if (changes.int8_rounds != nullptr) table.int8_rounds = changes.int8_rounds;
  return table;
}

// Best first. Made once, so that a table stays where it is.
const std::vector<KernelTable>& available_tables() {
  static const std::vector<KernelTable> tables = [] {
    std::vector<KernelTable> made = {generic::kTable};
    const CpuFeatures& cpu = cpu_features();
#if defined(__x86_64__)
    if (cpu.avx2) made.push_back(avx2::kTable);
    if (cpu.avx2 && cpu.avx_vnni) made.push_back(changed(avx2::kTable, avx2_vnni::kChanges));
    if (cpu.avx512 && cpu.avx512_vnni) {
      made.push_back(avx512::kTable);
      if (cpu.avx512_vbmi) {
        const KernelTable vbmi = changed(made.back(), avx512_vbmi::kChanges);
        // Intel's multiply bf16 at half the speed of f32 (docs/decisions/0012).
        if (cpu.avx512_bf16) made.push_back(changed(vbmi, avx512_bf16::kChanges));
        made.insert(cpu.bf16_is_fast ? made.end() - 1 : made.end(), vbmi);
        if (cpu.amx_int8) made.push_back(changed(vbmi, avx512_amx::kChanges));
      }
    }
#elif defined(__aarch64__)
    if (cpu.neon) made.push_back(neon::kTable);
    if (cpu.neon && cpu.neon_dotprod) {
      made.push_back(changed(neon::kTable, neon_dotprod::kChanges));
      if (cpu.neon_i8mm) made.push_back(changed(made.back(), neon_i8mm::kChanges));
    }
#endif
    (void)cpu;
    std::reverse(made.begin(), made.end());
    return made;
  }();
  return tables;
}

constexpr int kMostLanes = 64;  // wider than any vector

// Or the work that made it could be dropped.
template <typename T>
void use(T value) {
  volatile T used = value;
  static_cast<void>(used);
}

}  // namespace

const KernelTable& kernel_table(const std::string& isa) {
  const std::vector<KernelTable>& tables = available_tables();
  if (isa.empty()) return tables.front();
  std::string names;
  for (const KernelTable& table : tables) {
    if (isa == table.isa) return table;
    names += names.empty() ? table.isa : std::string(", ") + table.isa;
  }
  throw_error(ErrorKind::kUnsupported, "instruction set %s: not on this CPU; it has %s",
              printable(isa).c_str(), names.c_str());
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const KernelTable& table : available_tables()) names.emplace_back(table.isa);
  return names;
}

Activation activation_of(const Compute& compute, Encoding encoding) noexcept {
  const Activation activation = encoding_info(encoding).activation;
  const MatmulFn* const products = compute.table->matmul[static_cast<size_t>(encoding)];
  const bool has_it = !compute.f32_activations && products[static_cast<size_t>(activation)] != nullptr;
  return has_it ? activation : Activation::kF32;
}

int64_t int8_rounds(const KernelTable& table, int64_t n) noexcept {
  int32_t sums[kMostLanes];
  const int64_t operations = table.int8_rounds(n, sums);
  use(sums[0]);
  return operations;
}

int64_t f32_rounds(const KernelTable& table, int64_t n) noexcept {
  float sums[kMostLanes];
  const int64_t operations = table.f32_rounds(n, sums);
  use(sums[0]);
  return operations;
}

int64_t bf16_rounds(const KernelTable& table, int64_t n) noexcept {
  if (!table.bf16_rounds || !cpu_features().avx512_bf16) return 0;
  float sums[kMostLanes];
  const int64_t operations = table.bf16_rounds(n, sums);
  use(sums[0]);
  return operations;
}

void read_streams(const KernelTable& table, const std::byte* data, size_t stream_bytes, int n_streams,
                  size_t ahead) noexcept {
  int32_t sums[kMostLanes];
  table.read_streams(data, stream_bytes, n_streams, ahead, sums);
  use(sums[0]);
}

const char* kernel_isa(const KernelTable& table) noexcept { return table.isa; }

}  // namespace sluice
