#include "cli/canvas.h"

#include <algorithm>

#include "cli/edit_buffer.h"

namespace sluice {
namespace {

// Of the 256 colours that terminals share.
const char* colour_of(Ink ink) {
  switch (ink) {
    case Ink::kPlain:
      return "\x1b[0m";
    case Ink::kFrame:
      return "\x1b[0;38;5;240m";
    case Ink::kTitle:
      return "\x1b[0;38;5;110m";
    case Ink::kStrong:
      return "\x1b[0;1m";
    case Ink::kDim:
      return "\x1b[0;38;5;245m";
    case Ink::kCompute:
      return "\x1b[0;38;5;78m";
    case Ink::kWait:
      return "\x1b[0;38;5;203m";
    case Ink::kRead:
      return "\x1b[0;38;5;75m";
    case Ink::kHit:
      return "\x1b[0;38;5;150m";
    case Ink::kMemory:
      return "\x1b[0;38;5;67m";
    case Ink::kHeat0:
      return "\x1b[0;38;5;229m";
    case Ink::kHeat1:
      return "\x1b[0;38;5;220m";
    case Ink::kHeat2:
      return "\x1b[0;38;5;208m";
    case Ink::kHeat3:
      return "\x1b[0;38;5;131m";
    case Ink::kHeat4:
      return "\x1b[0;38;5;60m";
    case Ink::kMissed:
      return "\x1b[0;38;5;207m";
    case Ink::kAbsent:
      return "\x1b[0;38;5;238m";
  }
  return "";
}

}  // namespace

Canvas::Canvas(int rows, int columns)
    : rows_(rows), columns_(columns), cells_(static_cast<size_t>(rows) * static_cast<size_t>(columns)) {}

int Canvas::put(int row, int column, std::string_view text, Ink ink, int end) {
  end = std::min(end, columns_);
  if (row < 0 || row >= rows_ || column < 0) return column;
  for (size_t at = 0, next = 0; at < text.size(); at = next) {
    next = next_character(text, at);
    const std::string_view character = text.substr(at, next - at);
    const auto first = static_cast<unsigned char>(character[0]);
    if (first < 0x20 || first == 0x7f) continue;
    const int width = first < 0x80 && character.size() == 1 ? 1 : display_width(character);
    if (width <= 0) continue;
    if (column + width > end) return column;
    Cell* const cell =
        &cells_[static_cast<size_t>(row) * static_cast<size_t>(columns_) + static_cast<size_t>(column)];
    cell[0] = {std::string(character), ink};
    for (int i = 1; i < width; ++i) cell[i] = {"", ink};
    column += width;
  }
  return column;
}

void Canvas::put_right(int row, int end, std::string_view text, Ink ink) {
  put(row, end - display_width(text), text, ink, end);
}

void Canvas::repeat(int row, int column, int n, std::string_view glyph, Ink ink) {
  for (int i = 0; i < n; ++i) put(row, column + i, glyph, ink);
}

std::vector<std::string> Canvas::lines(bool colour) const {
  std::vector<std::string> lines;
  for (int row = 0; row < rows_; ++row) {
    const Cell* const cells = &cells_[static_cast<size_t>(row) * static_cast<size_t>(columns_)];
    int end = columns_;
    while (end > 0 && cells[end - 1].glyph == " ") --end;
    std::string line;
    Ink ink = Ink::kPlain;
    for (int i = 0; i < end; ++i) {
      if (colour && cells[i].ink != ink && cells[i].glyph != " ") line += colour_of(ink = cells[i].ink);
      line += cells[i].glyph;
    }
    if (ink != Ink::kPlain) line += colour_of(Ink::kPlain);
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace sluice
