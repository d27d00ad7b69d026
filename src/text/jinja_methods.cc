// value.method(...): those of Python's str, list, tuple and dict. Methods that would change a list or dict
// are refused, as in jinja2's immutable sandbox; a few that no template has a use for are refused by name.
#include <algorithm>

#include "text/jinja_builtins.h"
#include "text/jinja_format.h"
#include "text/jinja_text.h"

namespace sluice::jinja {
namespace {

// A call in progress: `self` is the text, list or dict.
struct Call {
  Interpreter& interpreter;
  const Value& self;
  Args args;

  Parameters bind(std::string_view name, std::initializer_list<std::string_view> names) {
    return Parameters(name, std::move(args), names);
  }
  const std::string& text() const { return self.bytes(); }
};
using MethodFn = Value (*)(Call& call);

constexpr size_t kMaxParts = 1'000'000;

Value text_list(const std::vector<std::string_view>& parts) {
  if (parts.size() > kMaxParts) fail("a text splits into more than a million parts");
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) items.emplace_back(std::string(part));
  return Value::list(std::move(items));
}

const std::string& required_text(const Parameters& given, size_t i) {
  const Value& value = given.required(i);
  if (value.is_undefined()) fail(value.undefined_reason());
  if (!value.is_string()) fail("a string method needs str, not " + std::string(type_name(value)));
  return value.bytes();
}

// str.

template <std::string (*kConvert)(std::string_view)>
Value convert(Call& call) {
  call.bind("method", {});
  return kConvert(call.text());
}

template <Side kSide>
Value strip_method(Call& call) {
  const Parameters given = call.bind("strip", {"chars"});
  const bool by_chars = given.has(0) && !given.required(0).is_none();
  const std::string_view chars = by_chars ? std::string_view(required_text(given, 0)) : "";
  return std::string(strip(call.text(), by_chars ? std::optional(chars) : std::nullopt, kSide));
}

template <Side kFrom>
Value split_method(Call& call) {
  const Parameters given = call.bind("split", {"sep", "maxsplit"});
  const int64_t max_splits = given.integer(1, -1);
  if (!given.has(0) || given.required(0).is_none())
    return text_list(split_space(call.text(), max_splits, kFrom));
  const std::string& separator = required_text(given, 0);
  if (separator.empty()) fail("empty separator");
  return text_list(split_on(call.text(), separator, max_splits, kFrom));
}

Value splitlines(Call& call) {
  const Parameters given = call.bind("splitlines", {"keepends"});
  return text_list(split_lines(call.text(), given.flag(0, false)));
}

template <Side kFrom>
Value partition(Call& call) {
  const Parameters given = call.bind("partition", {"sep"});
  const std::string& separator = required_text(given, 0);
  if (separator.empty()) fail("empty separator");
  const std::string& text = call.text();
  const size_t at = kFrom == Side::kLeft ? text.find(separator) : text.rfind(separator);
  if (at == std::string::npos) {
    return kFrom == Side::kLeft ? Value::tuple({call.self, Value(""), Value("")})
                                : Value::tuple({Value(""), Value(""), call.self});
  }
  return Value::tuple({text.substr(0, at), separator, text.substr(at + separator.size())});
}

Value replace_method(Call& call) {
  if (!call.args.named.empty()) fail("str.replace() takes no keyword arguments");
  const Parameters given = call.bind("replace", {"old", "new", "count"});
  return replace(call.text(), required_text(given, 0), required_text(given, 1), given.integer(2, -1));
}

template <bool kAtEnd>
Value has_affix(Call& call) {
  const Parameters given = call.bind(kAtEnd ? "endswith" : "startswith", {"prefix"});
  const std::string_view text = call.text();
  const auto matches = [&](const Value& affix) {
    if (affix.is_undefined()) fail(affix.undefined_reason());
    if (!affix.is_string()) fail("startswith and endswith take a str or a tuple of str");
    return kAtEnd ? text.ends_with(affix.bytes()) : text.starts_with(affix.bytes());
  };
  const Sequence* several = given.required(0).sequence(Flavour::kTuple);
  if (!several) return matches(given.required(0));
  return std::any_of(several->items().begin(), several->items().end(), matches);
}

template <bool kAtEnd>
Value remove_affix(Call& call) {
  const Parameters given = call.bind("removeprefix", {"affix"});
  const std::string& affix = required_text(given, 0);
  const std::string_view text = call.text();
  if (!(kAtEnd ? text.ends_with(affix) : text.starts_with(affix))) return call.self;
  return std::string(kAtEnd ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size()));
}

// find, index and their r- forms; positions count code points.
template <Side kFrom, bool kMustFind>
Value find(Call& call) {
  const Parameters given = call.bind("find", {"sub"});
  const std::string_view text = call.text();
  const std::string& wanted = required_text(given, 0);
  const size_t at = kFrom == Side::kLeft ? text.find(wanted) : text.rfind(wanted);
  if (at != std::string::npos) return static_cast<int64_t>(count_code_points(text.substr(0, at)));
  if (kMustFind) fail("substring not found");
  return int64_t{-1};
}

Value count_text(Call& call) {
  const Parameters given = call.bind("count", {"sub"});
  const std::string& wanted = required_text(given, 0);
  if (wanted.empty()) return static_cast<int64_t>(count_code_points(call.text())) + 1;
  int64_t n_found = 0;
  for (size_t at = 0; (at = call.text().find(wanted, at)) != std::string::npos; at += wanted.size())
    ++n_found;
  return n_found;
}

Value join(Call& call) {
  const Parameters given = call.bind("join", {"iterable"});
  std::string text;
  bool first = true;
  for (const Value& item : call.interpreter.iterate(given.required(0))) {
    if (!item.is_string()) fail("join: expected str, found " + std::string(type_name(item)));
    if (!std::exchange(first, false)) append_bounded(text, call.text());
    append_bounded(text, item.bytes());
  }
  return text;
}

// kLeft puts the text on the left.
template <Side kSide>
Value justify(Call& call) {
  const Parameters given = call.bind("justify", {"width", "fillchar"});
  given.required(0);
  const int64_t width = given.integer(0, 0);
  const std::string fill = given.string(1, " ");
  const auto length = static_cast<int64_t>(count_code_points(call.text()));
  if (count_code_points(fill) != 1) fail("the fill character must be exactly one character long");
  if (width <= length) return call.self;
  const auto missing = static_cast<uint64_t>(width - length);
  check_text_size(missing);
  // Python puts the odd blank on the left only where the width is odd.
  const uint64_t before = kSide == Side::kLeft ? 0
                          : kSide == Side::kRight
                              ? missing
                              : missing / 2 + (missing & static_cast<uint64_t>(width) & 1);
  std::string text;
  for (uint64_t i = 0; i < before; ++i) append_bounded(text, fill);
  append_bounded(text, call.text());
  for (uint64_t i = before; i < missing; ++i) append_bounded(text, fill);
  return text;
}

Value zfill(Call& call) {
  const Parameters given = call.bind("zfill", {"width"});
  given.required(0);
  const std::string& text = call.text();
  const int64_t missing = given.integer(0, 0) - static_cast<int64_t>(count_code_points(text));
  if (missing <= 0) return call.self;
  check_text_size(static_cast<uint64_t>(missing));
  const size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+');
  return text.substr(0, sign) + std::string(static_cast<size_t>(missing), '0') + text.substr(sign);
}

Value format(Call& call) { return brace_format(call.interpreter, call.text(), call.args); }

// Some code points, all of which satisfy the predicate.
template <bool (*kPredicate)(int32_t)>
Value all_are(Call& call) {
  call.bind("method", {});
  const std::string& text = call.text();
  for (size_t at = 0; at < text.size();) {
    if (!kPredicate(next_code_point(text, &at))) return false;
  }
  return !text.empty();
}

bool is_alphanumeric(int32_t c) { return is_alpha(c) || is_digit(c); }

template <bool (*kOfCase)(int32_t), bool (*kOfOther)(int32_t)>
Value is_cased(Call& call) {
  call.bind("method", {});
  bool any = false;
  for (size_t at = 0; at < call.text().size();) {
    const int32_t c = next_code_point(call.text(), &at);
    if (kOfOther(c)) return false;
    any = any || kOfCase(c);
  }
  return any;
}

Value is_ascii_method(Call& call) {
  call.bind("isascii", {});
  return is_ascii(call.text());
}

// list and tuple.

Value count_items(Call& call) {
  const Parameters given = call.bind("count", {"value"});
  const auto& items = call.self.sequence()->items();
  call.interpreter.charge(call.self.weight());
  const Value& wanted = given.required(0);
  return int64_t{
      std::count_if(items.begin(), items.end(), [&](const Value& item) { return equal(item, wanted); })};
}

Value index_of(Call& call) {
  const Parameters given = call.bind("index", {"value"});
  const auto& items = call.self.sequence()->items();
  call.interpreter.charge(call.self.weight());
  for (size_t i = 0; i < items.size(); ++i) {
    if (equal(items[i], given.required(0))) return static_cast<int64_t>(i);
  }
  fail(repr(given.required(0)) + " is not in list");
}

Value copy(Call& call) {
  call.bind("copy", {});
  return call.self;  // values never change, so one is as good as two
}

// dict.

Value get(Call& call) {
  const Parameters given = call.bind("get", {"key", "default"});
  call.interpreter.charge(given.required(0).weight());
  const Value* found = call.self.dict()->find(given.required(0));
  return found ? *found : given.value(1, None{});
}

template <Flavour kFlavour>
Value view(Call& call) {
  call.bind("method", {});
  std::vector<Value> items;
  for (const auto& [key, value] : call.self.dict()->items()) {
    items.push_back(kFlavour == Flavour::kKeys     ? key
                    : kFlavour == Flavour::kValues ? value
                                                   : Value::tuple({key, value}));
  }
  return Value::sequence(kFlavour, std::move(items));
}

// A method of null exists in Python and is refused here.
using Methods = std::unordered_map<std::string_view, MethodFn>;

const Methods& text_methods() {
  static const Methods kMethods = {
      {"capitalize", convert<capitalize>},
      {"casefold", nullptr},
      {"center", justify<Side::kBoth>},
      {"count", count_text},
      {"encode", nullptr},
      {"endswith", has_affix<true>},
      {"expandtabs", nullptr},
      {"find", find<Side::kLeft, false>},
      {"format", format},
      {"format_map", nullptr},
      {"index", find<Side::kLeft, true>},
      {"isalnum", all_are<is_alphanumeric>},
      {"isalpha", all_are<is_alpha>},
      {"isascii", is_ascii_method},
      {"isdecimal", all_are<is_digit>},
      {"isdigit", all_are<is_digit>},
      {"isidentifier", nullptr},
      {"islower", is_cased<is_lower, is_upper>},
      {"isnumeric", all_are<is_digit>},
      {"isprintable", nullptr},
      {"isspace", all_are<is_space>},
      {"istitle", nullptr},
      {"isupper", is_cased<is_upper, is_lower>},
      {"join", join},
      {"ljust", justify<Side::kLeft>},
      {"lower", convert<to_lower>},
      {"lstrip", strip_method<Side::kLeft>},
      {"maketrans", nullptr},
      {"partition", partition<Side::kLeft>},
      {"removeprefix", remove_affix<false>},
      {"removesuffix", remove_affix<true>},
      {"replace", replace_method},
      {"rfind", find<Side::kRight, false>},
      {"rindex", find<Side::kRight, true>},
      {"rjust", justify<Side::kRight>},
      {"rpartition", partition<Side::kRight>},
      {"rsplit", split_method<Side::kRight>},
      {"rstrip", strip_method<Side::kRight>},
      {"split", split_method<Side::kLeft>},
      {"splitlines", splitlines},
      {"startswith", has_affix<false>},
      {"strip", strip_method<Side::kBoth>},
      {"swapcase", nullptr},
      {"title", convert<title_method>},
      {"translate", nullptr},
      {"upper", convert<to_upper>},
      {"zfill", zfill},
  };
  return kMethods;
}

const Methods& list_methods() {
  static const Methods kMethods = {{"copy", copy}, {"count", count_items}, {"index", index_of}};
  return kMethods;
}

const Methods& tuple_methods() {
  static const Methods kMethods = {{"count", count_items}, {"index", index_of}};
  return kMethods;
}

const Methods& dict_methods() {
  static const Methods kMethods = {
      {"copy", copy},
      {"fromkeys", nullptr},
      {"get", get},
      {"items", view<Flavour::kItems>},
      {"keys", view<Flavour::kKeys>},
      {"values", view<Flavour::kValues>},
  };
  return kMethods;
}

// Null for values without methods.
const Methods* methods_of(const Value& value) {
  if (value.is_string()) return &text_methods();
  if (value.dict()) return &dict_methods();
  if (value.sequence(Flavour::kList)) return &list_methods();
  return value.sequence(Flavour::kTuple) ? &tuple_methods() : nullptr;
}

template <size_t kCount>
bool is_one_of(const std::string_view (&names)[kCount], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool is_mutating(const Value& object, std::string_view name) {
  constexpr std::string_view kOfList[] = {"append", "clear",  "extend",  "insert",
                                          "pop",    "remove", "reverse", "sort"};
  constexpr std::string_view kOfDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  if (object.dict()) return is_one_of(kOfDict, name);
  return object.sequence(Flavour::kList) && is_one_of(kOfList, name);
}

}  // namespace

Method find_method(const Value& object, std::string_view name) {
  const Methods* methods = methods_of(object);
  if (!methods) return Method::kNone;
  if (methods->find(name) != methods->end()) return Method::kAllowed;
  return is_mutating(object, name) ? Method::kMutating : Method::kNone;
}

Value call_method(Interpreter& interpreter, const Value& object, std::string_view name, Args args) {
  const MethodFn method = methods_of(object)->at(name);
  if (!method)
    throw Failure{"method '" + std::string(name) + "' is not supported", Failure::Kind::kUnsupported};
  if (object.is_string()) interpreter.charge(object.weight());
  Call call{interpreter, object, std::move(args)};
  return method(call);
}

}  // namespace sluice::jinja
