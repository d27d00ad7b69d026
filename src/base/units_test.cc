#include "base/units.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sluice {
namespace {

TEST(Units, ParsesWhatPeopleWrite) {
  EXPECT_EQ(parse_bytes("6G", "--ram"), 6ull << 30);
  EXPECT_EQ(parse_bytes("1.5GiB", "--ram"), 3ull << 29);
  EXPECT_EQ(parse_bytes("512mb", "--ram"), 512ull << 20);
  EXPECT_EQ(parse_bytes("100000", "--ram"), 100000u);
  EXPECT_EQ(parse_bytes("64k", "--ram"), 65536u);
  EXPECT_EQ(parse_bytes("17B", "--ram"), 17u);
  EXPECT_EQ(parse_bytes_or_percent("40%", 1000, "--weights"), 400u);
  EXPECT_EQ(parse_bytes_or_percent("1K", 1000, "--weights"), 1024u);
}

TEST(Units, RefusesNonsenseByName) {
  for (const char* text : {"", "G", "-1", "6X", "1e5", "6 G", "0x10", "nan", "inf", "9999999T", "6GiBs"}) {
    try {
      parse_bytes(text, "--ram");
      ADD_FAILURE() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kInvalid);
      EXPECT_NE(std::string(e.what()).find("--ram"), std::string::npos) << e.what();
    }
  }
  EXPECT_THROW(parse_bytes_or_percent("0%", 1000, "x"), Error);
  EXPECT_THROW(parse_bytes_or_percent("101%", 1000, "x"), Error);
}

TEST(Units, FormatsThreeDigits) {
  EXPECT_EQ(format_bytes(17), "17 B");
  EXPECT_EQ(format_bytes(1536ull << 20), "1.50 GiB");
  EXPECT_EQ(format_bytes(812ull << 20), "812 MiB");
  EXPECT_EQ(format_seconds(80.4), "1 min 20 s");
}

TEST(Printable, EscapesControlAndInvalidBytes) {
  EXPECT_EQ(printable("a\x1b[31m\xff"), "a\\x1b[31m\\xff");
  EXPECT_EQ(printable("größe"), "größe");
  EXPECT_EQ(printable(std::string(200, 'x'), 5), "xxxxx...");
}

}  // namespace
}  // namespace sluice
