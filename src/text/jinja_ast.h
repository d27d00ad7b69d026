// What a template is once parsed. Trees are immutable and hold no state of a rendering, so one tree serves
// any number of threads.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja_lexer.h"
#include "text/jinja_value.h"

namespace sluice::jinja {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<const Expr>;
using Body = std::vector<Stmt>;

struct ArgumentList {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;       // *expression, may be null
  ExprPtr star_star;  // **expression, may be null
};

enum class BinaryOp : uint8_t { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
enum class CompareOp : uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn };

// Expressions.
struct LiteralExpr {
  Value value;
};
struct NameExpr {
  std::string name;
};
struct SequenceExpr {
  Flavour flavour;  // kList or kTuple
  std::vector<ExprPtr> items;
};
struct DictExpr {
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
};
struct NotExpr {
  ExprPtr operand;
};
struct SignExpr {
  bool negative;
  ExprPtr operand;
};
struct BinaryExpr {
  BinaryOp op;
  ExprPtr left, right;
};
struct LogicalExpr {
  bool is_and;
  ExprPtr left, right;
};
struct ConcatExpr {
  std::vector<ExprPtr> parts;
};
struct CompareExpr {
  ExprPtr first;
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
};
struct ConditionalExpr {
  ExprPtr condition, then, otherwise;  // otherwise may be null
};
struct AttributeExpr {
  ExprPtr object;
  std::string name;
};
struct ItemExpr {
  ExprPtr object, key;
};
struct SliceExpr {
  ExprPtr object, start, stop, step;  // the bounds may be null
};
struct CallExpr {
  ExprPtr callee;
  ArgumentList args;
};
struct FilterExpr {
  ExprPtr operand;  // null for the text of a filter block or set block
  std::string name;
  ArgumentList args;
};
struct TestExpr {
  ExprPtr operand;
  std::string name;
  ArgumentList args;
};

struct Expr {
  using Node = std::variant<LiteralExpr, NameExpr, SequenceExpr, DictExpr, NotExpr, SignExpr, BinaryExpr,
                            LogicalExpr, ConcatExpr, CompareExpr, ConditionalExpr, AttributeExpr, ItemExpr,
                            SliceExpr, CallExpr, FilterExpr, TestExpr>;
  Node node;
  Position at;
  uint32_t height = 1;  // of the tree, bounded by the parser
};

// Where an assignment goes: a name, an attribute of a namespace, or several of these.
struct Target {
  std::string name;             // empty for a tuple
  std::string attribute;        // of the namespace `name`; empty for a plain name
  std::vector<Target> targets;  // of a tuple
};

struct Parameter {
  std::string name;
  ExprPtr fallback;  // null if there is none
};

// A macro, or the body of a call block.
struct MacroNode {
  std::string name;
  std::vector<Parameter> parameters;
  Body body;
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

// Statements.
struct TextStmt {
  std::string text;
};
struct PrintStmt {
  ExprPtr expression;
};
struct IfStmt {
  std::vector<std::pair<ExprPtr, Body>> branches;  // if, elif, ...
  Body otherwise;
};
struct ForStmt {
  Target target;
  ExprPtr iterable, filter;  // filter may be null
  bool recursive = false;
  Body body, otherwise;
};
struct SetStmt {
  Target target;
  ExprPtr value;
};
struct SetBlockStmt {
  Target target;
  ExprPtr filter;  // a chain that ends in a null operand; may be null
  Body body;
};
struct MacroStmt {
  std::shared_ptr<const MacroNode> macro;
};
struct CallStmt {
  std::shared_ptr<const MacroNode> caller;
  ExprPtr call;  // a CallExpr
};
struct FilterStmt {
  ExprPtr filter;
  Body body;
};
struct WithStmt {
  std::vector<std::pair<Target, ExprPtr>> bindings;  // {% generation %} is a `with` of none
  Body body;
};
struct BreakStmt {};
struct ContinueStmt {};

struct Stmt {
  using Node = std::variant<TextStmt, PrintStmt, IfStmt, ForStmt, SetStmt, SetBlockStmt, MacroStmt, CallStmt,
                            FilterStmt, WithStmt, BreakStmt, ContinueStmt>;
  Node node;
  Position at;
};

struct Template {
  Body body;
};

}  // namespace sluice::jinja
