// Python's str on UTF-8: code points, case, white space, splitting. Bytes that are not UTF-8 count as one
// code point each and pass through untouched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::jinja {

// The code point at `text[*at]`, moving `*at` beyond it. Precondition: *at < text.size().
int32_t next_code_point(std::string_view text, size_t* at);
void append_code_point(std::string& out, int32_t code_point);

size_t count_code_points(std::string_view text);
std::vector<std::string_view> split_code_points(std::string_view text);
bool is_ascii(std::string_view text);

bool is_space(int32_t code_point);  // str.isspace
bool is_upper(int32_t code_point);
bool is_lower(int32_t code_point);
bool is_alpha(int32_t code_point);
bool is_digit(int32_t code_point);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string capitalize(std::string_view text);    // first code point upper, the rest lower
std::string title_method(std::string_view text);  // str.title: a new word after anything not a letter
std::string title_filter(std::string_view text);  // |title: a new word after white space - ( { [ <

enum class Side { kLeft, kRight, kBoth };
// Without `chars` white space is stripped.
std::string_view strip(std::string_view text, std::optional<std::string_view> chars, Side side);

// At most `max_splits` cuts (negative: no limit), from the left or from the right.
std::vector<std::string_view> split_space(std::string_view text, int64_t max_splits, Side from);
std::vector<std::string_view> split_on(std::string_view text, std::string_view separator, int64_t max_splits,
                                       Side from);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);

// At most `count` replacements (negative: all). An empty `from` matches around every code point.
std::string replace(std::string_view text, std::string_view from, std::string_view to, int64_t count);

std::string string_repr(std::string_view text);  // 'quoted', escaped as repr does
std::string escape_html(std::string_view text);  // & < > ' " as markupsafe

}  // namespace sluice::jinja
