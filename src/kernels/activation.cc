#include "kernels/activation.h"

#include <algorithm>
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

constexpr int64_t kStretch = 1024;  // columns of kPackedRows rows that are quantised before they are packed
static_assert(kStretch % kPackedCols == 0 && kStretch % kLongSpan == 0);

}  // namespace

Activations::Activations() : impl_(new Impl) {}

Activations::~Activations() {
  if (impl_ != nullptr) ::operator delete[](impl_->memory, std::align_val_t{alignof(ActivationBlock)});
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
  impl_->of_short_spans.form = impl_->of_long_spans.form = InputForm::kNone;
}

void Activations::reserve(int64_t max_rows, int64_t max_cols) {
  Impl& a = *impl_;
  const size_t n = block_count(max_rows, max_cols);
  if (n <= a.capacity) return;
  constexpr std::align_val_t kAlign{alignof(ActivationBlock)};
  ::operator delete[](std::exchange(a.memory, nullptr), kAlign);
  a.capacity = 0;
  a.of_short_spans = a.of_long_spans = {};
  a.memory = static_cast<ActivationBlock*>(::operator new[](2 * n * sizeof(ActivationBlock), kAlign));
  a.capacity = n;
  a.of_short_spans.blocks = a.memory;
  a.of_long_spans.blocks = a.memory + n;
}

size_t Activations::buffer_bytes(int64_t max_rows, int64_t max_cols) {
  return 2 * block_count(max_rows, max_cols) * sizeof(ActivationBlock);
}

void Activations::prepare(const Compute& compute, Encoding encoding) {
  const Activation wanted = activation_of(compute, encoding);
  const int64_t span = input_span(encoding);
  const InputForm form = impl_->copy(span).form;
  if (wanted == Activation::kInt8 && form != InputForm::kRows && form != InputForm::kPacked) {
    if (has_room_for<PackedInputs>())
      quantize_packed(compute, span);
    else
      quantize_rows(compute, span, impl_->rows, [](int64_t i) { return i; });
  }
  // Products of bf16 round what is missing themselves.
  if (wanted == Activation::kBF16 && form == InputForm::kNone && has_room_for<RoundedInputs>())
    round(compute);
}

void Activations::prepare_rows(const Compute& compute, Encoding encoding) {
  const int64_t span = input_span(encoding);
  if (impl_->copy(span).form == InputForm::kRows) return;
  if (activation_of(compute, encoding) != Activation::kInt8) return;
  quantize_rows(compute, span, impl_->rows, [](int64_t i) { return i; });
}

void Activations::prepare_rows(const Compute& compute, Encoding encoding, std::span<const int32_t> rows) {
  if (activation_of(compute, encoding) != Activation::kInt8) return;
  quantize_rows(compute, input_span(encoding), static_cast<int64_t>(rows.size()),
                [rows](int64_t i) { return rows[static_cast<size_t>(i)]; });
}

// Of all rows, if they are enough for it to pay.
template <typename Inputs>
bool Activations::has_room_for() {
  const Impl& a = *impl_;
  reserve(a.rows, a.cols);
  const auto n = static_cast<size_t>(a.packed_groups() * a.packed_chunks());
  return a.rows >= kPackedRows && n * sizeof(Inputs) <= a.capacity * sizeof(ActivationBlock);
}

template <typename RowAt>
void Activations::quantize_rows(const Compute& compute, int64_t span, int64_t n_rows, RowAt row_at) {
  Impl& a = *impl_;
  SLUICE_CHECK(a.cols % span == 0);
  reserve(a.rows, a.cols);
  Impl::Copy& copy = a.copy(span);
  const int64_t row_blocks = a.cols / kActivationBlock;
  const auto quantize_row = [&](int64_t i, int) {
    const int64_t row = row_at(i);
    compute.table->quantize_row(a.x + row * a.stride, a.cols, span, copy.blocks + row * row_blocks);
  };
  if (n_rows > 1 && n_rows * a.cols >= kParallelValues) {
    compute.pool->run(n_rows, quantize_row);
  } else {
    for (int64_t i = 0; i < n_rows; ++i) quantize_row(i, 0);
  }
  copy.form = InputForm::kRows;
}

void Activations::quantize_packed(const Compute& compute, int64_t span) {
  Impl& a = *impl_;
  SLUICE_CHECK(a.cols % span == 0);
  Impl::Copy& copy = a.copy(span);
  compute.pool->run(a.packed_groups(), [&](int64_t group, int) {
    ActivationBlock blocks[kPackedRows][kStretch / kActivationBlock];
    const int64_t first = group * kPackedRows, n_rows = std::min(kPackedRows, a.rows - first);
    auto* out = copy.packed<PackedInputs>() + group * a.packed_chunks();
    for (int64_t col = 0; col < a.cols; col += kStretch) {
      const int64_t n_cols = std::min(kStretch, a.cols - col);
      for (int64_t r = 0; r < n_rows; ++r) {
        compute.table->quantize_row(a.x + (first + r) * a.stride + col, n_cols, span, blocks[r]);
      }
      for (int64_t c = 0; c < n_cols; c += kPackedCols, ++out) {
        const ActivationBlock* rows[kPackedRows];
        for (int64_t r = 0; r < n_rows; ++r) rows[r] = &blocks[r][c / kActivationBlock];
        compute.table->pack(rows, n_rows, std::min(kPackedCols, n_cols - c) / kActivationBlock, out);
      }
    }
  });
  copy.form = InputForm::kPacked;
}

void Activations::round(const Compute& compute) {
  Impl& a = *impl_;
  Impl::Copy& copy = a.of_short_spans;
  compute.pool->run(a.packed_groups(), [&](int64_t group, int) {
    const int64_t first = group * kPackedRows, n_rows = std::min(kPackedRows, a.rows - first);
    const float* rows[kPackedRows];
    auto* out = copy.packed<RoundedInputs>() + group * a.packed_chunks();
    for (int64_t col = 0; col < a.cols; col += kPackedCols, ++out) {
      for (int64_t r = 0; r < n_rows; ++r) rows[r] = a.x + (first + r) * a.stride + col;
      compute.table->round(rows, n_rows, std::min(kPackedCols, a.cols - col), out);
    }
  });
  copy.form = InputForm::kRounded;
}

int64_t Activations::rows() const noexcept { return impl_->rows; }
int64_t Activations::cols() const noexcept { return impl_->cols; }

}  // namespace sluice
