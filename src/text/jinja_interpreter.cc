#include "text/jinja_interpreter.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "text/jinja_builtins.h"
#include "text/jinja_objects.h"
#include "text/jinja_operators.h"
#include "text/jinja_text.h"

namespace sluice::jinja {
namespace {

// Expressions, statements and macro calls within each other; each is a stack frame or two.
constexpr uint32_t kMaxDepth = 1500;

std::shared_ptr<Scope> inside(ScopePtr parent) {
  auto scope = std::make_shared<Scope>();
  scope->parent = std::move(parent);
  return scope;
}

}  // namespace

// Counts recursion while it lives.
class Interpreter::Deeper {
 public:
  explicit Deeper(Interpreter* interpreter) : interpreter_(interpreter) {
    if (++interpreter_->depth_ > kMaxDepth) {
      --interpreter_->depth_;
      fail("recursion too deep");
    }
  }
  ~Deeper() { --interpreter_->depth_; }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;

 private:
  Interpreter* const interpreter_;
};

// Runs in another scope, and into another text if one is given, while it lives.
class Interpreter::Scoped {
 public:
  Scoped(Interpreter* interpreter, ScopePtr scope, std::string* out = nullptr)
      : interpreter_(interpreter),
        scope_(std::exchange(interpreter->scope_, std::move(scope))),
        out_(interpreter->out_) {
    if (out) interpreter_->out_ = out;
  }
  ~Scoped() {
    interpreter_->scope_ = std::move(scope_);
    interpreter_->out_ = out_;
  }
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;

 private:
  Interpreter* const interpreter_;
  ScopePtr scope_;
  std::string* const out_;
};

std::string Interpreter::render(const Template& tree, const nlohmann::ordered_json& context) {
  scope_ = std::make_shared<Scope>();
  for (const auto& [name, function] : functions()) scope_->names[name] = make<NativeFunction>(name, function);
  for (const auto& [name, value] : context.items()) scope_->names[name] = from_json(value);
  return captured(tree.body, inside(scope_));
}

void Interpreter::charge(uint64_t units) {
  n_steps_ += units;
  if (n_steps_ > options_.max_steps) fail("the template takes too many steps");
}

// A value that was just made, paid for by its own size (what it holds was paid for before).
const Value& Interpreter::charged(const Value& made) {
  if (const Text* text = made.text()) charge(text->bytes.size() / 16);
  if (const Sequence* sequence = made.sequence()) charge(sequence->size());
  if (const Dict* dict = made.dict()) charge(dict->size());
  return made;
}

void Interpreter::charge_walk(const Value& a, const Value& b) {
  charge(std::min(a.compare_weight(), b.compare_weight()));
}

void Interpreter::emit(std::string_view text) {
  charge(text.size() / 16);
  if (out_->size() + text.size() > options_.max_output_bytes) fail("the rendering is too large");
  *out_ += text;
}

std::string Interpreter::captured(const Body& body, ScopePtr scope) {
  std::string text;
  const Scoped scoped(this, std::move(scope), &text);
  run(body);
  return text;
}

const Value* Interpreter::find_name(const std::string& name) const {
  for (const Scope* scope = scope_.get(); scope; scope = scope->parent.get()) {
    const auto at = scope->names.find(name);
    if (at != scope->names.end()) return &at->second;
  }
  return nullptr;
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (!target.targets.empty()) {
    const std::vector<Value> items = iterate(value);
    if (items.size() != target.targets.size()) {
      fail(std::to_string(target.targets.size()) + " values to unpack expected, got " +
           std::to_string(items.size()));
    }
    for (size_t i = 0; i < items.size(); ++i) assign(target.targets[i], items[i]);
  } else if (target.attribute.empty()) {
    scope_->names[target.name] = value;
  } else {
    const Value* holder = find_name(target.name);
    auto* space = holder ? dynamic_cast<Namespace*>(holder->object()) : nullptr;
    if (!space) fail("cannot assign attribute on non-namespace object '" + target.name + "'");
    space->set(target.attribute, value);
  }
}

std::vector<Value> Interpreter::iterate(const Value& value) {
  std::vector<Value> items;
  if (const Sequence* sequence = value.sequence()) {
    if (sequence->start()) items = sequence->items();
  } else if (const Dict* dict = value.dict()) {
    for (const auto& [key, item] : dict->items()) items.push_back(key);
  } else if (value.is_string()) {
    charge(4 * value.bytes().size());
    for (const std::string_view point : split_code_points(value.bytes()))
      items.emplace_back(std::string(point));
  } else if (!value.is_undefined()) {
    fail("'" + std::string(type_name(value)) + "' object is not iterable");
  }
  charge(items.size());
  return items;
}

// Statements.

Interpreter::Flow Interpreter::run(const Body& body) {
  const Deeper deeper(this);
  for (const Stmt& stmt : body) {
    charge(1);
    position_ = stmt.at;
    const Flow flow = std::visit([this](const auto& node) { return run(node); }, stmt.node);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const TextStmt& node) {
  emit(node.text);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const PrintStmt& node) {
  const Value value = eval(*node.expression);
  charge(value.weight());
  emit(str(value));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const IfStmt& node) {
  for (const auto& [condition, body] : node.branches) {
    if (eval(*condition).truthy()) return run(body);
  }
  return run(node.otherwise);
}

Interpreter::Flow Interpreter::run(const ForStmt& node) {
  iterate_loop(node, scope_, eval(*node.iterable), 0);
  return Flow::kNext;
}

std::string Interpreter::run_loop(const ForStmt& node, const ScopePtr& scope, const Value& iterable,
                                  int64_t depth) {
  std::string text;
  const Scoped scoped(this, scope, &text);
  iterate_loop(node, scope, iterable, depth);
  return text;
}

void Interpreter::iterate_loop(const ForStmt& node, const ScopePtr& scope, const Value& iterable,
                               int64_t depth) {
  auto* loop = make<Loop>(iterate(iterable), node, scope, depth);
  if (node.filter) {
    loop->set_filter([&, this](const Value& item) {
      const Scoped scoped(this, inside(scope));
      assign(node.target, item);
      return eval(*node.filter).truthy();
    });
  }
  bool ran = false;
  while (loop->advance()) {
    ran = true;
    charge(1);
    const Scoped scoped(this, inside(scope));
    scope_->names["loop"] = loop;
    assign(node.target, loop->current());
    if (run(node.body) == Flow::kBreak) break;
  }
  loop->finish();
  if (ran) return;
  const Scoped scoped(this, inside(scope));
  run(node.otherwise);
}

Interpreter::Flow Interpreter::run(const SetStmt& node) {
  assign(node.target, eval(*node.value));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const SetBlockStmt& node) {
  Value text = captured(node.body, inside(scope_));
  if (node.filter) text = filter_text(std::get<FilterExpr>(node.filter->node), std::move(text));
  assign(node.target, text);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const MacroStmt& node) {
  scope_->names[node.macro->name] = make<Macro>(node.macro, scope_);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const CallStmt& node) {
  const Value made = eval_call(std::get<CallExpr>(node.call->node), make<Macro>(node.caller, scope_));
  charge(made.weight());
  emit(str(made));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const FilterStmt& node) {
  const std::string text = captured(node.body, inside(scope_));
  emit(str(filter_text(std::get<FilterExpr>(node.filter->node), text)));
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run(const WithStmt& node) {
  ScopePtr scope = inside(scope_);
  for (const auto& [target, expr] : node.bindings) {
    const Value value = eval(*expr);
    const Scoped scoped(this, scope);
    assign(target, value);
  }
  const Scoped scoped(this, std::move(scope));
  return run(node.body);
}

// Macros.

std::string Interpreter::call_macro(const MacroNode& macro, const ScopePtr& closure, Args args) {
  const Deeper deeper(this);
  std::string text;
  const Scoped scoped(this, inside(closure), &text);
  const auto take_named = [&](const std::string& name) -> std::optional<Value> {
    for (auto at = args.named.begin(); at != args.named.end(); ++at) {
      if (at->first != name) continue;
      Value value = std::move(at->second);
      args.named.erase(at);
      return value;
    }
    return std::nullopt;
  };

  const size_t n_positional = std::min(args.positional.size(), macro.parameters.size());
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const auto& [name, fallback] = macro.parameters[i];
    std::optional<Value> value = take_named(name);
    if (i < n_positional) {
      if (value) fail("macro '" + macro.name + "' got two values for '" + name + "'");
      value = args.positional[i];
    }
    if (!value && fallback) value = eval(*fallback);
    scope_->names[name] = value ? *value : Value::undefined("parameter '" + name + "' was not provided");
  }
  if (macro.uses_caller) {
    const auto is_parameter = [](const Parameter& parameter) { return parameter.name == "caller"; };
    if (std::none_of(macro.parameters.begin(), macro.parameters.end(), is_parameter)) {
      scope_->names["caller"] = take_named("caller").value_or(Value::undefined("no caller defined"));
    }
  }
  if (macro.uses_kwargs) {
    Dict named;
    for (auto& [name, value] : args.named) named.set(Value(name), std::move(value));
    scope_->names["kwargs"] = Value(std::move(named));
  } else if (!args.named.empty()) {
    fail("macro '" + macro.name + "' takes no keyword argument '" + args.named[0].first + "'");
  }
  if (macro.uses_varargs) {
    args.positional.erase(args.positional.begin(),
                          args.positional.begin() + static_cast<std::ptrdiff_t>(n_positional));
    scope_->names["varargs"] = Value::tuple(std::move(args.positional));
  } else if (args.positional.size() > n_positional) {
    fail("macro '" + macro.name + "' takes not more than " + std::to_string(macro.parameters.size()) +
         " argument(s)");
  }
  run(macro.body);
  return text;
}

// Expressions.

Value Interpreter::eval(const Expr& expr) {
  const Deeper deeper(this);
  charge(1);
  return std::visit([this](const auto& node) { return eval(node); }, expr.node);
}

Value Interpreter::eval(const NameExpr& node) {
  const Value* value = find_name(node.name);
  return value ? *value : Value::undefined("'" + node.name + "' is undefined");
}

Value Interpreter::eval(const SequenceExpr& node) {
  std::vector<Value> items;
  items.reserve(node.items.size());
  for (const ExprPtr& item_expr : node.items) items.push_back(eval(*item_expr));
  return charged(Value::sequence(node.flavour, std::move(items)));
}

Value Interpreter::eval(const DictExpr& node) {
  Dict dict;
  for (const auto& [key_expr, value_expr] : node.items) {
    Value key = eval(*key_expr);
    charge(key.weight());
    dict.set(std::move(key), eval(*value_expr));
  }
  return Value(std::move(dict));
}

Value Interpreter::eval(const SignExpr& node) {
  const Value operand = eval(*node.operand);
  return node.negative ? negate(operand) : positive(operand);
}

Value Interpreter::eval(const BinaryExpr& node) {
  const Value left = eval(*node.left);
  const Value right = eval(*node.right);
  if (node.op == BinaryOp::kModulo) charge(right.weight());
  return charged(binary(node.op, left, right));
}

Value Interpreter::eval(const LogicalExpr& node) {
  Value left = eval(*node.left);
  return left.truthy() == node.is_and ? eval(*node.right) : left;
}

Value Interpreter::eval(const ConcatExpr& node) {
  std::string text;
  for (const ExprPtr& part : node.parts) {
    const Value value = eval(*part);
    charge(value.weight());
    append_bounded(text, str(value));
  }
  return text;
}

Value Interpreter::eval(const CompareExpr& node) {
  Value left = eval(*node.first);
  for (const auto& [op, operand] : node.rest) {
    Value right = eval(*operand);
    if (!compare(op, left, right)) return false;
    left = std::move(right);
  }
  return true;
}

bool Interpreter::compare(CompareOp op, const Value& left, const Value& right) {
  switch (op) {
    case CompareOp::kIn:
    case CompareOp::kNotIn:
      charge(right.is_string() || right.dict() ? left.weight() : right.weight());
      break;
    default:
      charge_walk(left, right);
  }
  switch (op) {
    case CompareOp::kEqual:
      return equal(left, right);
    case CompareOp::kNotEqual:
      return !equal(left, right);
    case CompareOp::kLess:
      return less(left, right);
    case CompareOp::kLessEqual:
      return !less(right, left);
    case CompareOp::kGreater:
      return less(right, left);
    case CompareOp::kGreaterEqual:
      return !less(left, right);
    case CompareOp::kIn:
      return contains(right, left);
    case CompareOp::kNotIn:
      return !contains(right, left);
  }
  return false;
}

Value Interpreter::eval(const ConditionalExpr& node) {
  if (eval(*node.condition).truthy()) return eval(*node.then);
  if (node.otherwise) return eval(*node.otherwise);
  return Value::undefined("the inline if-expression evaluated to false and no else section was defined");
}

Value Interpreter::eval(const ItemExpr& node) {
  const Value object = eval(*node.object);
  return item(object, eval(*node.key));
}

Value Interpreter::eval(const SliceExpr& node) {
  const Value object = eval(*node.object);
  const Value start = eval_or_none(node.start);
  const Value stop = eval_or_none(node.stop);
  charge(object.is_string() ? object.weight() : 1);
  return charged(slice(object, start, stop, eval_or_none(node.step)));
}

Value Interpreter::eval(const CallExpr& node) { return eval_call(node, {}); }

// A method is called without making an object of it first. `caller`, if defined, is one more argument.
Value Interpreter::eval_call(const CallExpr& node, const Value& caller) {
  const auto eval_all_args = [&] {
    Args args = eval_args(node.args);
    if (!caller.is_undefined()) args.named.emplace_back("caller", caller);
    return args;
  };
  const auto* method = std::get_if<AttributeExpr>(&node.callee->node);
  if (!method) {
    const Value callee = eval(*node.callee);
    return call(callee, eval_all_args());
  }
  const Value object = eval(*method->object);
  if (find_method(object, method->name) == Method::kAllowed) {
    return charged(call_method(*this, object, method->name, eval_all_args()));
  }
  const Value callee = attribute(object, method->name);
  return call(callee, eval_all_args());
}

Value Interpreter::eval(const FilterExpr& node) {
  const Value operand = eval(*node.operand);
  return apply_filter(node.name, operand, eval_args(node.args));
}

Value Interpreter::eval(const TestExpr& node) {
  const Value operand = eval(*node.operand);
  return apply_test(node.name, operand, eval_args(node.args));
}

Value Interpreter::filter_text(const FilterExpr& chain, Value text) {
  if (chain.operand) text = filter_text(std::get<FilterExpr>(chain.operand->node), std::move(text));
  return apply_filter(chain.name, text, eval_args(chain.args));
}

Args Interpreter::eval_args(const ArgumentList& list) {
  Args args;
  for (const ExprPtr& expr : list.positional) args.positional.push_back(eval(*expr));
  for (const auto& [name, expr] : list.named) args.named.emplace_back(name, eval(*expr));
  if (list.star) {
    for (Value& value : iterate(eval(*list.star))) args.positional.push_back(std::move(value));
  }
  if (list.star_star) {
    const Value named = eval(*list.star_star);
    if (!named.dict()) fail("the argument after ** must be a mapping");
    charge(named.dict()->size());
    for (const auto& [key, value] : named.dict()->items()) {
      if (!key.is_string()) fail("keywords must be strings");
      args.named.emplace_back(key.bytes(), value);
    }
  }
  return args;
}

Value Interpreter::call(const Value& callee, Args args) {
  if (callee.is_undefined()) fail(callee.undefined_reason());
  if (!callee.object() || !callee.object()->callable())
    fail("'" + std::string(type_name(callee)) + "' object is not callable");
  return charged(callee.object()->call(*this, std::move(args)));
}

Value Interpreter::attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) fail(object.undefined_reason());
  if (Object* thing = object.object()) {
    auto* loop = dynamic_cast<Loop*>(thing);
    if (loop && (name == "cycle" || name == "changed")) return make<LoopMethod>(loop, name == "cycle");
    Value value = thing->attribute(name);
    return value.is_undefined() && !loop
               ? Value::undefined(describe(object) + " has no attribute '" + name + "'")
               : value;
  }
  switch (find_method(object, name)) {
    case Method::kAllowed:
      return make<BoundMethod>(object, name);
    case Method::kMutating:
      return Value::undefined("access to attribute '" + name + "' of '" + std::string(type_name(object)) +
                              "' object is unsafe: templates may not change values");
    case Method::kNone:
      break;
  }
  const Value* found = object.dict() ? object.dict()->find(name) : nullptr;
  return found ? *found : Value::undefined("'" + describe(object) + "' has no attribute '" + name + "'");
}

Value Interpreter::item(const Value& object, const Value& key) {
  if (object.is_undefined()) fail(object.undefined_reason());
  charge(key.weight() + (object.is_string() ? object.weight() : 0));
  bool found = false;
  Value value = subscript(object, key, &found);
  if (found) return value;
  if (key.is_string() && !object.dict()) return attribute(object, key.bytes());
  if (key.is_string() && find_method(object, key.bytes()) != Method::kNone)
    return attribute(object, key.bytes());
  return Value::undefined(describe(object) + " has no element " + (key.depth() ? "of that key" : repr(key)));
}

Value Interpreter::apply_filter(const std::string& name, const Value& operand, Args args) {
  const Filter filter = find_filter(name);
  if (!filter) throw Failure{"no filter named '" + name + "'", Failure::Kind::kUnsupported};
  return charged(filter(*this, operand, std::move(args)));
}

bool Interpreter::apply_test(const std::string& name, const Value& operand, Args args) {
  const Test test = find_test(name);
  if (!test) throw Failure{"no test named '" + name + "'", Failure::Kind::kUnsupported};
  return test(*this, operand, std::move(args));
}

}  // namespace sluice::jinja
