#include "text/jinja_operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/jinja_format.h"
#include "text/jinja_text.h"

namespace sluice::jinja {
namespace {

[[noreturn]] void fail_overflow() { fail("integer overflow: numbers have 64 bits here"); }

constexpr std::string_view kSymbols[] = {"+", "-", "*", "/", "//", "%", "**"};

[[noreturn]] void fail_operands(BinaryOp op, const Value& left, const Value& right) {
  if (left.is_undefined()) fail(left.undefined_reason());
  if (right.is_undefined()) fail(right.undefined_reason());
  fail("unsupported operand type(s) for " + std::string(kSymbols[static_cast<int>(op)]) + ": '" +
       std::string(type_name(left)) + "' and '" + std::string(type_name(right)) + "'");
}

int64_t floor_modulo(int64_t a, int64_t b) {
  if (b == 0) fail("division by zero");
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

// Towards minus infinity, as Python divides; the remainder has the sign of the divisor.
int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) fail("division by zero");
  if (b == -1) {
    int64_t negated = 0;
    if (__builtin_sub_overflow(int64_t{0}, a, &negated)) fail_overflow();
    return negated;
  }
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

double floor_modulo(double a, double b) {
  if (b == 0) fail("division by zero");
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

int64_t int_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (;;) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) fail_overflow();
    exponent >>= 1;
    if (exponent == 0) return result;
    if (__builtin_mul_overflow(base, base, &base)) fail_overflow();
  }
}

Value int_binary(BinaryOp op, int64_t a, int64_t b) {
  int64_t out = 0;
  switch (op) {
    case BinaryOp::kAdd:
      if (__builtin_add_overflow(a, b, &out)) fail_overflow();
      return out;
    case BinaryOp::kSubtract:
      if (__builtin_sub_overflow(a, b, &out)) fail_overflow();
      return out;
    case BinaryOp::kMultiply:
      if (__builtin_mul_overflow(a, b, &out)) fail_overflow();
      return out;
    case BinaryOp::kDivide:
      if (b == 0) fail("division by zero");
      return static_cast<double>(a) / static_cast<double>(b);
    case BinaryOp::kFloorDivide:
      return floor_divide(a, b);
    case BinaryOp::kModulo:
      return floor_modulo(a, b);
    case BinaryOp::kPower:
      if (b < 0 && a == 0) fail("0 cannot be raised to a negative power");
      if (b < 0) return std::pow(static_cast<double>(a), static_cast<double>(b));
      if (a == 0 || a == 1) return b == 0 ? int64_t{1} : a;
      if (a == -1) return b % 2 == 0 ? int64_t{1} : int64_t{-1};
      return int_power(a, b);
  }
  return {};
}

Value float_binary(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd:
      return a + b;
    case BinaryOp::kSubtract:
      return a - b;
    case BinaryOp::kMultiply:
      return a * b;
    case BinaryOp::kDivide:
      if (b == 0) fail("division by zero");
      return a / b;
    case BinaryOp::kFloorDivide:
      if (b == 0) fail("division by zero");
      return std::floor(a / b);
    case BinaryOp::kModulo:
      return floor_modulo(a, b);
    case BinaryOp::kPower:
      if (a == 0 && b < 0) fail("0 cannot be raised to a negative power");
      if (a < 0 && b != std::trunc(b)) fail("complex numbers are not supported");
      return std::pow(a, b);
  }
  return {};
}

// Text that was marked safe stays so, by escaping what is joined to it.
Value add_texts(const Value& left, const Value& right) {
  check_text_size(left.bytes().size() + right.bytes().size());
  if (left.is_safe() == right.is_safe()) {
    std::string text = left.bytes() + right.bytes();
    return left.is_safe() ? Value::safe_text(std::move(text)) : Value(std::move(text));
  }
  return Value::safe_text(left.is_safe() ? left.bytes() + escape_html(right.bytes())
                                         : escape_html(left.bytes()) + right.bytes());
}

bool is_plain_sequence(const Value& value) {
  return value.sequence(Flavour::kList) || value.sequence(Flavour::kTuple);
}

Value add_sequences(const Value& left, const Value& right) {
  std::vector<Value> items = left.sequence()->items();
  const auto& more = right.sequence()->items();
  items.insert(items.end(), more.begin(), more.end());
  return Value::sequence(left.sequence()->flavour(), std::move(items));
}

// A text or list, `count` times.
Value repeat(const Value& value, int64_t count) {
  const auto times = static_cast<uint64_t>(std::max<int64_t>(count, 0));
  const uint64_t size = value.is_string() ? value.bytes().size() : value.sequence()->size() * sizeof(Value);
  uint64_t total = 0;
  check_text_size(__builtin_mul_overflow(size, times, &total) ? kMaxTextBytes + 1 : total);
  if (size == 0 || times == 0)
    return value.is_string() ? Value("") : Value::sequence(value.sequence()->flavour(), {});
  if (value.is_string()) {
    std::string text;
    for (uint64_t i = 0; i < times; ++i) text += value.bytes();
    return text;
  }
  std::vector<Value> items;
  for (uint64_t i = 0; i < times; ++i) {
    items.insert(items.end(), value.sequence()->items().begin(), value.sequence()->items().end());
  }
  return Value::sequence(value.sequence()->flavour(), std::move(items));
}

bool can_repeat(const Value& value) { return value.is_string() || is_plain_sequence(value); }

// Python's indices of start:stop:step over `size` items.
std::vector<size_t> slice_indices(int64_t size, const Value& start, const Value& stop, const Value& step) {
  const auto bound = [&](const Value& value, int64_t fallback) {
    if (value.is_none()) return fallback;
    if (value.is_undefined()) fail(value.undefined_reason());
    if (!value.is_integral()) fail("slice indices must be integers or None");
    return value.as_int();
  };
  const int64_t by = bound(step, 1);
  if (by == 0) fail("slice step cannot be zero");
  const int64_t lowest = by > 0 ? 0 : -1;
  const int64_t highest = by > 0 ? size : size - 1;
  const auto clamp = [&](int64_t index) {
    return std::clamp(index < 0 ? index + size : index, lowest, highest);
  };
  const int64_t first = start.is_none() ? (by > 0 ? lowest : highest) : clamp(bound(start, 0));
  const int64_t last = stop.is_none() ? (by > 0 ? highest : lowest) : clamp(bound(stop, 0));
  std::vector<size_t> indices;
  for (int64_t i = first; by > 0 ? i < last : i > last;) {
    indices.push_back(static_cast<size_t>(i));
    if (__builtin_add_overflow(i, by, &i)) break;
  }
  return indices;
}

// The element at a Python index, which counts from the end where negative; false if there is none.
template <class Items>
bool find_element(const Items& items, const Value& key, size_t* at) {
  if (!key.is_integral()) return false;
  const auto size = static_cast<int64_t>(items.size());
  const int64_t index = key.as_int() < 0 ? key.as_int() + size : key.as_int();
  *at = static_cast<size_t>(index);
  return index >= 0 && index < size;
}

}  // namespace

Value negate(const Value& value) {
  if (value.is_integral()) return int_binary(BinaryOp::kSubtract, 0, value.as_int());
  if (value.is_float()) return -value.as_double();
  if (value.is_undefined()) fail(value.undefined_reason());
  fail("bad operand type for unary -: '" + std::string(type_name(value)) + "'");
}

Value positive(const Value& value) {
  if (value.is_integral()) return value.as_int();
  if (value.is_float()) return value;
  if (value.is_undefined()) fail(value.undefined_reason());
  fail("bad operand type for unary +: '" + std::string(type_name(value)) + "'");
}

Value binary(BinaryOp op, const Value& left, const Value& right) {
  if (left.is_integral() && right.is_integral()) return int_binary(op, left.as_int(), right.as_int());
  if (left.is_number() && right.is_number()) return float_binary(op, left.as_double(), right.as_double());
  if (op == BinaryOp::kModulo && left.is_string()) return percent_format(left.bytes(), right);
  if (op == BinaryOp::kMultiply && can_repeat(left) && right.is_integral())
    return repeat(left, right.as_int());
  if (op == BinaryOp::kMultiply && left.is_integral() && can_repeat(right))
    return repeat(right, left.as_int());
  if (op != BinaryOp::kAdd) fail_operands(op, left, right);
  if (left.is_string() && right.is_string()) return add_texts(left, right);
  if (!is_plain_sequence(left) || !right.sequence(left.sequence()->flavour())) fail_operands(op, left, right);
  return add_sequences(left, right);
}

bool contains(const Value& haystack, const Value& needle) {
  if (haystack.is_string()) {
    if (!needle.is_string())
      fail("'in <string>' requires string as left operand, not " + std::string(type_name(needle)));
    return haystack.bytes().find(needle.bytes()) != std::string::npos;
  }
  if (haystack.dict()) return haystack.dict()->find(needle) != nullptr;
  if (haystack.is_undefined()) return false;
  if (!haystack.sequence())
    fail("argument of type '" + std::string(type_name(haystack)) + "' is not iterable");
  const auto& items = haystack.sequence()->items();
  return haystack.sequence()->start() &&
         std::any_of(items.begin(), items.end(), [&](const Value& item) { return equal(item, needle); });
}

Value slice(const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (object.is_string()) {
    const auto points = split_code_points(object.bytes());
    std::string text;
    for (const size_t i : slice_indices(static_cast<int64_t>(points.size()), start, stop, step))
      text += points[i];
    return object.is_safe() ? Value::safe_text(std::move(text)) : Value(std::move(text));
  }
  if (object.is_undefined()) fail(object.undefined_reason());
  if (!is_plain_sequence(object) && !object.sequence(Flavour::kRange)) {
    fail("'" + std::string(type_name(object)) + "' object cannot be sliced");
  }
  const auto& items = object.sequence()->items();
  std::vector<Value> taken;
  for (const size_t i : slice_indices(static_cast<int64_t>(items.size()), start, stop, step))
    taken.push_back(items[i]);
  return Value::sequence(object.sequence()->flavour(), std::move(taken));
}

Value subscript(const Value& object, const Value& key, bool* found) {
  size_t at = 0;
  *found = true;
  if (const Dict* dict = object.dict()) {
    const bool hashable = !key.dict() && !key.sequence(Flavour::kList);
    if (const Value* value = hashable ? dict->find(key) : nullptr) return *value;
  } else if (is_plain_sequence(object) || object.sequence(Flavour::kRange)) {
    if (find_element(object.sequence()->items(), key, &at)) return object.sequence()->items()[at];
  } else if (object.is_string() && key.is_integral()) {
    const auto points = split_code_points(object.bytes());
    if (find_element(points, key, &at)) return std::string(points[at]);
  }
  *found = false;
  return {};
}

std::string describe(const Value& value) {
  return value.is_none() ? "None" : std::string(type_name(value)) + " object";
}

}  // namespace sluice::jinja
