// The bytes of a planned tensor: rows of the source are read in blocks, decoded, encoded and compared, on all
// threads. Memory is a block and, for affine, the scales and biases of one tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compress/plan.h"
#include "platform/file.h"
#include "platform/thread_pool.h"

namespace sluice {

class Recoder {
 public:
  Recoder(const BoundModel& model, int n_threads);

  using Sink = std::function<void(std::span<const std::byte>)>;

  // All planes of `tensor` one after another into `sink`. Rows that have the target's encoding already are
  // copied as they are. Returns the rms of the change relative to the rms of the values, the same for any
  // number of threads. Throws what files and sink throw, and Error(kInvalid) that names the tensor where
  // values are not finite or beyond the encoding's range.
  double write(const PlannedTensor& tensor, const Sink& sink);

 private:
  struct RowBlock;
  void read_rows(const PlannedTensor& tensor, int64_t begin, int64_t n, RowBlock& block) const;
  void read_run(const PlannedTensor& tensor, int64_t begin, int64_t n, int64_t at, RowBlock& block) const;

  const BoundModel& model_;
  std::vector<std::shared_ptr<const File>> files_;
  ThreadPool pool_;
};

}  // namespace sluice
