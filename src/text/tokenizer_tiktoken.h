// Telling a tiktoken rank file from a SentencePiece model, which may bear the same name. Inside the directory
// only.
#pragma once

#include <string_view>

namespace sluice {

// Whether the first line is "<base64> <number>".
bool looks_like_rank_file(std::string_view bytes);

}  // namespace sluice
