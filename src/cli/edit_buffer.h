// A line being edited: UTF-8 text and a cursor that moves by what people see as one character. Knows nothing
// of terminals but how wide characters are.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice {

class EditBuffer {
 public:
  const std::string& text() const noexcept { return text_; }
  size_t cursor() const noexcept { return cursor_; }  // in bytes, between characters

  void set(std::string text);          // cursor at the end
  void insert(std::string_view text);  // control characters but line breaks and tabs are left out
  void backspace();
  void erase();  // the character under the cursor
  void left();
  void right();
  void word_left();
  void word_right();
  void home();  // of the line of the text that the cursor is in
  void end();
  void kill_to_end();
  void kill_to_start();
  void kill_word();

 private:
  std::string text_;
  size_t cursor_ = 0;
};

// The end of the character (grapheme cluster) that begins at `at`, and the beginning of the one that ends
// there.
size_t next_character(std::string_view text, size_t at);
size_t previous_character(std::string_view text, size_t at);

// Columns that a text without line breaks takes.
int display_width(std::string_view text);

// Where a terminal of `width` columns puts the cursor after `text`, printed from `column` on; a line break
// goes to `indent`.
struct ScreenPosition {
  int row = 0;
  int column = 0;
};
ScreenPosition position_after(std::string_view text, int column, int indent, int width);

}  // namespace sluice
