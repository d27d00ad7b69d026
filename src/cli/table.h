// Columns for people.
#pragma once

#include <string>
#include <vector>

namespace sluice {

using TableRow = std::vector<std::string>;

// The first column to the left, the others to the right; a row may be shorter than others.
std::string aligned_table(const std::vector<TableRow>& rows);

}  // namespace sluice
