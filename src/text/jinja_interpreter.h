// Runs a parsed template on a context: scopes, statements, expressions and macros, with the bounds that make
// hostile templates harmless. What operators, filters, tests, methods and functions do is in
// jinja_operators.h and jinja_builtins.h.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/chat_template.h"
#include "text/jinja_ast.h"
#include "text/jinja_value.h"

namespace sluice::jinja {

// Names of one block. Loops, macros, set blocks and the like open one; `if` does not.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::unordered_map<std::string, Value> names;
};
using ScopePtr = std::shared_ptr<Scope>;

// One rendering. Not reusable, not thread-safe.
class Interpreter {
 public:
  explicit Interpreter(const RenderOptions& options) : options_(options) {}
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // Throws Failure.
  std::string render(const Template& tree, const nlohmann::ordered_json& context);

  // Where the rendering was when it failed.
  Position position() const { return position_; }

  // For builtins.
  const RenderOptions& options() const { return options_; }
  void charge(uint64_t units);  // fails when the steps of the options are used up
  Value call(const Value& callee, Args args);
  Value attribute(const Value& object, const std::string& name);  // object.name
  Value item(const Value& object, const Value& key);              // object[key]
  Value apply_filter(const std::string& name, const Value& operand, Args args);
  bool apply_test(const std::string& name, const Value& operand, Args args);
  std::vector<Value> iterate(const Value& value);  // what `for` runs over; spends a generator

  // An object that lives as long as the rendering.
  template <class T, class... A>
  T* make(A&&... args) {
    charge(32);
    auto object = std::make_unique<T>(std::forward<A>(args)...);
    T* raw = object.get();
    objects_.push_back(std::move(object));
    return raw;
  }

  std::string call_macro(const MacroNode& macro, const ScopePtr& closure, Args args);
  std::string run_loop(const ForStmt& loop, const ScopePtr& scope, const Value& iterable, int64_t depth);

 private:
  class Deeper;
  class Scoped;
  enum class Flow { kNext, kBreak, kContinue };

  // Statements write to *out_.
  Flow run(const Body& body);
  Flow run(const TextStmt& node);
  Flow run(const PrintStmt& node);
  Flow run(const IfStmt& node);
  Flow run(const ForStmt& node);
  Flow run(const SetStmt& node);
  Flow run(const SetBlockStmt& node);
  Flow run(const MacroStmt& node);
  Flow run(const CallStmt& node);
  Flow run(const FilterStmt& node);
  Flow run(const WithStmt& node);
  Flow run(const BreakStmt&) { return Flow::kBreak; }
  Flow run(const ContinueStmt&) { return Flow::kContinue; }

  Value eval(const Expr& expr);
  Value eval(const LiteralExpr& node) { return node.value; }
  Value eval(const NameExpr& node);
  Value eval(const SequenceExpr& node);
  Value eval(const DictExpr& node);
  Value eval(const NotExpr& node) { return !eval(*node.operand).truthy(); }
  Value eval(const SignExpr& node);
  Value eval(const BinaryExpr& node);
  Value eval(const LogicalExpr& node);
  Value eval(const ConcatExpr& node);
  Value eval(const CompareExpr& node);
  Value eval(const ConditionalExpr& node);
  Value eval(const AttributeExpr& node) { return attribute(eval(*node.object), node.name); }
  Value eval(const ItemExpr& node);
  Value eval(const SliceExpr& node);
  Value eval(const CallExpr& node);
  Value eval(const FilterExpr& node);
  Value eval(const TestExpr& node);

  Value eval_or_none(const ExprPtr& expr) { return expr ? eval(*expr) : Value(None{}); }
  Args eval_args(const ArgumentList& list);
  Value eval_call(const CallExpr& node, const Value& caller);
  Value filter_text(const FilterExpr& chain, Value text);
  bool compare(CompareOp op, const Value& left, const Value& right);
  void charge_walk(const Value& a, const Value& b);
  const Value& charged(const Value& made);

  void iterate_loop(const ForStmt& node, const ScopePtr& scope, const Value& iterable, int64_t depth);
  std::string captured(const Body& body, ScopePtr scope);
  void assign(const Target& target, const Value& value);
  const Value* find_name(const std::string& name) const;
  void emit(std::string_view text);

  const RenderOptions options_;
  uint64_t n_steps_ = 0;
  uint32_t depth_ = 0;
  Position position_;
  std::string* out_ = nullptr;
  ScopePtr scope_;
  std::vector<std::unique_ptr<Object>> objects_;
};

}  // namespace sluice::jinja
