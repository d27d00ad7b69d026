#include "text/jinja_builtins.h"

#include <algorithm>

#include "text/jinja_format.h"

namespace sluice::jinja {
namespace {

constexpr size_t kMaxRange = 100'000;  // as in jinja2's sandbox

Value range(Interpreter&, Args args) {
  if (args.positional.empty() || args.positional.size() > 3 || !args.named.empty())
    fail("range takes 1 to 3 numbers");
  int64_t numbers[3] = {0, 0, 1};
  for (size_t i = 0; i < args.positional.size(); ++i) {
    if (args.positional[i].is_undefined()) fail(args.positional[i].undefined_reason());
    if (!args.positional[i].is_integral()) fail("range takes integers");
    numbers[i] = args.positional[i].as_int();
  }
  if (args.positional.size() == 1) std::swap(numbers[0], numbers[1]);
  const auto [start, stop, step] = numbers;
  if (step == 0) fail("range: the step must not be zero");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (items.size() == kMaxRange) fail("range: more than 100000 items");
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::sequence(Flavour::kRange, std::move(items));
}

// dict(mapping or pairs, name=value, ...)
Value make_dict(Interpreter& interpreter, Args args) {
  Dict dict;
  if (args.positional.size() > 1) fail("dict takes at most 1 positional argument");
  if (!args.positional.empty() && args.positional[0].dict()) {
    dict = *args.positional[0].dict();
  } else if (!args.positional.empty()) {
    for (const Value& pair : interpreter.iterate(args.positional[0])) {
      std::vector<Value> items = interpreter.iterate(pair);
      if (items.size() != 2) fail("dict takes pairs");
      interpreter.charge(items[0].weight());
      dict.set(std::move(items[0]), std::move(items[1]));
    }
  }
  for (auto& [name, value] : args.named) dict.set(Value(name), std::move(value));
  return Value(std::move(dict));
}

Value make_namespace(Interpreter& interpreter, Args args) {
  const Value items = make_dict(interpreter, std::move(args));
  auto* space = interpreter.make<Namespace>();
  for (const auto& [key, value] : items.dict()->items()) {
    if (key.is_string()) space->set(key.bytes(), value);
  }
  return space;
}

Value raise_exception(Interpreter&, Args args) {
  const Parameters given("raise_exception", std::move(args), {"message"});
  throw Failure{str(given.required(0)), Failure::Kind::kTemplate};
}

Value strftime_now(Interpreter& interpreter, Args args) {
  const Parameters given("strftime_now", std::move(args), {"format"});
  return format_time(given.string(0, ""), interpreter.options().now.value_or(local_now()));
}

}  // namespace

Parameters::Parameters(std::string_view function, Args args, std::initializer_list<std::string_view> names)
    : function_(function), names_(names), values_(names.size()), given_(names.size()) {
  const std::string prefix = std::string(function) + ": ";
  if (args.positional.size() > names.size()) fail(prefix + "too many arguments");
  for (size_t i = 0; i < args.positional.size(); ++i) {
    values_[i] = std::move(args.positional[i]);
    given_[i] = true;
  }
  for (auto& [name, value] : args.named) {
    const auto at = static_cast<size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
    if (at == names_.size()) fail(prefix + "unexpected argument '" + name + "'");
    if (given_[at]) fail(prefix + "two values for argument '" + name + "'");
    values_[at] = std::move(value);
    given_[at] = true;
  }
}

const Value& Parameters::required(size_t i) const {
  if (!given_[i]) fail(std::string(function_) + ": argument '" + std::string(names_[i]) + "' is missing");
  return values_[i];
}

int64_t Parameters::integer(size_t i, int64_t fallback) const {
  if (!given_[i] || values_[i].is_none()) return fallback;
  if (values_[i].is_integral()) return values_[i].as_int();
  fail(std::string(function_) + ": argument '" + std::string(names_[i]) + "' must be an integer");
}

std::string Parameters::string(size_t i, std::string fallback) const {
  if (!given_[i] || values_[i].is_none()) return fallback;
  if (values_[i].is_string()) return values_[i].bytes();
  fail(std::string(function_) + ": argument '" + std::string(names_[i]) + "' must be a string");
}

const std::unordered_map<std::string, Function>& functions() {
  static const std::unordered_map<std::string, Function> kFunctions = {
      {"range", range},
      {"dict", make_dict},
      {"namespace", make_namespace},
      {"raise_exception", raise_exception},
      {"strftime_now", strftime_now},
  };
  return kFunctions;
}

Value attribute_path(Interpreter& interpreter, const Value& object, const Value& path,
                     const Value& fallback) {
  const auto item_or_fallback = [&](const Value& value, const Value& key) {
    Value found = interpreter.item(value, key);
    return found.is_undefined() && !fallback.is_none() ? fallback : found;
  };
  if (!path.is_string()) return item_or_fallback(object, path);
  Value value = object;
  std::string_view rest = path.bytes();
  for (;;) {
    const size_t dot = std::min(rest.find('.'), rest.size());
    const std::string part(rest.substr(0, dot));
    const bool is_index =
        !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
    value = item_or_fallback(value, is_index ? Value(int64_t{std::stoi(part)}) : Value(part));
    if (dot == rest.size()) return value;
    rest.remove_prefix(dot + 1);
  }
}

Value Namespace::attribute(std::string_view name) {
  const auto at = items_.find(std::string(name));
  return at == items_.end() ? Value() : at->second;
}

}  // namespace sluice::jinja
