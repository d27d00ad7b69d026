// Which table for which CPU.
#include <algorithm>

#include "base/error.h"
#include "kernels/table.h"
#include "platform/cpu_features.h"

namespace sluice {
namespace {

#if defined(__aarch64__)
const KernelTable& neon_i8mm_table() {
  static const KernelTable table = [] {
    KernelTable t = neon_dotprod::kTable;
    t.isa = "neon-i8mm";
    for (size_t e = 0; e < kNumEncodings; ++e) {
      const MatmulFn matmul = neon_i8mm::kProducts.matmul_int8[e];
      if (matmul != nullptr) t.matmul[e][static_cast<size_t>(Activation::kInt8)] = matmul;
    }
    t.int8_rounds = neon_i8mm::int8_rounds;
    return t;
  }();
  return table;
}
#endif

// Best first.
std::vector<const KernelTable*> available_tables() {
  std::vector<const KernelTable*> tables;
  const CpuFeatures& cpu = cpu_features();
#if defined(__x86_64__)
  const bool vbmi = cpu.avx512 && cpu.avx512_vnni && cpu.avx512_vbmi;
  if (vbmi && cpu.amx_int8) tables.push_back(&avx512_amx::kTable);
  if (vbmi) tables.push_back(&avx512_vbmi::kTable);
  if (cpu.avx512 && cpu.avx512_vnni) tables.push_back(&avx512::kTable);
  if (cpu.avx2 && cpu.avx_vnni) tables.push_back(&avx2_vnni::kTable);
  if (cpu.avx2) tables.push_back(&avx2::kTable);
#elif defined(__aarch64__)
  if (cpu.neon && cpu.neon_dotprod && cpu.neon_i8mm) tables.push_back(&neon_i8mm_table());
  if (cpu.neon && cpu.neon_dotprod) tables.push_back(&neon_dotprod::kTable);
  if (cpu.neon) tables.push_back(&neon::kTable);
#endif
  (void)cpu;
  tables.push_back(&generic::kTable);
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
  const std::vector<const KernelTable*> tables = available_tables();
  if (isa.empty()) return *tables.front();
  std::string names;
  for (const KernelTable* table : tables) {
    if (isa == table->isa) return *table;
    names += names.empty() ? table->isa : std::string(", ") + table->isa;
  }
  throw_error(ErrorKind::kUnsupported, "instruction set %s: not on this CPU; it has %s",
              printable(isa).c_str(), names.c_str());
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const KernelTable* table : available_tables()) names.emplace_back(table->isa);
  return names;
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
