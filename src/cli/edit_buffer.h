// A line being edited: UTF-8 text and a cursor that moves by what people see as one character. Knows nothing
// of terminals but how wide characters are.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

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

// A text with a cursor in it as a terminal of some width shows it.
struct ScreenLayout {
  std::vector<std::string> rows;  // none wider than the terminal
  size_t cursor_row = 0;
  int cursor_column = 0;
};

// `prompt` stands before the text and `continuation` after each of its line breaks; tabs become spaces. A
// cursor after a full last row has a row of its own.
ScreenLayout lay_out(std::string_view text, size_t cursor, std::string_view prompt,
                     std::string_view continuation, int width);

}  // namespace sluice
