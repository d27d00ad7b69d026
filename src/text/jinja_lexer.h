// Template text to tokens, with jinja2's rules for white space around tags: trim_blocks (the newline after a
// block tag or comment goes), lstrip_blocks (blanks before one on its own line go) and the signs - and +.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace sluice::jinja {

struct Position {
  uint32_t line = 1;
  uint32_t column = 1;  // in bytes
};

struct Token {
  enum class Kind : uint8_t {
    kText,           // template text outside tags
    kVariableBegin,  // {{
    kVariableEnd,    // }}
    kBlockBegin,     // {%
    kBlockEnd,       // %}
    kName,
    kLiteral,   // string or number, in `value`
    kOperator,  // spelled in `text`
    kEnd,
  };
  Kind kind = Kind::kEnd;
  Position at;
  std::string text;
  Value value;
};

// Throws SyntaxError. The last token is kEnd.
std::vector<Token> tokenize(std::string_view source);

// A template that is not Jinja, or (unsupported) uses a part of it that needs more than one template.
struct SyntaxError {
  std::string message;
  Position at;
  bool unsupported = false;
};

}  // namespace sluice::jinja
