// Builds a MergeTable from pairs as files write them. Inside the directory only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/bpe.h"
#include "text/tokenizer_vocabulary.h"

namespace sluice {

class MergeBuilder {
 public:
  // `byte_level`: pairs are written in the byte-level alphabet. `vocabulary` outlives this.
  MergeBuilder(const Vocabulary& vocabulary, bool byte_level, size_t n_merges);

  // The next merge, best first. False when a part or the result is no token: the merge can never apply.
  bool add(std::string_view left, std::string_view right);
  // The same for "left right"; the blank is looked for from the second byte on.
  bool add(std::string_view pair);

  MergeTable take() { return std::move(merges_); }

 private:
  const Vocabulary& vocabulary_;
  bool byte_level_;
  uint32_t rank_ = 0;
  std::string joined_;
  MergeTable merges_;
};

}  // namespace sluice
