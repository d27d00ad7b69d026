#include "cli/edit_buffer.h"

#include <utf8proc.h>

#include <algorithm>

namespace sluice {
namespace {

// The code point at `at` and its length; a stray byte counts as one character.
utf8proc_int32_t code_point(std::string_view text, size_t at, size_t* length) {
  utf8proc_int32_t code = -1;
  const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + at),
                                  static_cast<utf8proc_ssize_t>(text.size() - at), &code);
  *length = n > 0 ? static_cast<size_t>(n) : 1;
  return n > 0 ? code : 0xFFFD;
}

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t'; }

// Of one character: its widest code point, since combining ones add nothing.
int character_width(std::string_view character) {
  int width = 0;
  size_t length = 0;
  for (size_t at = 0; at < character.size(); at += length) {
    const utf8proc_int32_t code = code_point(character, at, &length);
    width = std::max(width, code == '\t' ? 1 : utf8proc_charwidth(code));
  }
  return width;
}

}  // namespace

size_t next_character(std::string_view text, size_t at) {
  if (at >= text.size()) return text.size();
  size_t length = 0;
  utf8proc_int32_t state = 0;
  utf8proc_int32_t previous = code_point(text, at, &length);
  for (at += length; at < text.size(); at += length) {
    const utf8proc_int32_t code = code_point(text, at, &length);
    if (utf8proc_grapheme_break_stateful(previous, code, &state)) break;
    previous = code;
  }
  return at;
}

size_t previous_character(std::string_view text, size_t at) {
  // Clusters are only defined forwards: walk from the line break before, where one surely begins.
  size_t begin = 0;
  if (at > 1)
    if (const size_t line = text.rfind('\n', at - 2); line != std::string_view::npos) begin = line + 1;
  while (begin < at) {
    const size_t next = next_character(text, begin);
    if (next >= at) return begin;
    begin = next;
  }
  return 0;
}

int display_width(std::string_view text) {
  int width = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t next = next_character(text, at);
    width += character_width(text.substr(at, next - at));
    at = next;
  }
  return width;
}

ScreenLayout lay_out(std::string_view text, size_t cursor, std::string_view prompt,
                     std::string_view continuation, int width) {
  ScreenLayout layout;
  layout.rows.emplace_back(prompt);
  int column = display_width(prompt);
  const auto place_cursor = [&] {
    layout.cursor_row = layout.rows.size() - 1;
    layout.cursor_column = std::min(column, width - 1);
  };
  const auto wrap = [&] {
    layout.rows.emplace_back();
    column = 0;
  };
  for (size_t at = 0; at < text.size();) {
    const size_t next = next_character(text, at);
    if (text[at] == '\n') {
      if (at == cursor) place_cursor();
      layout.rows.emplace_back(continuation);
      column = display_width(continuation);
    } else {
      const std::string_view character = text.substr(at, next - at);
      const int n = character_width(character);
      if (column + n > width) wrap();  // a wide character does not split
      if (at == cursor) place_cursor();
      layout.rows.back() += character == "\t" ? " " : character;
      column += n;
    }
    at = next;
  }
  if (cursor >= text.size()) {
    if (column >= width) wrap();
    place_cursor();
  }
  return layout;
}

void EditBuffer::set(std::string text) {
  text_ = std::move(text);
  cursor_ = text_.size();
}

void EditBuffer::insert(std::string_view text) {
  std::string clean;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte >= 0x20 && byte != 0x7f) || c == '\n' || c == '\t') clean += c;
  }
  text_.insert(cursor_, clean);
  cursor_ += clean.size();
}

void EditBuffer::backspace() {
  const size_t begin = previous_character(text_, cursor_);
  text_.erase(begin, cursor_ - begin);
  cursor_ = begin;
}

void EditBuffer::erase() { text_.erase(cursor_, next_character(text_, cursor_) - cursor_); }

void EditBuffer::left() { cursor_ = previous_character(text_, cursor_); }
void EditBuffer::right() { cursor_ = next_character(text_, cursor_); }

void EditBuffer::word_left() {
  while (cursor_ > 0 && is_space(text_[cursor_ - 1])) --cursor_;
  while (cursor_ > 0 && !is_space(text_[cursor_ - 1])) --cursor_;
}

void EditBuffer::word_right() {
  while (cursor_ < text_.size() && is_space(text_[cursor_])) ++cursor_;
  while (cursor_ < text_.size() && !is_space(text_[cursor_])) ++cursor_;
}

void EditBuffer::home() {
  while (cursor_ > 0 && text_[cursor_ - 1] != '\n') --cursor_;
}

void EditBuffer::end() { cursor_ = std::min(text_.find('\n', cursor_), text_.size()); }

void EditBuffer::kill_to_end() {
  const size_t from = cursor_;
  end();
  text_.erase(from, cursor_ - from);
  cursor_ = from;
}

void EditBuffer::kill_to_start() {
  const size_t to = cursor_;
  home();
  text_.erase(cursor_, to - cursor_);
}

void EditBuffer::kill_word() {
  const size_t to = cursor_;
  word_left();
  text_.erase(cursor_, to - cursor_);
}

}  // namespace sluice
