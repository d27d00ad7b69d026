// value | filter. Filters that Python evaluates lazily are evaluated at once here, and give a generator: it
// has no length, cannot be indexed, and gives its items once.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <optional>

#include "text/jinja_builtins.h"
#include "text/jinja_format.h"
#include "text/jinja_operators.h"
#include "text/jinja_text.h"

namespace sluice::jinja {
namespace {

Value generator(std::vector<Value> items) { return Value::sequence(Flavour::kGenerator, std::move(items)); }

// The text of a value for filters that work on text.
std::string text_of(Interpreter& interpreter, const Value& value) {
  interpreter.charge(value.weight());
  return str(value);
}

Value fold_case(const Value& value) { return value.is_string() ? Value(to_lower(value.bytes())) : value; }

// Text to text, without arguments.
template <std::string (*kConvert)(std::string_view)>
Value convert_text(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("filter", std::move(args), {});
  return kConvert(text_of(interpreter, value));
}

Value filter_abs(Interpreter&, const Value& value, Args) {
  if (value.is_integral()) return value.as_int() < 0 ? negate(value) : Value(value.as_int());
  if (value.is_float()) return std::fabs(value.as_double());
  fail("abs: not a number");
}

Value filter_attr(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("attr", std::move(args), {"name"});
  if (value.is_undefined()) fail(value.undefined_reason());
  const std::string name = str(given.required(0));
  const bool has = value.object() || find_method(value, name) != Method::kNone;
  return has ? interpreter.attribute(value, name) : Value::undefined("no attribute '" + name + "'");
}

Value filter_batch(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("batch", std::move(args), {"linecount", "fill_with"});
  given.required(0);
  const int64_t size = given.integer(0, 0);
  if (size < 1 || size > 100'000) fail("batch: the size must be between 1 and 100000");
  std::vector<Value> batches, batch;
  for (Value& item : interpreter.iterate(value)) {
    if (static_cast<int64_t>(batch.size()) == size) batches.push_back(Value::list(std::exchange(batch, {})));
    batch.push_back(std::move(item));
  }
  const Value fill = given.value(1, None{});
  while (!batch.empty() && !fill.is_none() && static_cast<int64_t>(batch.size()) < size)
    batch.push_back(fill);
  if (!batch.empty()) batches.push_back(Value::list(std::move(batch)));
  return generator(std::move(batches));
}

Value filter_slice(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("slice", std::move(args), {"slices", "fill_with"});
  given.required(0);
  const int64_t wanted = given.integer(0, 0);
  if (wanted < 1 || wanted > 100'000) fail("slice: the count must be between 1 and 100000");
  const auto n_slices = static_cast<size_t>(wanted);
  const std::vector<Value> items = interpreter.iterate(value);
  interpreter.charge(n_slices);
  const size_t n_longer = items.size() % n_slices;
  const Value fill = given.value(1, None{});
  std::vector<Value> slices;
  for (size_t i = 0, at = 0; i < n_slices; ++i) {
    std::vector<Value> part;
    const size_t end = at + items.size() / n_slices + (i < n_longer);
    while (at < end) part.push_back(items[at++]);
    if (!fill.is_none() && i >= n_longer && n_longer > 0) part.push_back(fill);
    slices.push_back(Value::list(std::move(part)));
  }
  return generator(std::move(slices));
}

Value filter_center(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("center", std::move(args), {"width"});
  Args width;
  width.positional.push_back(Value(given.integer(0, 80)));
  return call_method(interpreter, text_of(interpreter, value), "center", std::move(width));
}

Value filter_default(Interpreter&, const Value& value, Args args) {
  const Parameters given("default", std::move(args), {"default_value", "boolean"});
  const bool missing = value.is_undefined() || (given.flag(1, false) && !value.truthy());
  return missing ? given.value(0, Value("")) : value;
}

// Sorting. Keys are compared as Python compares lists of them: equal parts are skipped, so that what has no
// order may still be sorted where it is equal.
struct Keyed {
  std::vector<Value> key;
  Value item;
};

bool key_less(const Keyed& a, const Keyed& b) {
  const auto [left, right] = std::mismatch(a.key.begin(), a.key.end(), b.key.begin(), b.key.end(), equal);
  return left != a.key.end() && less(*left, *right);
}

std::vector<Value> sort_keyed(Interpreter& interpreter, std::vector<Keyed> keyed, bool reverse) {
  uint64_t rounds = 1;
  while (keyed.size() >> rounds) ++rounds;
  for (const Keyed& entry : keyed) {
    for (const Value& part : entry.key) interpreter.charge(part.compare_weight() * rounds);
  }
  std::stable_sort(keyed.begin(), keyed.end(), [reverse](const Keyed& a, const Keyed& b) {
    return reverse ? key_less(b, a) : key_less(a, b);
  });
  std::vector<Value> items;
  for (Keyed& entry : keyed) items.push_back(std::move(entry.item));
  return items;
}

Value filter_dictsort(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("dictsort", std::move(args), {"case_sensitive", "by", "reverse"});
  if (!value.dict()) fail("dictsort: not a mapping");
  const std::string by = given.string(1, "key");
  if (by != "key" && by != "value") fail("dictsort: you can only sort by either \"key\" or \"value\"");
  std::vector<Keyed> keyed;
  for (const auto& [key, item] : value.dict()->items()) {
    const Value& part = by == "key" ? key : item;
    keyed.push_back({{given.flag(0, false) ? part : fold_case(part)}, Value::tuple({key, item})});
  }
  return Value::list(sort_keyed(interpreter, std::move(keyed), given.flag(2, false)));
}

Value filter_sort(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("sort", std::move(args), {"reverse", "case_sensitive", "attribute"});
  const bool fold = !given.flag(1, false);
  std::vector<Value> paths;
  const Value attribute = given.value(2, None{});
  if (attribute.is_string()) {
    for (const auto path : split_on(attribute.bytes(), ",", -1, Side::kLeft))
      paths.emplace_back(std::string(path));
  } else if (!attribute.is_none()) {
    paths.push_back(attribute);
  }
  std::vector<Keyed> keyed;
  for (Value& item : interpreter.iterate(value)) {
    Keyed entry;
    for (const Value& path : paths) entry.key.push_back(attribute_path(interpreter, item, path));
    if (paths.empty()) entry.key.push_back(item);
    if (fold) std::transform(entry.key.begin(), entry.key.end(), entry.key.begin(), fold_case);
    entry.item = std::move(item);
    keyed.push_back(std::move(entry));
  }
  return Value::list(sort_keyed(interpreter, std::move(keyed), given.flag(0, false)));
}

Value least(Interpreter& interpreter, const Value& value, Args args, bool greatest) {
  const Parameters given(greatest ? "max" : "min", std::move(args), {"case_sensitive", "attribute"});
  const auto key = [&](const Value& item) {
    Value part =
        given.value(1, None{}).is_none() ? item : attribute_path(interpreter, item, given.required(1));
    return given.flag(0, false) ? part : fold_case(part);
  };
  Value best = Value::undefined("no aggregated item, sequence was empty");
  std::optional<Value> best_key;
  for (const Value& item : interpreter.iterate(value)) {
    Value item_key = key(item);
    interpreter.charge(item_key.compare_weight());
    if (best_key && !(greatest ? less(*best_key, item_key) : less(item_key, *best_key))) continue;
    best = item;
    best_key = std::move(item_key);
  }
  return best;
}

Value filter_min(Interpreter& i, const Value& value, Args args) {
  return least(i, value, std::move(args), false);
}
Value filter_max(Interpreter& i, const Value& value, Args args) {
  return least(i, value, std::move(args), true);
}

Value filter_unique(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("unique", std::move(args), {"case_sensitive", "attribute"});
  Dict seen;
  std::vector<Value> items;
  for (Value& item : interpreter.iterate(value)) {
    Value key =
        given.value(1, None{}).is_none() ? item : attribute_path(interpreter, item, given.required(1));
    if (!given.flag(0, false)) key = fold_case(key);
    interpreter.charge(key.weight());
    if (seen.find(key)) continue;
    seen.set(std::move(key), None{});
    items.push_back(std::move(item));
  }
  return generator(std::move(items));
}

// Elements.

Value filter_first(Interpreter& interpreter, const Value& value, Args) {
  std::vector<Value> items = interpreter.iterate(value);
  return items.empty() ? Value::undefined("no first item, sequence was empty") : std::move(items.front());
}

Value filter_last(Interpreter& interpreter, const Value& value, Args) {
  if (value.sequence(Flavour::kGenerator)) fail("last: a generator cannot be reversed");
  std::vector<Value> items = interpreter.iterate(value);
  return items.empty() ? Value::undefined("no last item, sequence was empty") : std::move(items.back());
}

Value filter_length(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("length", std::move(args), {});
  if (value.is_string()) {
    interpreter.charge(value.weight());
    return static_cast<int64_t>(count_code_points(value.bytes()));
  }
  if (value.dict()) return static_cast<int64_t>(value.dict()->size());
  if (value.is_undefined()) return int64_t{0};
  if (!value.sequence() || value.sequence(Flavour::kGenerator)) {
    fail("object of type '" + std::string(type_name(value)) + "' has no len()");
  }
  return static_cast<int64_t>(value.sequence()->size());
}

Value filter_list(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("list", std::move(args), {});
  return Value::list(interpreter.iterate(value));
}

Value filter_items(Interpreter&, const Value& value, Args args) {
  const Parameters given("items", std::move(args), {});
  if (!value.dict() && !value.is_undefined()) fail("Can only get item pairs from a mapping.");
  std::vector<Value> items;
  if (value.dict()) {
    for (const auto& [key, item] : value.dict()->items()) items.push_back(Value::tuple({key, item}));
  }
  return generator(std::move(items));
}

Value filter_reverse(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("reverse", std::move(args), {});
  if (value.is_string()) return slice(value, None{}, None{}, Value(int64_t{-1}));
  const bool as_list = value.sequence(Flavour::kGenerator) != nullptr;
  std::vector<Value> items = interpreter.iterate(value);
  std::reverse(items.begin(), items.end());
  return as_list ? Value::list(std::move(items)) : generator(std::move(items));
}

Value filter_join(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("join", std::move(args), {"d", "attribute"});
  const std::string separator = str(given.value(0, Value("")));
  const Value attribute = given.value(1, None{});
  std::string text;
  bool first = true;
  for (const Value& item : interpreter.iterate(value)) {
    if (!std::exchange(first, false)) append_bounded(text, separator);
    const Value part = attribute.is_none() ? item : attribute_path(interpreter, item, attribute);
    append_bounded(text, text_of(interpreter, part));
  }
  return text;
}

Value filter_sum(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("sum", std::move(args), {"attribute", "start"});
  Value total = given.value(1, Value(int64_t{0}));
  const Value attribute = given.value(0, None{});
  if (total.is_string()) fail("sum: strings are joined with join");
  for (const Value& item : interpreter.iterate(value)) {
    total = binary(BinaryOp::kAdd, total,
                   attribute.is_none() ? item : attribute_path(interpreter, item, attribute));
    if (total.sequence()) interpreter.charge(total.sequence()->size());
  }
  return total;
}

// map, select and their kin, which take what is false (none, 0) for empty.

std::vector<Value> iterate_if_true(Interpreter& interpreter, const Value& value) {
  return value.truthy() ? interpreter.iterate(value) : std::vector<Value>();
}

std::string take_name(Args& args, const char* filter) {
  if (args.positional.empty()) fail(std::string(filter) + ": an argument is missing");
  const std::string name = str(args.positional.front());
  args.positional.erase(args.positional.begin());
  return name;
}

Value filter_map(Interpreter& interpreter, const Value& value, Args args) {
  std::vector<Value> items = iterate_if_true(interpreter, value);
  if (args.positional.empty()) {
    const Parameters given("map", std::move(args), {"attribute", "default"});
    const Value fallback = given.value(1, None{});
    for (Value& item : items) item = attribute_path(interpreter, item, given.required(0), fallback);
  } else {
    const std::string name = take_name(args, "map");
    for (Value& item : items) item = interpreter.apply_filter(name, item, args);
  }
  return generator(std::move(items));
}

Value choose(Interpreter& interpreter, const Value& value, Args args, bool by_attribute, bool wanted) {
  Value path = None{};
  if (by_attribute) {
    if (args.positional.empty()) fail("missing parameter for attribute name");
    path = args.positional.front();
    args.positional.erase(args.positional.begin());
  }
  const std::optional<std::string> test =
      args.positional.empty() ? std::nullopt : std::optional(take_name(args, "select"));
  std::vector<Value> chosen;
  for (Value& item : iterate_if_true(interpreter, value)) {
    const Value tested = by_attribute ? attribute_path(interpreter, item, path) : item;
    const bool passes = test ? interpreter.apply_test(*test, tested, args) : tested.truthy();
    if (passes == wanted) chosen.push_back(std::move(item));
  }
  return generator(std::move(chosen));
}

template <bool kByAttribute, bool kWanted>
Value filter_choose(Interpreter& interpreter, const Value& value, Args args) {
  return choose(interpreter, value, std::move(args), kByAttribute, kWanted);
}

// Numbers.

std::optional<int64_t> parse_int(std::string_view text, int64_t base) {
  text = strip(text, std::nullopt, Side::kBoth);
  std::string digits = replace(text, "_", "", -1);
  char* end = nullptr;
  if (digits.empty() || base < 2 || base > 36) return std::nullopt;
  if (base == 2 || base == 8) {  // "0b101", "0o17"; strtoll knows "0x" itself
    const size_t at = digits[0] == '-' || digits[0] == '+';
    const std::string prefix = to_lower(digits.substr(at, 2));
    if (prefix == (base == 2 ? "0b" : "0o")) digits.erase(at, 2);
  }
  errno = 0;
  const int64_t value = std::strtoll(digits.c_str(), &end, static_cast<int>(base));
  if (*end != '\0' || end != digits.data() + digits.size()) return std::nullopt;
  if (errno == ERANGE) fail("integer overflow: numbers have 64 bits here");
  return value;
}

std::optional<double> parse_float(std::string_view text) {
  text = strip(text, std::nullopt, Side::kBoth);
  if (text.empty() || text.find_first_of("xX(") != std::string_view::npos) return std::nullopt;
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (end != copy.data() + copy.size()) return std::nullopt;
  return value;
}

Value filter_int(Interpreter&, const Value& value, Args args) {
  const Parameters given("int", std::move(args), {"default", "base"});
  if (value.is_undefined()) fail(value.undefined_reason());
  if (value.is_integral()) return value.as_int();
  std::optional<double> number;
  if (value.is_float()) number = value.as_double();
  if (value.is_string()) {
    if (const auto whole = parse_int(value.bytes(), given.integer(1, 10))) return *whole;
    number = parse_float(value.bytes());
  }
  if (!number || std::isnan(*number)) return given.value(0, Value(int64_t{0}));
  if (std::fabs(*number) >= 9.2e18) fail("integer overflow: numbers have 64 bits here");
  return static_cast<int64_t>(*number);
}

Value filter_float(Interpreter&, const Value& value, Args args) {
  const Parameters given("float", std::move(args), {"default"});
  if (value.is_undefined()) fail(value.undefined_reason());
  if (value.is_number()) return value.as_double();
  if (const auto number = value.is_string() ? parse_float(value.bytes()) : std::nullopt) return *number;
  return given.value(0, Value(0.0));
}

Value filter_round(Interpreter&, const Value& value, Args args) {
  const Parameters given("round", std::move(args), {"precision", "method"});
  const std::string method = given.string(1, "common");
  const int64_t precision = given.integer(0, 0);
  if (!value.is_number()) fail("round: not a number");
  if (std::abs(precision) > 300) fail("round: the precision is out of range");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return std::ceil(value.as_double() * scale) / scale;
  if (method == "floor") return std::floor(value.as_double() * scale) / scale;
  if (method != "common") fail("round: method must be common, ceil or floor");
  if (value.is_integral() && precision >= 0) return value.as_int();
  if (precision < 0) {
    const double rounded = std::nearbyint(value.as_double() * scale) / scale;
    return value.is_integral() ? Value(static_cast<int64_t>(rounded)) : Value(rounded);
  }
  // Decimal rounding of the exact binary value, half to even, is what printf does too.
  return *parse_float(percent_format("%." + std::to_string(precision) + "f", value));
}

// Text.

Value filter_escape(Interpreter& interpreter, const Value& value, Args) {
  if (value.is_safe()) return value;
  return Value::safe_text(escape_html(text_of(interpreter, value)));
}

Value filter_forceescape(Interpreter& interpreter, const Value& value, Args) {
  return Value::safe_text(escape_html(text_of(interpreter, value)));
}

Value filter_safe(Interpreter& interpreter, const Value& value, Args) {
  return Value::safe_text(text_of(interpreter, value));
}

Value filter_string(Interpreter& interpreter, const Value& value, Args) {
  return value.is_string() ? value : Value(text_of(interpreter, value));
}

Value filter_format(Interpreter& interpreter, const Value& value, Args args) {
  const std::string format = text_of(interpreter, value);
  for (const Value& argument : args.positional) interpreter.charge(argument.weight());
  if (args.named.empty()) return percent_format(format, Value::tuple(std::move(args.positional)));
  if (!args.positional.empty()) fail("format: positional and named arguments cannot be mixed");
  Dict named;
  for (auto& [name, argument] : args.named) named.set(Value(name), std::move(argument));
  interpreter.charge(named.weight());
  return percent_format(format, Value(std::move(named)));
}

Value filter_indent(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("indent", std::move(args), {"width", "first", "blank"});
  if (!value.is_string()) fail("indent: not a string");
  interpreter.charge(value.weight());
  const Value width = given.value(0, Value(int64_t{4}));
  const int64_t n_blanks = width.is_string() ? 0 : std::max<int64_t>(given.integer(0, 4), 0);
  check_text_size(static_cast<uint64_t>(n_blanks));
  const std::string indent =
      width.is_string() ? width.bytes() : std::string(static_cast<size_t>(n_blanks), ' ');
  const std::string text = value.bytes() + "\n";
  std::string out;
  bool first = true;
  for (const std::string_view line : split_lines(text, false)) {
    if (!first) append_bounded(out, "\n");
    const bool indented = first ? given.flag(1, false) : !line.empty() || given.flag(2, false);
    if (indented) append_bounded(out, indent);
    append_bounded(out, line);
    first = false;
  }
  return out;
}

Value filter_replace(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("replace", std::move(args), {"old", "new", "count"});
  return replace(text_of(interpreter, value), str(given.required(0)), str(given.required(1)),
                 given.integer(2, -1));
}

Value filter_tojson(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("tojson", std::move(args), {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = given.flag(0, false);
  style.sort_keys = given.flag(3, false);
  const Value indent = given.value(1, None{});
  if (!indent.is_none()) {
    style.indented = true;
    style.item_separator = ",";
    const int64_t n_blanks = indent.is_string() ? 0 : given.integer(1, 0);
    if (n_blanks > 1000) fail("tojson: the indent is too large");
    style.indent = indent.is_string() ? indent.bytes()
                                      : std::string(static_cast<size_t>(std::max<int64_t>(n_blanks, 0)), ' ');
  }
  const Value separators = given.value(2, None{});
  if (!separators.is_none()) {
    const std::vector<Value> pair = interpreter.iterate(separators);
    if (pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
      fail("tojson: separators must be two strings");
    style.item_separator = pair[0].bytes();
    style.key_separator = pair[1].bytes();
  }
  interpreter.charge(value.weight());
  return to_json(value, style);
}

Value filter_trim(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("trim", std::move(args), {"chars"});
  const std::string text = text_of(interpreter, value);
  const std::string chars = given.string(0, "");
  const bool by_chars = given.has(0) && !given.required(0).is_none();
  return std::string(
      strip(text, by_chars ? std::optional<std::string_view>(chars) : std::nullopt, Side::kBoth));
}

Value filter_truncate(Interpreter& interpreter, const Value& value, Args args) {
  const Parameters given("truncate", std::move(args), {"length", "killwords", "end", "leeway"});
  const std::string text = text_of(interpreter, value);
  const std::string end = given.string(2, "...");
  const int64_t length = given.integer(0, 255);
  const auto n_end = static_cast<int64_t>(count_code_points(end));
  if (length < n_end || length > int64_t{1} << 40) fail("truncate: the length is out of range");
  const auto points = split_code_points(text);
  const int64_t leeway = std::clamp<int64_t>(given.integer(3, 5), 0, int64_t{1} << 40);
  if (static_cast<int64_t>(points.size()) <= length + leeway) return text;
  std::string kept;
  for (int64_t i = 0; i < length - n_end; ++i) kept += points[static_cast<size_t>(i)];
  if (!given.flag(1, false)) kept = kept.substr(0, kept.rfind(' '));
  return kept + end;
}

Value filter_urlencode(Interpreter& interpreter, const Value& value, Args) {
  constexpr std::string_view kKept = "_.-~/";
  std::string out;
  for (const char c : text_of(interpreter, value)) {
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alphanumeric || kKept.find(c) != std::string_view::npos) {
      out += c;
    } else {
      constexpr char kHex[] = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

Value filter_wordcount(Interpreter& interpreter, const Value& value, Args) {
  const std::string text = text_of(interpreter, value);
  int64_t n_words = 0;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const int32_t c = next_code_point(text, &at);
    const bool part = is_alpha(c) || is_digit(c) || c == '_';
    n_words += part && !in_word;
    in_word = part;
  }
  return n_words;
}

const std::unordered_map<std::string_view, Filter>& filters() {
  static const std::unordered_map<std::string_view, Filter> kFilters = {
      {"abs", filter_abs},
      {"attr", filter_attr},
      {"batch", filter_batch},
      {"capitalize", convert_text<capitalize>},
      {"center", filter_center},
      {"count", filter_length},
      {"d", filter_default},
      {"default", filter_default},
      {"dictsort", filter_dictsort},
      {"e", filter_escape},
      {"escape", filter_escape},
      {"first", filter_first},
      {"float", filter_float},
      {"forceescape", filter_forceescape},
      {"format", filter_format},
      {"indent", filter_indent},
      {"int", filter_int},
      {"items", filter_items},
      {"join", filter_join},
      {"last", filter_last},
      {"length", filter_length},
      {"list", filter_list},
      {"lower", convert_text<to_lower>},
      {"map", filter_map},
      {"max", filter_max},
      {"min", filter_min},
      {"reject", filter_choose<false, false>},
      {"rejectattr", filter_choose<true, false>},
      {"replace", filter_replace},
      {"reverse", filter_reverse},
      {"round", filter_round},
      {"safe", filter_safe},
      {"select", filter_choose<false, true>},
      {"selectattr", filter_choose<true, true>},
      {"slice", filter_slice},
      {"sort", filter_sort},
      {"string", filter_string},
      {"sum", filter_sum},
      {"title", convert_text<title_filter>},
      {"tojson", filter_tojson},
      {"trim", filter_trim},
      {"truncate", filter_truncate},
      {"unique", filter_unique},
      {"upper", convert_text<to_upper>},
      {"urlencode", filter_urlencode},
      {"wordcount", filter_wordcount},
  };
  return kFilters;
}

}  // namespace

Filter find_filter(std::string_view name) {
  const auto at = filters().find(name);
  return at == filters().end() ? nullptr : at->second;
}

}  // namespace sluice::jinja
