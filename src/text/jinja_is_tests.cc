// value is test.
#include <algorithm>

#include "text/jinja_builtins.h"
#include "text/jinja_operators.h"
#include "text/jinja_text.h"

namespace sluice::jinja {
namespace {

const Value& only_argument(const Args& args) {
  if (args.positional.size() != 1 || !args.named.empty()) fail("the test takes one argument");
  return args.positional[0];
}

// Tests without arguments.
template <bool (*kPredicate)(const Value&)>
bool check(Interpreter&, const Value& value, Args args) {
  if (!args.positional.empty() || !args.named.empty()) fail("the test takes no argument");
  return kPredicate(value);
}

enum class Order { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };

template <Order kOrder>
bool check_order(Interpreter& interpreter, const Value& value, Args args) {
  const Value& other = only_argument(args);
  interpreter.charge(std::min(value.compare_weight(), other.compare_weight()));
  switch (kOrder) {
    case Order::kEqual:
      return equal(value, other);
    case Order::kNotEqual:
      return !equal(value, other);
    case Order::kLess:
      return less(value, other);
    case Order::kLessEqual:
      return !less(other, value);
    case Order::kGreater:
      return less(other, value);
    case Order::kGreaterEqual:
      return !less(value, other);
  }
  return false;
}

bool is_defined(const Value& value) { return !value.is_undefined(); }
bool is_undefined(const Value& value) { return value.is_undefined(); }
bool is_none(const Value& value) { return value.is_none(); }
bool is_boolean(const Value& value) { return value.is_bool(); }
bool is_true(const Value& value) { return value.is_bool() && value.as_int() != 0; }
bool is_false(const Value& value) { return value.is_bool() && value.as_int() == 0; }
bool is_integer(const Value& value) { return value.is_int(); }
bool is_float(const Value& value) { return value.is_float(); }
bool is_number(const Value& value) { return value.is_number(); }
bool is_string(const Value& value) { return value.is_string(); }
bool is_mapping(const Value& value) { return value.dict() != nullptr; }
bool is_callable(const Value& value) { return value.object() && value.object()->callable(); }
bool is_escaped(const Value& value) { return value.is_safe(); }
bool is_iterable(const Value& value) {
  return value.is_string() || value.sequence() || value.dict() || value.is_undefined();
}

// What has a length and indices.
bool is_sequence(const Value& value) {
  const Sequence* sequence = value.sequence();
  if (!sequence) return value.is_string() || value.dict() || value.is_undefined();
  return sequence->flavour() <= Flavour::kRange;
}

// Some letters, and all of them of that case.
bool all_cased(const Value& value, bool (*of_case)(int32_t), bool (*of_other)(int32_t)) {
  const std::string text = str(value);
  bool any = false;
  for (size_t at = 0; at < text.size();) {
    const int32_t c = next_code_point(text, &at);
    if (of_other(c)) return false;
    any = any || of_case(c);
  }
  return any;
}

bool check_lower(Interpreter& interpreter, const Value& value, Args) {
  interpreter.charge(value.weight());
  return all_cased(value, is_lower, is_upper);
}
bool check_upper(Interpreter& interpreter, const Value& value, Args) {
  interpreter.charge(value.weight());
  return all_cased(value, is_upper, is_lower);
}

bool remainder_is(const Value& value, const Value& divisor, int64_t wanted) {
  return equal(binary(BinaryOp::kModulo, value, divisor), Value(wanted));
}
bool is_even(const Value& value) { return remainder_is(value, Value(int64_t{2}), 0); }
bool is_odd(const Value& value) { return remainder_is(value, Value(int64_t{2}), 1); }
bool check_divisible(Interpreter&, const Value& value, Args args) {
  return remainder_is(value, only_argument(args), 0);
}

bool check_in(Interpreter& interpreter, const Value& value, Args args) {
  interpreter.charge(value.weight() + only_argument(args).weight());
  return contains(only_argument(args), value);
}

// Python's `is`: the same constant, or the same object.
bool check_same(Interpreter&, const Value& value, Args args) {
  const Value& other = only_argument(args);
  if (value.sequence() || other.sequence()) return value.sequence() == other.sequence();
  if (value.dict() || other.dict()) return value.dict() == other.dict();
  return type_name(value) == type_name(other) && equal(value, other);
}

bool check_filter(Interpreter&, const Value& value, Args) {
  return value.is_string() && find_filter(value.bytes());
}
bool check_test(Interpreter&, const Value& value, Args) {
  return value.is_string() && find_test(value.bytes());
}

const std::unordered_map<std::string_view, Test>& tests() {
  static const std::unordered_map<std::string_view, Test> kTests = {
      {"!=", check_order<Order::kNotEqual>},
      {"<", check_order<Order::kLess>},
      {"<=", check_order<Order::kLessEqual>},
      {"==", check_order<Order::kEqual>},
      {">", check_order<Order::kGreater>},
      {">=", check_order<Order::kGreaterEqual>},
      {"boolean", check<is_boolean>},
      {"callable", check<is_callable>},
      {"defined", check<is_defined>},
      {"divisibleby", check_divisible},
      {"eq", check_order<Order::kEqual>},
      {"equalto", check_order<Order::kEqual>},
      {"escaped", check<is_escaped>},
      {"even", check<is_even>},
      {"false", check<is_false>},
      {"filter", check_filter},
      {"float", check<is_float>},
      {"ge", check_order<Order::kGreaterEqual>},
      {"greaterthan", check_order<Order::kGreater>},
      {"gt", check_order<Order::kGreater>},
      {"in", check_in},
      {"integer", check<is_integer>},
      {"iterable", check<is_iterable>},
      {"le", check_order<Order::kLessEqual>},
      {"lessthan", check_order<Order::kLess>},
      {"lower", check_lower},
      {"lt", check_order<Order::kLess>},
      {"mapping", check<is_mapping>},
      {"ne", check_order<Order::kNotEqual>},
      {"none", check<is_none>},
      {"number", check<is_number>},
      {"odd", check<is_odd>},
      {"sameas", check_same},
      {"sequence", check<is_sequence>},
      {"string", check<is_string>},
      {"test", check_test},
      {"true", check<is_true>},
      {"undefined", check<is_undefined>},
      {"upper", check_upper},
  };
  return kTests;
}

}  // namespace

Test find_test(std::string_view name) {
  const auto at = tests().find(name);
  return at == tests().end() ? nullptr : at->second;
}

}  // namespace sluice::jinja
