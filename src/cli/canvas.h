// A screenful of characters in ink, and how it becomes lines for a terminal. Knows nothing of what is drawn.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

// What a character means; the terminal's colours are chosen in canvas.cc.
enum class Ink : uint8_t {
  kPlain,
  kFrame,
  kTitle,
  kStrong,
  kDim,
  kCompute,
  kWait,
  kRead,
  kHit,
  kMemory,
  kHeat0,  // used by the last pass
  kHeat1,
  kHeat2,
  kHeat3,
  kHeat4,  // in memory, long unused
  kMissed,
  kAbsent,
};

class Canvas {
 public:
  Canvas(int rows, int columns);

  int rows() const noexcept { return rows_; }
  int columns() const noexcept { return columns_; }

  // Writes text without line breaks; what would be beyond `end` (or the right edge) is left out, as are
  // control characters. Returns the column after it.
  int put(int row, int column, std::string_view text, Ink ink = Ink::kPlain, int end = INT32_MAX);
  // The same, ending before column `end`.
  void put_right(int row, int end, std::string_view text, Ink ink = Ink::kPlain);
  void repeat(int row, int column, int n, std::string_view glyph, Ink ink);

  // One line a row, without spaces at its end; without escape sequences unless there is colour.
  std::vector<std::string> lines(bool colour) const;

 private:
  struct Cell {
    std::string glyph = " ";  // empty: covered by the wide character before it
    Ink ink = Ink::kPlain;
  };
  int rows_, columns_;
  std::vector<Cell> cells_;  // [rows, columns]
};

}  // namespace sluice
