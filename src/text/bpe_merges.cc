#include "text/bpe_merges.h"

#include "text/tokenizer_bytes.h"

namespace sluice {

MergeBuilder::MergeBuilder(const Vocabulary& vocabulary, bool byte_level, size_t n_merges)
    : vocabulary_(vocabulary), byte_level_(byte_level) {
  merges_.reserve(n_merges);
}

bool MergeBuilder::add(std::string_view left, std::string_view right) {
  const auto append = [&](std::string_view written) {
    if (byte_level_) {
      append_bytes_of_written(written, &joined_);
    } else {
      joined_ += written;
    }
  };
  const uint32_t rank = rank_++;
  joined_.clear();
  append(left);
  const size_t middle = joined_.size();
  append(right);
  const std::string_view joined = joined_;
  if (middle == 0 || middle == joined.size()) return false;
  const int32_t left_id = vocabulary_.find_normal(joined.substr(0, middle));
  const int32_t right_id = vocabulary_.find_normal(joined.substr(middle));
  const int32_t id = vocabulary_.find_normal(joined);
  if (left_id < 0 || right_id < 0 || id < 0) return false;
  merges_.add(left_id, right_id, {rank, id});
  return true;
}

bool MergeBuilder::add(std::string_view pair) {
  const size_t blank = pair.find(' ', 1);
  if (blank == pair.npos) return add(pair, {});
  return add(pair.substr(0, blank), pair.substr(blank + 1));
}

}  // namespace sluice
