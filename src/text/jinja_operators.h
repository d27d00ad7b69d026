// Python's operators on template values.
#pragma once

#include <string>

#include "text/jinja_ast.h"
#include "text/jinja_value.h"

namespace sluice::jinja {

Value negate(const Value& value);
Value positive(const Value& value);
Value binary(BinaryOp op, const Value& left, const Value& right);

// `needle in haystack`. A generator is spent by it.
bool contains(const Value& haystack, const Value& needle);

// object[start:stop:step]; bounds that are none are left out.
Value slice(const Value& object, const Value& start, const Value& stop, const Value& step);

// sequence[key] and dict[key] where that is there; otherwise undefined with `*found` false.
Value subscript(const Value& object, const Value& key, bool* found);

// "str object", "None": how messages name a value.
std::string describe(const Value& value);

}  // namespace sluice::jinja
