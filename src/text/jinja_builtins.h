// The filters, tests, methods and functions that templates may name.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja_interpreter.h"
#include "text/jinja_value.h"

namespace sluice::jinja {

// Arguments by position or name, as the parameters of one builtin.
class Parameters {
 public:
  // Fails, as Python does, on too many arguments, unknown names and names given twice.
  Parameters(std::string_view function, Args args, std::initializer_list<std::string_view> names);

  bool has(size_t i) const { return given_[i]; }
  const Value& required(size_t i) const;
  Value value(size_t i, Value fallback) const { return given_[i] ? values_[i] : fallback; }
  // These take none for the fallback too.
  int64_t integer(size_t i, int64_t fallback) const;
  std::string string(size_t i, std::string fallback) const;
  bool flag(size_t i, bool fallback) const { return given_[i] ? values_[i].truthy() : fallback; }

 private:
  std::string_view function_;
  std::vector<std::string_view> names_;
  std::vector<Value> values_;
  std::vector<bool> given_;
};

using Filter = Value (*)(Interpreter&, const Value& operand, Args args);
using Test = bool (*)(Interpreter&, const Value& operand, Args args);
using Function = Value (*)(Interpreter&, Args args);

// Null if there is none of that name.
Filter find_filter(std::string_view name);
Test find_test(std::string_view name);

// Whether Python's type has a method of that name; those that would change the value are refused by the
// sandbox.
enum class Method { kNone, kAllowed, kMutating };
Method find_method(const Value& object, std::string_view name);
Value call_method(Interpreter& interpreter, const Value& object, std::string_view name, Args args);

// range, dict, namespace, raise_exception, strftime_now, ...: what names mean when nothing defines them.
const std::unordered_map<std::string, Function>& functions();

// object.a.0.b for filters that take attribute='a.0.b'; an integer is an index. `fallback`, if it is not
// none, takes the place of each part that is undefined.
Value attribute_path(Interpreter& interpreter, const Value& object, const Value& path,
                     const Value& fallback = None{});

// {% set ns.name = value %}
class Namespace : public Object {
 public:
  std::string_view type_name() const override { return "Namespace"; }
  Value attribute(std::string_view name) override;
  void set(const std::string& name, Value value) { items_[name] = std::move(value); }

 private:
  std::unordered_map<std::string, Value> items_;
};

}  // namespace sluice::jinja
