#include "compress/recode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <mutex>
#include <optional>

#include "base/check.h"
#include "base/error.h"
#include "encoding/encode.h"
#include "encoding/reference.h"

namespace sluice {
namespace {

constexpr int64_t kBlockValues = int64_t{1} << 21;

// The first row that failed, whichever thread met it.
class FirstFailure {
 public:
  void note(int64_t row, const Error& error) {
    const std::lock_guard lock(mutex_);
    if (!row_ || row < *row_) row_ = row, error_ = error;
  }
  void rethrow_for(const PlannedTensor& tensor) const {
    if (row_) {
      throw_error(error_->kind(), "tensor '%s', row %lld: %s", printable(tensor.name).c_str(),
                  static_cast<long long>(*row_), error_->what());
    }
  }

 private:
  std::mutex mutex_;
  std::optional<int64_t> row_;
  std::optional<Error> error_;
};

}  // namespace

// Consecutive rows of the output as the source has them, and what becomes of them.
struct Recoder::RowBlock {
  WeightView source;
  std::array<std::vector<std::byte>, kMaxPlanes> in, out;
  std::vector<double> change, power;  // sums of squares of each row
};

Recoder::Recoder(const BoundModel& model, int n_threads) : model_(model), pool_(n_threads) {
  for (const std::string& path : model.files) files_.push_back(File::open(path));
}

// Source rows [begin, begin + n), which become rows from `at` of the block.
void Recoder::read_run(const PlannedTensor& tensor, int64_t begin, int64_t n, int64_t at,
                       RowBlock& block) const {
  // All blocks of rows but the last have one size.
  const int64_t rows_each = tensor.source.front().rows;
  while (n > 0) {
    const WeightRef& ref = tensor.source[static_cast<size_t>(begin / rows_each)];
    const int64_t skip = begin % rows_each, take = std::min(n, ref.rows - skip);
    SLUICE_CHECK(take > 0);
    for (size_t p = 0; p < plane_count(ref.encoding); ++p) {
      const Extent& extent = model_.units[ref.unit].extents[ref.first_extent + p];
      const uint64_t stride = block.source.stride[p];
      files_[extent.file]->read_at(
          extent.offset + static_cast<uint64_t>(skip) * stride,
          std::span(block.in[p])
              .subspan(static_cast<size_t>(at) * stride, static_cast<size_t>(take) * stride));
    }
    begin += take, at += take, n -= take;
  }
}

void Recoder::read_rows(const PlannedTensor& tensor, int64_t begin, int64_t n, RowBlock& block) const {
  if (tensor.order == RowOrder::kSame) return read_run(tensor, begin, n, 0, block);
  for (int64_t r = 0; r < n; ++r) read_run(tensor, tensor.source_row(begin + r), 1, r, block);
}

double Recoder::write(const PlannedTensor& tensor, const Sink& sink) {
  const auto cols = static_cast<size_t>(tensor.cols);
  const auto out_bytes = row_bytes(tensor.encoding, tensor.params, cols);
  if (tensor.rows == 0) {
    std::vector<std::byte> bytes(out_bytes[0]);
    encode_row(tensor.encoding, {}, tensor.values.data(), tensor.cols, bytes);
    sink(bytes);
    return 0;
  }

  const WeightRef& first = tensor.source.front();
  const bool copies = first.encoding == tensor.encoding && first.params == tensor.params;
  const int64_t block_rows = std::clamp<int64_t>(kBlockValues / tensor.cols, 1, tensor.n_rows());
  RowBlock block;
  block.source.encoding = first.encoding;
  block.source.params = first.params;
  block.source.rows = block_rows;
  block.source.cols = tensor.cols;
  block.source.stride = row_bytes(first.encoding, first.params, cols);
  for (size_t p = 0; p < kMaxPlanes; ++p) {
    block.in[p].resize(static_cast<size_t>(block_rows) * block.source.stride[p]);
    block.source.plane[p] = block.in[p].data();
    if (!copies) block.out[p].resize(static_cast<size_t>(block_rows) * out_bytes[p]);
  }
  block.change.resize(static_cast<size_t>(block_rows));
  block.power.resize(static_cast<size_t>(block_rows));
  WeightView result{.encoding = tensor.encoding,
                    .params = tensor.params,
                    .rows = block_rows,
                    .cols = tensor.cols,
                    .plane = {},
                    .stride = out_bytes};
  for (size_t p = 0; p < kMaxPlanes; ++p) result.plane[p] = block.out[p].data();
  std::vector<std::vector<float>> before(static_cast<size_t>(pool_.size()), std::vector<float>(cols)),
      after = before;

  std::array<std::vector<std::byte>, kMaxPlanes> later;  // planes 1 and 2, which follow all of plane 0
  double change = 0, power = 0;
  for (int64_t begin = 0; begin < tensor.n_rows(); begin += block_rows) {
    const int64_t n = std::min(block_rows, tensor.n_rows() - begin);
    read_rows(tensor, begin, n, block);
    if (!copies) {
      FirstFailure failure;
      pool_.run(n, [&](int64_t row, int worker) {
        float* const values = before[static_cast<size_t>(worker)].data();
        float* const rounded = after[static_cast<size_t>(worker)].data();
        const auto r = static_cast<size_t>(row);
        decode_row(block.source, row, values);
        std::array<std::span<std::byte>, kMaxPlanes> out;
        for (size_t p = 0; p < kMaxPlanes; ++p)
          out[p] = std::span(block.out[p]).subspan(r * out_bytes[p], out_bytes[p]);
        try {
          encode_row(tensor.encoding, tensor.params, values, tensor.cols, out[0], out[1], out[2]);
        } catch (const Error& error) {
          failure.note(begin + row, error);
          return;
        }
        decode_row(result, row, rounded);
        double row_change = 0, row_power = 0;
        for (size_t c = 0; c < cols; ++c) {
          const double value = values[c], moved = static_cast<double>(rounded[c]) - value;
          row_change += moved * moved;
          row_power += value * value;
        }
        block.change[r] = row_change;
        block.power[r] = row_power;
      });
      failure.rethrow_for(tensor);
      for (size_t r = 0; r < static_cast<size_t>(n); ++r) change += block.change[r], power += block.power[r];
    }
    for (size_t p = 0; p < plane_count(tensor.encoding); ++p) {
      const auto bytes = std::span<const std::byte>(copies ? block.in[p] : block.out[p])
                             .first(static_cast<size_t>(n) * out_bytes[p]);
      if (p == 0) {
        sink(bytes);
      } else {
        later[p].insert(later[p].end(), bytes.begin(), bytes.end());
      }
    }
  }
  for (size_t p = 1; p < plane_count(tensor.encoding); ++p) sink(later[p]);
  return power > 0 ? std::sqrt(change / power) : 0;
}

}  // namespace sluice
