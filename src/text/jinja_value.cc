#include "text/jinja_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "text/jinja_text.h"

namespace sluice::jinja {
namespace {

constexpr uint32_t kMaxDepth = 200;
constexpr uint64_t kMaxWeight = 8'000'000;

void check_bounds(uint32_t depth, uint64_t weight) {
  if (depth > kMaxDepth) fail("value nested more than 200 deep");
  if (weight > kMaxWeight) fail("value too large");
}

constexpr std::string_view kFlavourNames[] = {"list",        "tuple",      "range",    "dict_keys",
                                              "dict_values", "dict_items", "generator"};

std::string joined_repr(const std::vector<Value>& items) {
  std::string out;
  for (const Value& item : items) {
    if (!out.empty()) out += ", ";
    out += repr(item);
  }
  return out;
}

std::string range_repr(const std::vector<Value>& items) {
  const int64_t start = items.empty() ? 0 : items.front().as_int();
  const int64_t step = items.size() < 2 ? 1 : items[1].as_int() - start;
  const int64_t stop = items.empty() ? 0 : items.back().as_int() + (step > 0 ? 1 : -1);
  std::string out = "range(" + std::to_string(start) + ", " + std::to_string(stop);
  if (step != 1) out += ", " + std::to_string(step);
  return out + ")";
}

std::string sequence_repr(const Sequence& sequence) {
  const std::string inner = sequence.flavour() == Flavour::kRange ? "" : joined_repr(sequence.items());
  switch (sequence.flavour()) {
    case Flavour::kList:
      return "[" + inner + "]";
    case Flavour::kTuple:
      return "(" + inner + (sequence.size() == 1 ? ",)" : ")");
    case Flavour::kRange:
      return range_repr(sequence.items());
    case Flavour::kGenerator:
      return "<generator object>";
    default:
      return std::string(kFlavourNames[static_cast<int>(sequence.flavour())]) + "([" + inner + "])";
  }
}

std::string dict_repr(const Dict& dict) {
  std::string out = "{";
  for (const auto& [key, value] : dict.items()) {
    if (out.size() > 1) out += ", ";
    out += repr(key) + ": " + repr(value);
  }
  return out + "}";
}

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), equal);
}

bool equal_dicts(const Dict& a, const Dict& b) {
  return a.size() == b.size() && std::all_of(a.items().begin(), a.items().end(), [&](const Dict::Item& item) {
           const Value* other = b.find(item.first);
           return other && equal(item.second, *other);
         });
}

bool equal_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
  return a.as_double() == b.as_double();
}

[[noreturn]] void fail_order(const Value& a, const Value& b) {
  fail("'<' not supported between instances of '" + std::string(type_name(a)) + "' and '" +
       std::string(type_name(b)) + "'");
}

size_t combine(size_t seed, size_t hash) { return seed * 1000003 ^ hash; }

}  // namespace

Sequence::Sequence(Flavour flavour, std::vector<Value> items)
    : items_(std::move(items)), weight_(1), depth_(0), flavour_(flavour) {
  for (const Value& item : items_) {
    depth_ = std::max(depth_, item.depth());
    weight_ += item.weight();
  }
  check_bounds(++depth_, weight_);
}

const Value* Dict::find(const Value& key) const {
  const auto at = index_.find(key);
  return at == index_.end() ? nullptr : &items_[at->second].second;
}

void Dict::set(Value key, Value value) {
  depth_ = std::max({depth_, key.depth() + 1, value.depth() + 1});
  weight_ += key.weight() + value.weight();
  check_bounds(depth_, weight_);
  const auto [at, added] = index_.try_emplace(key, items_.size());
  if (added) {
    items_.emplace_back(std::move(key), std::move(value));
  } else {
    items_[at->second].second = std::move(value);
  }
}

size_t ValueHash::operator()(const Value& value) const {
  if (value.is_integral()) return std::hash<int64_t>()(value.as_int());
  if (value.is_float()) {
    const double number = value.as_double();
    const bool whole = number >= -9.2e18 && number <= 9.2e18 && number == std::trunc(number);
    return whole ? std::hash<int64_t>()(static_cast<int64_t>(number)) : std::hash<double>()(number);
  }
  if (const Text* text = value.text()) return std::hash<std::string>()(text->bytes);
  if (const Sequence* tuple = value.sequence(Flavour::kTuple)) {
    size_t hash = tuple->size();
    for (const Value& item : tuple->items()) hash = combine(hash, (*this)(item));
    return hash;
  }
  if (Object* object = value.object()) return std::hash<Object*>()(object);
  if (value.is_none() || value.is_undefined()) return value.is_none();
  fail("unhashable type: '" + std::string(type_name(value)) + "'");
}

bool ValueEqual::operator()(const Value& a, const Value& b) const { return equal(a, b); }

Value::Value(Dict dict) : data_(std::make_shared<const Dict>(std::move(dict))) {}

Value Value::undefined(std::string reason) {
  Value value;
  value.data_ = Undefined{std::make_shared<const std::string>(std::move(reason))};
  return value;
}

Value Value::safe_text(std::string text) {
  Value value;
  value.data_ = std::make_shared<const Text>(Text{std::move(text), true});
  return value;
}

Value Value::sequence(Flavour flavour, std::vector<Value> items) {
  Value value;
  value.data_ = std::make_shared<const Sequence>(flavour, std::move(items));
  return value;
}

const Text* Value::text() const {
  const auto* text = std::get_if<std::shared_ptr<const Text>>(&data_);
  return text ? text->get() : nullptr;
}

const Sequence* Value::sequence() const {
  const auto* sequence = std::get_if<std::shared_ptr<const Sequence>>(&data_);
  return sequence ? sequence->get() : nullptr;
}

const Sequence* Value::sequence(Flavour flavour) const {
  const Sequence* any = sequence();
  return any && any->flavour() == flavour ? any : nullptr;
}

const Dict* Value::dict() const {
  const auto* dict = std::get_if<std::shared_ptr<const Dict>>(&data_);
  return dict ? dict->get() : nullptr;
}

Object* Value::object() const {
  const auto* object = std::get_if<Object*>(&data_);
  return object ? *object : nullptr;
}

int64_t Value::as_int() const {
  if (const bool* boolean = std::get_if<bool>(&data_)) return *boolean;
  return std::get<int64_t>(data_);
}

double Value::as_double() const {
  if (const double* number = std::get_if<double>(&data_)) return *number;
  return static_cast<double>(as_int());
}

const std::string& Value::undefined_reason() const {
  static const std::string kNoReason = "the value is undefined";
  const auto* undefined = std::get_if<Undefined>(&data_);
  return undefined && undefined->reason ? *undefined->reason : kNoReason;
}

bool Value::truthy() const {
  if (is_number()) return as_double() != 0;
  if (is_string()) return !bytes().empty();
  if (const Sequence* items = sequence()) return items->flavour() == Flavour::kGenerator || items->size() > 0;
  if (const Dict* mapping = dict()) return mapping->size() > 0;
  return object() != nullptr;
}

uint32_t Value::depth() const {
  if (const Sequence* items = sequence()) return items->depth();
  if (const Dict* mapping = dict()) return mapping->depth();
  return 0;
}

uint64_t Value::weight() const {
  if (const Sequence* items = sequence()) return items->weight();
  if (const Dict* mapping = dict()) return mapping->weight();
  if (is_string()) return 1 + bytes().size() / 16;
  return 1;
}

std::string Object::repr() const { return "<" + std::string(type_name()) + ">"; }

Value Object::attribute(std::string_view) { return {}; }

Value Object::call(Interpreter&, Args) { fail("'" + std::string(type_name()) + "' object is not callable"); }

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return equal_numbers(a, b);
  if (a.is_string() && b.is_string()) return a.bytes() == b.bytes();
  if (a.sequence() && b.sequence()) {
    if (a.sequence()->flavour() != b.sequence()->flavour()) return false;
    if (a.sequence(Flavour::kGenerator)) return a.sequence() == b.sequence();
    return equal_items(a.sequence()->items(), b.sequence()->items());
  }
  if (a.dict() && b.dict()) return equal_dicts(*a.dict(), *b.dict());
  if (a.object() || b.object()) return a.object() == b.object();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool less(const Value& a, const Value& b) {
  if (a.is_undefined()) fail(a.undefined_reason());
  if (b.is_undefined()) fail(b.undefined_reason());
  if (a.is_integral() && b.is_integral()) return a.as_int() < b.as_int();
  if (a.is_number() && b.is_number()) return a.as_double() < b.as_double();
  // UTF-8 sorts as its code points do.
  if (a.is_string() && b.is_string()) return a.bytes() < b.bytes();
  const bool lists = a.sequence(Flavour::kList) && b.sequence(Flavour::kList);
  const bool tuples = a.sequence(Flavour::kTuple) && b.sequence(Flavour::kTuple);
  if (!lists && !tuples) fail_order(a, b);
  const auto& left = a.sequence()->items();
  const auto& right = b.sequence()->items();
  const auto [at_left, at_right] = std::mismatch(left.begin(), left.end(), right.begin(), right.end(), equal);
  if (at_left == left.end() || at_right == right.end()) return left.size() < right.size();
  return less(*at_left, *at_right);
}

std::string str(const Value& value) {
  if (value.is_string()) return value.bytes();
  if (value.is_undefined()) return "";
  return repr(value);
}

std::string repr(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (value.is_bool()) return value.as_int() ? "True" : "False";
  if (value.is_int()) return std::to_string(value.as_int());
  if (value.is_float()) return float_repr(value.as_double());
  if (value.is_safe()) return "Markup(" + string_repr(value.bytes()) + ")";
  if (value.is_string()) return string_repr(value.bytes());
  if (const Sequence* items = value.sequence()) return sequence_repr(*items);
  if (const Dict* dict = value.dict()) return dict_repr(*dict);
  return value.object()->repr();
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[40];  // the shortest digits that read back as the same double: "-d.ddde+xx"
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  const size_t mark = text.find('e');
  const int exponent = std::stoi(std::string(text.substr(mark + 1)));
  const std::string sign = std::signbit(value) ? "-" : "";
  std::string digits;
  for (const char c : text.substr(0, mark)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < -4 || exponent >= 16) {
    if (digits.size() > 1) digits.insert(1, ".");
    return sign + digits + std::string(text.substr(mark));
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent) - 1, '0') + digits;
  const size_t n_whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= n_whole) return sign + digits + std::string(n_whole - digits.size(), '0') + ".0";
  digits.insert(n_whole, ".");
  return sign + digits;
}

std::string_view type_name(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "NoneType";
  if (value.is_bool()) return "bool";
  if (value.is_int()) return "int";
  if (value.is_float()) return "float";
  if (value.is_string()) return value.is_safe() ? "Markup" : "str";
  if (value.sequence()) return kFlavourNames[static_cast<int>(value.sequence()->flavour())];
  if (value.dict()) return "dict";
  return value.object()->type_name();
}

Value from_json(const nlohmann::ordered_json& json) {
  // The depth of what is still to be built is not known, so the walk itself is bounded.
  struct Walk {
    static Value convert(const nlohmann::ordered_json& node, uint32_t depth) {
      if (depth > kMaxDepth) fail("context nested more than 200 deep");
      if (node.is_null()) return None{};
      if (node.is_boolean()) return node.get<bool>();
      if (node.is_number_unsigned() && node.get<uint64_t>() > std::numeric_limits<int64_t>::max()) {
        fail("integer " + node.dump() + " in the context is beyond 64 signed bits");
      }
      if (node.is_number_integer()) return node.get<int64_t>();
      if (node.is_number_float()) return node.get<double>();
      if (node.is_string()) return node.get<std::string>();
      if (node.is_array()) {
        std::vector<Value> items;
        items.reserve(node.size());
        for (const auto& item : node) items.push_back(convert(item, depth + 1));
        return Value::list(std::move(items));
      }
      if (!node.is_object()) fail("the context holds a value that is not JSON");
      Dict dict;
      for (const auto& [key, value] : node.items()) dict.set(Value(key), convert(value, depth + 1));
      return Value(std::move(dict));
    }
  };
  return Walk::convert(json, 0);
}

}  // namespace sluice::jinja
