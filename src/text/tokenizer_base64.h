// Base64 (RFC 4648), as rank files and precompiled_charsmap use it.
#pragma once

#include <string>
#include <string_view>

namespace sluice {

// Appends what `text` stands for; padding may be missing. False when a character does not belong.
bool append_base64(std::string_view text, std::string* bytes);

}  // namespace sluice
