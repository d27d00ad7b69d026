// The values that templates compute with: Python's, as far as templates can tell. Everything is immutable but
// namespaces and single-use iterators, so values share freely and no value can contain itself.
//
// A container knows how deep it is and how much it would expand to (weight). Both are bounded when it is
// built, so that no walk over a value (repr, ==, tojson, destruction) overflows the stack or runs for ever,
// even where a template has doubled a list into itself a hundred times.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja_failure.h"

namespace sluice::jinja {

class Value;
class Sequence;
class Dict;
class Interpreter;
struct Args;

struct Undefined {
  std::shared_ptr<const std::string> reason;  // why, for the error if it is used; may be null
};
struct None {};

struct Text {
  std::string bytes;  // UTF-8
  bool safe = false;  // made by |safe or |escape: + escapes what is added to it
};

// What Python calls the sequence. Only lists and tuples may nest into dict keys, add, or become JSON.
enum class Flavour : uint8_t { kList, kTuple, kRange, kKeys, kValues, kItems, kGenerator };

// Things with behaviour: functions, macros, namespaces, loops. They belong to the interpreter that made them
// and live until its rendering ends, so they may refer to each other in circles.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string_view type_name() const = 0;
  virtual std::string repr() const;
  virtual Value attribute(std::string_view name);  // undefined if it has none of that name
  virtual bool callable() const { return false; }
  virtual Value call(Interpreter& interpreter, Args args);
};

class Value {
 public:
  Value() = default;  // undefined
  Value(None) : data_(None{}) {}
  Value(bool value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(std::string text) : data_(std::make_shared<const Text>(Text{std::move(text)})) {}
  Value(const char* text) : Value(std::string(text)) {}
  template <std::derived_from<Object> T>
  Value(T* object) : data_(static_cast<Object*>(object)) {}
  Value(Dict dict);
  template <class T>
  Value(T) = delete;  // no silent conversions, of other pointers to bool in particular

  static Value undefined(std::string reason);
  static Value safe_text(std::string text);
  static Value sequence(Flavour flavour, std::vector<Value> items);
  static Value list(std::vector<Value> items) { return sequence(Flavour::kList, std::move(items)); }
  static Value tuple(std::vector<Value> items) { return sequence(Flavour::kTuple, std::move(items)); }

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }
  bool is_string() const { return text() != nullptr; }
  bool is_safe() const { return text() && text()->safe; }

  // Null if it is something else.
  const Text* text() const;
  const Sequence* sequence() const;
  const Sequence* sequence(Flavour flavour) const;
  const Dict* dict() const;
  Object* object() const;
  const std::string& bytes() const { return text()->bytes; }  // of a string

  // bool and int as int64_t; precondition of as_int: one of these. as_double: any number.
  bool is_integral() const { return is_bool() || is_int(); }
  int64_t as_int() const;
  double as_double() const;

  const std::string& undefined_reason() const;

  bool truthy() const;
  uint32_t depth() const;   // 0 for scalars
  uint64_t weight() const;  // about the work of walking over it: values plus text in units of 16 bytes
  uint64_t compare_weight() const { return weight() * (1 + depth()); }  // and of ordering it

 private:
  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
               std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>, Object*>
      data_;
};

class Sequence {
 public:
  Sequence(Flavour flavour, std::vector<Value> items);
  Flavour flavour() const { return flavour_; }
  const std::vector<Value>& items() const { return items_; }
  size_t size() const { return items_.size(); }
  uint32_t depth() const { return depth_; }
  uint64_t weight() const { return weight_; }

  // A generator gives its items once: true the first time.
  bool start() const { return flavour_ != Flavour::kGenerator || !std::exchange(spent_, true); }

 private:
  std::vector<Value> items_;
  uint64_t weight_;
  uint32_t depth_;
  Flavour flavour_;
  mutable bool spent_ = false;
};

struct ValueHash {
  size_t operator()(const Value& value) const;
};
struct ValueEqual {
  bool operator()(const Value& a, const Value& b) const;
};

// Insertion-ordered; keys are whatever Python can hash (1, 1.0 and true are one key).
class Dict {
 public:
  using Item = std::pair<Value, Value>;
  const std::vector<Item>& items() const { return items_; }
  size_t size() const { return items_.size(); }
  const Value* find(const Value& key) const;  // null if absent; fails on a key that cannot be hashed
  void set(Value key, Value value);           // only while it is being built
  uint32_t depth() const { return depth_; }
  uint64_t weight() const { return weight_; }

 private:
  std::vector<Item> items_;
  std::unordered_map<Value, size_t, ValueHash, ValueEqual> index_;
  uint64_t weight_ = 1;
  uint32_t depth_ = 1;
};

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Python's ==, and < for what Python can order (fails otherwise).
bool equal(const Value& a, const Value& b);
bool less(const Value& a, const Value& b);

std::string str(const Value& value);   // what {{ }} prints
std::string repr(const Value& value);  // the same inside a container
std::string float_repr(double value);

// "str", "int", "NoneType", ...
std::string_view type_name(const Value& value);

// Fails on integers beyond int64, binary values and nesting beyond the limit.
Value from_json(const nlohmann::ordered_json& json);

}  // namespace sluice::jinja
