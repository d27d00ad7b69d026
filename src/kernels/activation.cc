#include "kernels/activation.h"

#include <new>
#include <utility>

#include "base/check.h"
#include "kernels/table.h"

namespace sluice {
namespace {

size_t block_count(int64_t rows, int64_t cols) {
  return static_cast<size_t>(rows) * static_cast<size_t>(cols / kActivationBlock);
}

// Below this many values waking other threads costs more than it saves.
constexpr int64_t kParallelValues = 1 << 15;

}  // namespace

Activations::Activations() : impl_(new Impl) {}

Activations::~Activations() {
  if (impl_ != nullptr) ::operator delete[](impl_->blocks, std::align_val_t{alignof(ActivationBlock)});
  delete impl_;
}

Activations::Activations(Activations&& other) noexcept : impl_(std::exchange(other.impl_, nullptr)) {}

Activations& Activations::operator=(Activations&& other) noexcept {
  std::swap(impl_, other.impl_);
  return *this;
}

void Activations::set(const float* x, int64_t rows, int64_t cols, int64_t stride) {
  impl_->x = x;
  impl_->rows = rows;
  impl_->cols = cols;
  impl_->stride = stride;
  impl_->is_int8_ready = false;
}

void Activations::reserve(int64_t max_rows, int64_t max_cols) {
  const size_t n = block_count(max_rows, max_cols);
  if (n <= impl_->capacity) return;
  constexpr std::align_val_t kAlign{alignof(ActivationBlock)};
  ::operator delete[](std::exchange(impl_->blocks, nullptr), kAlign);
  impl_->capacity = 0;
  impl_->blocks = static_cast<ActivationBlock*>(::operator new[](n * sizeof(ActivationBlock), kAlign));
  impl_->capacity = n;
  impl_->is_int8_ready = false;
}

size_t Activations::buffer_bytes(int64_t max_rows, int64_t max_cols) {
  return block_count(max_rows, max_cols) * sizeof(ActivationBlock);
}

void Activations::prepare(const Compute& compute, Encoding encoding) {
  if (!impl_->is_int8_ready) quantize(compute, encoding, impl_->rows, [](int64_t i) { return i; });
}

void Activations::prepare(const Compute& compute, Encoding encoding, std::span<const int32_t> rows) {
  quantize(compute, encoding, static_cast<int64_t>(rows.size()),
           [rows](int64_t i) { return rows[static_cast<size_t>(i)]; });
}

template <typename RowAt>
void Activations::quantize(const Compute& compute, Encoding encoding, int64_t n_rows, RowAt row_at) {
  Impl& a = *impl_;
  if (encoding_info(encoding).activation != Activation::kInt8 || compute.f32_activations) return;
  SLUICE_CHECK(a.cols % kActivationBlock == 0);
  reserve(a.rows, a.cols);
  const int64_t row_blocks = a.cols / kActivationBlock;
  const auto quantize_row = [&](int64_t i, int) {
    const int64_t row = row_at(i);
    compute.table->quantize_row(a.x + row * a.stride, a.cols, a.blocks + row * row_blocks);
  };
  if (n_rows > 1 && n_rows * a.cols >= kParallelValues) {
    compute.pool->run(n_rows, quantize_row);
  } else {
    for (int64_t i = 0; i < n_rows; ++i) quantize_row(i, 0);
  }
  a.is_int8_ready = true;
}

int64_t Activations::rows() const noexcept { return impl_->rows; }
int64_t Activations::cols() const noexcept { return impl_->cols; }

}  // namespace sluice
