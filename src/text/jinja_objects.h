// The things with behaviour that a rendering makes: functions, bound methods, macros and loops.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_builtins.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_value.h"

namespace sluice::jinja {

class NativeFunction : public Object {
 public:
  NativeFunction(std::string name, Function function) : name_(std::move(name)), function_(function) {}
  std::string_view type_name() const override { return "function"; }
  std::string repr() const override { return "<function " + name_ + ">"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Args args) override { return function_(interpreter, std::move(args)); }

 private:
  const std::string name_;
  const Function function_;
};

class BoundMethod : public Object {
 public:
  BoundMethod(Value self, std::string name) : self_(std::move(self)), name_(std::move(name)) {}
  std::string_view type_name() const override { return "builtin_function_or_method"; }
  std::string repr() const override {
    return "<built-in method " + name_ + " of " + std::string(jinja::type_name(self_)) + " object>";
  }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Args args) override {
    return call_method(interpreter, self_, name_, std::move(args));
  }

 private:
  const Value self_;
  const std::string name_;
};

class Macro : public Object {
 public:
  Macro(std::shared_ptr<const MacroNode> node, ScopePtr closure)
      : node_(std::move(node)), closure_(std::move(closure)) {}
  std::string_view type_name() const override { return "Macro"; }
  std::string repr() const override { return "<Macro '" + node_->name + "'>"; }
  Value attribute(std::string_view name) override {
    return name == "name" ? Value(node_->name) : Object::attribute(name);
  }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Args args) override {
    return interpreter.call_macro(*node_, closure_, std::move(args));
  }

 private:
  const std::shared_ptr<const MacroNode> node_;
  const ScopePtr closure_;
};

// The `loop` of a for loop. Items are filtered as they are reached, one ahead at most where the body asks for
// the next, so that a filter sees what earlier iterations have set.
class Loop : public Object {
 public:
  Loop(std::vector<Value> items, const ForStmt& node, ScopePtr scope, int64_t depth)
      : items_(std::move(items)), node_(node), scope_(std::move(scope)), depth_(depth) {}

  // `accept` is the filter of the loop and must live while the loop runs.
  void set_filter(std::function<bool(const Value&)> accept) { accept_ = std::move(accept); }

  // Moves to the next item; false at the end.
  bool advance() {
    skip_rejected();
    if (at_ == items_.size()) return false;
    previous_ = std::exchange(current_, items_[at_++]);
    if (++index_ == 0) previous_ = Value::undefined("there is no previous item");
    checked_ = false;
    return true;
  }
  const Value& current() const { return current_; }

  // After the last iteration nothing of the items is needed, though the template may still hold the loop.
  void finish() {
    at_ = 0;
    items_.clear();
    accept_ = nullptr;
    checked_ = true;
  }

  std::string_view type_name() const override { return "LoopContext"; }
  bool callable() const override { return true; }

  Value call(Interpreter& interpreter, Args args) override {
    if (!node_.recursive) fail("the loop must be marked 'recursive' to be called");
    if (args.positional.size() != 1 || !args.named.empty()) fail("loop() takes one argument");
    return interpreter.run_loop(node_, scope_, args.positional[0], depth_ + 1);
  }

  Value attribute(std::string_view name) override {
    if (name == "index") return index_ + 1;
    if (name == "index0") return index_;
    if (name == "first") return index_ == 0;
    if (name == "last") return !has_next();
    if (name == "depth") return depth_ + 1;
    if (name == "depth0") return depth_;
    if (name == "previtem") return previous_;
    if (name == "nextitem") return has_next() ? items_[at_] : Value::undefined("there is no next item");
    if (name == "length") return length();
    if (name == "revindex") return length() - index_;
    if (name == "revindex0") return length() - index_ - 1;
    return Object::attribute(name);
  }

  Value cycle(const std::vector<Value>& values) const {
    if (values.empty()) fail("no items for cycling given");
    return values[static_cast<size_t>(index_) % values.size()];
  }

  bool changed(std::vector<Value> values) {
    if (last_checked_ &&
        std::equal(values.begin(), values.end(), last_checked_->begin(), last_checked_->end(), equal)) {
      return false;
    }
    last_checked_ = std::move(values);
    return true;
  }

 private:
  // A filter that asks its own loop for the next item would never come to an end.
  bool accepted(const Value& item) {
    if (std::exchange(filtering_, true)) fail("the loop is used inside its own filter");
    const bool accept = accept_(item);
    filtering_ = false;
    return accept;
  }
  void skip_rejected() {
    while (accept_ && !checked_ && at_ < items_.size() && !accepted(items_[at_])) ++at_;
    checked_ = true;
  }
  bool has_next() {
    skip_rejected();
    return at_ < items_.size();
  }
  // Filters all that is left.
  int64_t length() {
    if (accept_) {
      skip_rejected();
      std::vector<Value> left;
      for (size_t i = at_; i < items_.size(); ++i) {
        if (i == at_ || accepted(items_[i])) left.push_back(items_[i]);
      }
      items_ = std::move(left);
      at_ = 0;
      accept_ = nullptr;
    }
    return index_ + 1 + static_cast<int64_t>(items_.size() - at_);
  }

  std::vector<Value> items_;
  const ForStmt& node_;
  const ScopePtr scope_;
  const int64_t depth_;
  std::function<bool(const Value&)> accept_;
  size_t at_ = 0;         // of the next item
  bool checked_ = false;  // whether items_[at_] is known to be accepted
  bool filtering_ = false;
  int64_t index_ = -1;
  Value current_, previous_;
  std::optional<std::vector<Value>> last_checked_;
};

// loop.cycle and loop.changed.
class LoopMethod : public Object {
 public:
  LoopMethod(Loop* loop, bool is_cycle) : loop_(loop), is_cycle_(is_cycle) {}
  std::string_view type_name() const override { return "method"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, Args args) override {
    for (const Value& value : args.positional) interpreter.charge(value.compare_weight());
    if (!args.named.empty()) fail("loop.cycle and loop.changed take no named arguments");
    return is_cycle_ ? loop_->cycle(args.positional) : Value(loop_->changed(std::move(args.positional)));
  }

 private:
  Loop* const loop_;
  const bool is_cycle_;
};

}  // namespace sluice::jinja
