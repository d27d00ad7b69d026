#include "cli/line_editor.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "cli/keys.h"
#include "tests/scratch.h"

namespace sluice {
namespace {

EditBuffer buffer_of(const std::string& text) {
  EditBuffer buffer;
  buffer.set(text);
  return buffer;
}

std::vector<Key> keys_of(const std::string& bytes) {
  size_t at = 0;
  const ByteSource next = [&](bool) {
    return at < bytes.size() ? static_cast<unsigned char>(bytes[at++]) : -1;
  };
  std::vector<Key> keys;
  while (at < bytes.size()) keys.push_back(read_key(next));
  return keys;
}

TEST(EditBuffer, MovesAndDeletesByCharactersThatPeopleSee) {
  EditBuffer buffer = buffer_of("ae\u0301\U0001F468\u200D\U0001F469\u200D\U0001F467z");  // a, é, family, z
  buffer.left();
  buffer.backspace();  // the whole family
  EXPECT_EQ(buffer.text(), "ae\u0301z");
  buffer.backspace();  // e with its accent
  EXPECT_EQ(buffer.text(), "az");
  EXPECT_EQ(buffer.cursor(), 1U);
  buffer.erase();
  EXPECT_EQ(buffer.text(), "a");
}

TEST(EditBuffer, KillsWordsAndLines) {
  EditBuffer buffer = buffer_of("one two  three");
  buffer.kill_word();
  EXPECT_EQ(buffer.text(), "one two  ");
  buffer.kill_word();
  EXPECT_EQ(buffer.text(), "one ");
  buffer.set("first\nsecond line");
  buffer.word_left();
  buffer.kill_to_start();
  EXPECT_EQ(buffer.text(), "first\nline");
  buffer.kill_to_end();
  EXPECT_EQ(buffer.text(), "first\n");
}

TEST(EditBuffer, LeavesControlCharactersOut) {
  EditBuffer buffer;
  buffer.insert("a\x1b\x07\tb\nc\x7f");
  EXPECT_EQ(buffer.text(), "a\tb\nc");
}

TEST(EditBuffer, AnyBytesAndMovesKeepTheCursorInside) {
  EXPECT_TRUE(rc::check([](const std::string& bytes, const std::vector<uint8_t>& moves) {
    EditBuffer buffer;
    buffer.insert(bytes);
    for (const uint8_t move : moves) {
      switch (move % 8) {
        case 0:
          buffer.left();
          break;
        case 1:
          buffer.right();
          break;
        case 2:
          buffer.backspace();
          break;
        case 3:
          buffer.erase();
          break;
        case 4:
          buffer.word_left();
          break;
        case 5:
          buffer.home();
          break;
        case 6:
          buffer.end();
          break;
        default:
          buffer.insert("\u00e9");
      }
      RC_ASSERT(buffer.cursor() <= buffer.text().size());
    }
  }));
}

TEST(Display, CountsColumns) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("日本"), 4);
  EXPECT_EQ(display_width("e\u0301"), 1);
}

TEST(Display, WrapsWhereATerminalDoes) {
  using Rows = std::vector<std::string>;
  const ScreenLayout edge = lay_out("12345678", 8, "> ", "", 10);
  EXPECT_EQ(edge.rows, (Rows{"> 12345678", ""}));
  EXPECT_EQ(edge.cursor_row, 1U);
  EXPECT_EQ(edge.cursor_column, 0);
  const ScreenLayout wide = lay_out("1234567日", 7, "> ", "", 10);  // one column is left: it does not fit
  EXPECT_EQ(wide.rows, (Rows{"> 1234567", "日"}));
  EXPECT_EQ(wide.cursor_row, 1U);
  EXPECT_EQ(wide.cursor_column, 0);
  const ScreenLayout lines = lay_out("a\tb\nbc", 6, ">>> ", "... ", 80);
  EXPECT_EQ(lines.rows, (Rows{">>> a b", "... bc"}));
  EXPECT_EQ(lines.cursor_row, 1U);
  EXPECT_EQ(lines.cursor_column, 6);
  const ScreenLayout full = lay_out("12345678\n", 8, "> ", "", 10);  // at the break, there is no next cell
  EXPECT_EQ(full.rows, (Rows{"> 12345678", ""}));
  EXPECT_EQ(full.cursor_row, 0U);
  EXPECT_EQ(full.cursor_column, 9);
}

TEST(Keys, ReadsCharactersSequencesAndPastes) {
  const std::vector<Key> keys =
      keys_of("aé日\x1b[A\x1b[3~\x1b[1;5D\x1bOH\x1b[200~x\ry\r\nz\x1b[201~\x7f\x17");
  ASSERT_EQ(keys.size(), 10U);
  EXPECT_EQ(keys[0].text, "a");
  EXPECT_EQ(keys[1].text, "é");
  EXPECT_EQ(keys[2].text, "日");
  EXPECT_EQ(keys[3].kind, KeyKind::kUp);
  EXPECT_EQ(keys[4].kind, KeyKind::kDelete);
  EXPECT_EQ(keys[5].kind, KeyKind::kWordLeft);
  EXPECT_EQ(keys[6].kind, KeyKind::kHome);
  EXPECT_EQ(keys[7].kind, KeyKind::kText);
  EXPECT_EQ(keys[7].text, "x\ny\nz");
  EXPECT_EQ(keys[8].kind, KeyKind::kBackspace);
  EXPECT_EQ(keys[9].kind, KeyKind::kKillWord);
}

TEST(Keys, AnyBytesEnd) {
  EXPECT_TRUE(rc::check([](const std::string& bytes) { keys_of(bytes); }));
}

TEST(History, SurvivesInItsFile) {
  const test::Scratch scratch;
  const std::string path = scratch / "deep/history";
  {
    History history(path);
    history.add("first");
    history.add("two\nlines \\n");
    history.add("two\nlines \\n");
    history.add("");
  }
  const History again(path);
  EXPECT_EQ(again.lines(), (std::vector<std::string>{"first", "two\nlines \\n"}));
}

}  // namespace
}  // namespace sluice
