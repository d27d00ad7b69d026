// Tokens to a tree, by recursive descent in jinja2's grammar and precedence (which differ from Python's:
// ~ binds tighter than +, and filters bind to the unary operand).
#pragma once

#include <string_view>

#include "text/jinja_ast.h"

namespace sluice::jinja {

// Throws SyntaxError; nesting is bounded.
Template parse(std::string_view source);

}  // namespace sluice::jinja
