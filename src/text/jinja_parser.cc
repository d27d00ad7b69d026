#include "text/jinja_parser.h"

#include <algorithm>
#include <initializer_list>
#include <optional>

namespace sluice::jinja {
namespace {

// Brackets, blocks and operators within each other. Each level costs a dozen small frames while parsing and
// one or two while rendering.
constexpr uint32_t kMaxNesting = 100;
constexpr uint32_t kMaxHeight = 400;  // long chains (a + b + c ...) nest without recursion in the parser

using Words = std::initializer_list<std::string_view>;

// The height of the highest child of a node.
uint32_t height_of(const ExprPtr& expr) { return expr ? expr->height : 0; }
uint32_t height_of(const std::vector<ExprPtr>& exprs) {
  uint32_t height = 0;
  for (const ExprPtr& expr : exprs) height = std::max(height, height_of(expr));
  return height;
}
uint32_t height_of(const ArgumentList& args) {
  uint32_t height = std::max({height_of(args.positional), height_of(args.star), height_of(args.star_star)});
  for (const auto& [name, value] : args.named) height = std::max(height, height_of(value));
  return height;
}
uint32_t height_below(const LiteralExpr&) { return 0; }
uint32_t height_below(const NameExpr&) { return 0; }
uint32_t height_below(const SequenceExpr& node) { return height_of(node.items); }
uint32_t height_below(const DictExpr& node) {
  uint32_t height = 0;
  for (const auto& [key, value] : node.items) height = std::max({height, height_of(key), height_of(value)});
  return height;
}
uint32_t height_below(const NotExpr& node) { return height_of(node.operand); }
uint32_t height_below(const SignExpr& node) { return height_of(node.operand); }
uint32_t height_below(const BinaryExpr& node) {
  return std::max(height_of(node.left), height_of(node.right));
}
uint32_t height_below(const LogicalExpr& node) {
  return std::max(height_of(node.left), height_of(node.right));
}
uint32_t height_below(const ConcatExpr& node) { return height_of(node.parts); }
uint32_t height_below(const CompareExpr& node) {
  uint32_t height = height_of(node.first);
  for (const auto& [op, operand] : node.rest) height = std::max(height, height_of(operand));
  return height;
}
uint32_t height_below(const ConditionalExpr& node) {
  return std::max({height_of(node.condition), height_of(node.then), height_of(node.otherwise)});
}
uint32_t height_below(const AttributeExpr& node) { return height_of(node.object); }
uint32_t height_below(const ItemExpr& node) { return std::max(height_of(node.object), height_of(node.key)); }
uint32_t height_below(const SliceExpr& node) {
  return std::max(
      {height_of(node.object), height_of(node.start), height_of(node.stop), height_of(node.step)});
}
uint32_t height_below(const CallExpr& node) { return std::max(height_of(node.callee), height_of(node.args)); }
uint32_t height_below(const FilterExpr& node) {
  return std::max(height_of(node.operand), height_of(node.args));
}
uint32_t height_below(const TestExpr& node) {
  return std::max(height_of(node.operand), height_of(node.args));
}

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Template run() { return {parse_body({})}; }

 private:
  // Counts nesting while it lives.
  class Nested {
   public:
    explicit Nested(Parser* parser) : parser_(parser) {
      if (++parser_->nesting_ > kMaxNesting) parser_->fail_here("nested too deep");
    }
    ~Nested() { --parser_->nesting_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    Parser* parser_;
  };

  // Tokens.
  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is_op(std::string_view op) const { return is_op(current(), op); }
  static bool is_op(const Token& token, std::string_view op) {
    return token.kind == Token::Kind::kOperator && token.text == op;
  }
  bool is_name(std::string_view name) const { return is_name(current(), name); }
  static bool is_name(const Token& token, std::string_view name) {
    return token.kind == Token::Kind::kName && token.text == name;
  }
  bool is_any_name(Words names) const {
    return std::any_of(names.begin(), names.end(), [&](std::string_view name) { return is_name(name); });
  }
  bool skip_op(std::string_view op) { return is_op(op) && (take(), true); }
  bool skip_name(std::string_view name) { return is_name(name) && (take(), true); }

  [[noreturn]] void fail_at(Position at, std::string message) const {
    throw SyntaxError{std::move(message), at};
  }
  [[noreturn]] void fail_here(std::string message) const { fail_at(current().at, std::move(message)); }

  static std::string describe(const Token& token) {
    switch (token.kind) {
      case Token::Kind::kText:
        return "text";
      case Token::Kind::kVariableBegin:
        return "{{";
      case Token::Kind::kVariableEnd:
        return "}}";
      case Token::Kind::kBlockBegin:
        return "{%";
      case Token::Kind::kBlockEnd:
        return "%}";
      case Token::Kind::kLiteral:
        return "a literal";
      case Token::Kind::kEnd:
        return "the end of the template";
      default:
        return "'" + token.text + "'";
    }
  }
  void expect_op(std::string_view op) {
    if (!skip_op(op)) fail_here("expected '" + std::string(op) + "', got " + describe(current()));
  }
  void expect_kind(Token::Kind kind, std::string_view name) {
    if (current().kind != kind) fail_here("expected " + std::string(name) + ", got " + describe(current()));
    take();
  }
  std::string expect_name() {
    if (current().kind != Token::Kind::kName) fail_here("expected a name, got " + describe(current()));
    return take().text;
  }

  template <class Node>
  ExprPtr make(Position at, Node node) const {
    const uint32_t height = 1 + height_below(node);
    if (height > kMaxHeight) fail_at(at, "expression too long");
    return std::make_unique<const Expr>(Expr{std::move(node), at, height});
  }

  // Statements.
  Body parse_body(Words end_tags) {
    const Nested nested(this);
    Body body;
    for (;;) {
      const Token token = current();
      switch (token.kind) {
        case Token::Kind::kText:
          body.push_back({TextStmt{take().text}, token.at});
          break;
        case Token::Kind::kVariableBegin:
          take();
          body.push_back({PrintStmt{parse_tuple()}, token.at});
          expect_kind(Token::Kind::kVariableEnd, "}}");
          break;
        case Token::Kind::kBlockBegin:
          take();
          if (is_any_name(end_tags)) return body;
          parse_statement(token.at, body);
          expect_kind(Token::Kind::kBlockEnd, "%}");
          break;
        default:
          if (end_tags.size() > 0)
            fail_here("unexpected end of the template, expected " + std::string(*end_tags.begin()));
          return body;
      }
    }
  }

  // The body of a tag up to one of the end tags, which becomes the current token.
  Body parse_block(Words end_tags) {
    skip_op(":");
    expect_kind(Token::Kind::kBlockEnd, "%}");
    return parse_body(end_tags);
  }
  Body parse_whole_block(std::string_view end_tag) {
    Body body = parse_block({end_tag});
    take();
    return body;
  }

  void parse_statement(Position at, Body& body) {
    const std::string tag = current().kind == Token::Kind::kName ? take().text : "";
    if (tag == "if") return body.push_back({parse_if(), at});
    if (tag == "for") return body.push_back({parse_for(), at});
    if (tag == "set") return parse_set(at, body);
    if (tag == "macro") return body.push_back({parse_macro(), at});
    if (tag == "call") return body.push_back({parse_call_block(), at});
    if (tag == "filter") return body.push_back({parse_filter_block(), at});
    if (tag == "with") return body.push_back({parse_with(), at});
    if (tag == "generation") return body.push_back({WithStmt{{}, parse_whole_block("endgeneration")}, at});
    if (tag == "print") return parse_print(at, body);
    if (tag == "break" || tag == "continue") return parse_jump(tag, at, body);
    constexpr std::string_view kRefused[] = {"include", "import", "from", "extends", "block", "autoescape"};
    if (std::find(std::begin(kRefused), std::end(kRefused), tag) != std::end(kRefused)) {
      throw SyntaxError{"{% " + tag + " %} is not supported in chat templates", at, true};
    }
    fail_at(at, tag.empty() ? "expected the name of a tag" : "unknown tag '" + tag + "'");
  }

  IfStmt parse_if() {
    IfStmt node;
    for (;;) {
      ExprPtr condition = parse_tuple({}, false);
      node.branches.emplace_back(std::move(condition), parse_block({"elif", "else", "endif"}));
      const std::string tag = take().text;
      if (tag == "elif") continue;
      if (tag == "else") node.otherwise = parse_whole_block("endif");
      return node;
    }
  }

  ForStmt parse_for() {
    ForStmt node;
    node.target = parse_target(false, {"in"});
    if (!skip_name("in")) fail_here("expected 'in', got " + describe(current()));
    node.iterable = parse_tuple({"recursive"}, false);
    if (skip_name("if")) node.filter = parse_expression();
    node.recursive = skip_name("recursive");
    ++n_loops_;
    node.body = parse_block({"endfor", "else"});
    --n_loops_;
    if (take().text == "else") node.otherwise = parse_whole_block("endfor");
    return node;
  }

  void parse_set(Position at, Body& body) {
    Target target = parse_target(true, {});
    if (skip_op("=")) return body.push_back({SetStmt{std::move(target), parse_tuple()}, at});
    ExprPtr filter = parse_filters(nullptr);
    body.push_back({SetBlockStmt{std::move(target), std::move(filter), parse_whole_block("endset")}, at});
  }

  MacroStmt parse_macro() {
    auto macro = std::make_shared<MacroNode>();
    macro->name = expect_name();
    parse_macro_body(*macro, "endmacro", true);
    return {std::move(macro)};
  }

  CallStmt parse_call_block() {
    auto caller = std::make_shared<MacroNode>();
    caller->name = "caller";
    if (is_op("(")) caller->parameters = parse_signature();
    const Position at = current().at;
    ExprPtr call = parse_expression();
    if (!std::holds_alternative<CallExpr>(call->node)) fail_at(at, "expected a call");
    parse_macro_body(*caller, "endcall", false);
    return {std::move(caller), std::move(call)};
  }

  // Loops outside a macro cannot be left from inside it. Names like `caller` mark all macros around them.
  void parse_macro_body(MacroNode& macro, std::string_view end_tag, bool with_signature) {
    const uint32_t n_loops = std::exchange(n_loops_, 0);
    macros_.push_back(&macro);
    if (with_signature) macro.parameters = parse_signature();
    macro.body = parse_whole_block(end_tag);
    macros_.pop_back();
    n_loops_ = n_loops;
  }

  std::vector<Parameter> parse_signature() {
    std::vector<Parameter> parameters;
    expect_op("(");
    while (!is_op(")")) {
      if (!parameters.empty()) expect_op(",");
      Parameter parameter{expect_name(), nullptr};
      if (skip_op("=")) {
        parameter.fallback = parse_expression();
      } else if (!parameters.empty() && parameters.back().fallback) {
        fail_here("a parameter without a default follows one with a default");
      }
      parameters.push_back(std::move(parameter));
    }
    expect_op(")");
    return parameters;
  }

  FilterStmt parse_filter_block() {
    ExprPtr filter = parse_filters(parse_filter(nullptr));
    return {std::move(filter), parse_whole_block("endfilter")};
  }

  WithStmt parse_with() {
    WithStmt node;
    while (current().kind != Token::Kind::kBlockEnd) {
      if (!node.bindings.empty()) expect_op(",");
      Target target = parse_target(false, {});
      expect_op("=");
      node.bindings.emplace_back(std::move(target), parse_expression());
    }
    node.body = parse_whole_block("endwith");
    return node;
  }

  void parse_print(Position at, Body& body) {
    for (bool first = true; current().kind != Token::Kind::kBlockEnd; first = false) {
      if (!first) expect_op(",");
      body.push_back({PrintStmt{parse_expression()}, at});
    }
  }

  void parse_jump(const std::string& tag, Position at, Body& body) {
    if (n_loops_ == 0) fail_at(at, "{% " + tag + " %} outside a loop");
    if (tag == "break") {
      body.push_back({BreakStmt{}, at});
    } else {
      body.push_back({ContinueStmt{}, at});
    }
  }

  // a | a, b | (a, b) | ns.a
  Target parse_target(bool with_namespace, Words end_names) {
    if (with_namespace && is_op(ahead(), ".")) {
      Target target{expect_name(), "", {}};
      take();
      target.attribute = expect_name();
      return target;
    }
    Target first = parse_single_target();
    if (!is_op(",")) return first;
    Target tuple;
    tuple.targets.push_back(std::move(first));
    while (skip_op(",")) {
      if (is_op("=") || is_any_name(end_names) || current().kind == Token::Kind::kBlockEnd) break;
      tuple.targets.push_back(parse_single_target());
    }
    return tuple;
  }

  Target parse_single_target() {
    const Nested nested(this);
    if (skip_op("(")) {
      Target target = parse_target(false, {});
      expect_op(")");
      return target;
    }
    const Token token = current();
    Target target{expect_name(), "", {}};
    for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
      if (target.name == constant) fail_at(token.at, "cannot assign to '" + target.name + "'");
    }
    return target;
  }

  // Expressions, loosest first.
  ExprPtr parse_tuple(Words end_names = {}, bool with_conditional = true, bool in_parentheses = false) {
    const Position at = current().at;
    SequenceExpr tuple{Flavour::kTuple, {}};
    bool is_tuple = false;
    while (!is_tuple_end(end_names)) {
      tuple.items.push_back(with_conditional ? parse_expression() : parse_or());
      if (!skip_op(",")) break;
      is_tuple = true;
    }
    if (!is_tuple && !tuple.items.empty()) return std::move(tuple.items.front());
    if (!is_tuple && !in_parentheses) fail_here("expected an expression, got " + describe(current()));
    return make(at, std::move(tuple));
  }

  bool is_tuple_end(Words end_names) const {
    const Token::Kind kind = current().kind;
    return kind == Token::Kind::kVariableEnd || kind == Token::Kind::kBlockEnd || is_op(")") ||
           is_any_name(end_names);
  }

  ExprPtr parse_expression() {
    const Nested nested(this);
    const Position at = current().at;
    ExprPtr expr = parse_or();
    while (skip_name("if")) {
      ExprPtr condition = parse_or();
      ExprPtr otherwise = skip_name("else") ? parse_expression() : nullptr;
      expr = make(at, ConditionalExpr{std::move(condition), std::move(expr), std::move(otherwise)});
    }
    return expr;
  }

  ExprPtr parse_or() {
    const Position at = current().at;
    ExprPtr left = parse_and();
    while (skip_name("or")) left = make(at, LogicalExpr{false, std::move(left), parse_and()});
    return left;
  }

  ExprPtr parse_and() {
    const Position at = current().at;
    ExprPtr left = parse_not();
    while (skip_name("and")) left = make(at, LogicalExpr{true, std::move(left), parse_not()});
    return left;
  }

  ExprPtr parse_not() {
    const Position at = current().at;
    if (!skip_name("not")) return parse_compare();
    const Nested nested(this);
    return make(at, NotExpr{parse_not()});
  }

  ExprPtr parse_compare() {
    const Position at = current().at;
    ExprPtr first = parse_sum();
    CompareExpr node;
    while (const auto op = take_compare_op()) node.rest.emplace_back(*op, parse_sum());
    if (node.rest.empty()) return first;
    node.first = std::move(first);
    return make(at, std::move(node));
  }

  std::optional<CompareOp> take_compare_op() {
    if (skip_op("==")) return CompareOp::kEqual;
    if (skip_op("!=")) return CompareOp::kNotEqual;
    if (skip_op("<")) return CompareOp::kLess;
    if (skip_op("<=")) return CompareOp::kLessEqual;
    if (skip_op(">")) return CompareOp::kGreater;
    if (skip_op(">=")) return CompareOp::kGreaterEqual;
    if (skip_name("in")) return CompareOp::kIn;
    if (!is_name("not") || !is_name(ahead(), "in")) return std::nullopt;
    take();
    take();
    return CompareOp::kNotIn;
  }

  ExprPtr parse_sum() {
    const Position at = current().at;
    ExprPtr left = parse_concat();
    for (;;) {
      if (skip_op("+")) {
        left = make(at, BinaryExpr{BinaryOp::kAdd, std::move(left), parse_concat()});
      } else if (skip_op("-")) {
        left = make(at, BinaryExpr{BinaryOp::kSubtract, std::move(left), parse_concat()});
      } else {
        return left;
      }
    }
  }

  ExprPtr parse_concat() {
    const Position at = current().at;
    ExprPtr first = parse_product();
    if (!is_op("~")) return first;
    ConcatExpr node;
    node.parts.push_back(std::move(first));
    while (skip_op("~")) node.parts.push_back(parse_product());
    return make(at, std::move(node));
  }

  ExprPtr parse_product() {
    const Position at = current().at;
    ExprPtr left = parse_power();
    for (;;) {
      if (skip_op("*")) {
        left = make(at, BinaryExpr{BinaryOp::kMultiply, std::move(left), parse_power()});
      } else if (skip_op("/")) {
        left = make(at, BinaryExpr{BinaryOp::kDivide, std::move(left), parse_power()});
      } else if (skip_op("//")) {
        left = make(at, BinaryExpr{BinaryOp::kFloorDivide, std::move(left), parse_power()});
      } else if (skip_op("%")) {
        left = make(at, BinaryExpr{BinaryOp::kModulo, std::move(left), parse_power()});
      } else {
        return left;
      }
    }
  }

  ExprPtr parse_power() {
    const Position at = current().at;
    ExprPtr left = parse_unary(true);
    while (skip_op("**")) left = make(at, BinaryExpr{BinaryOp::kPower, std::move(left), parse_unary(true)});
    return left;
  }

  ExprPtr parse_unary(bool with_filters) {
    const Nested nested(this);
    const Position at = current().at;
    ExprPtr expr;
    if (is_op("-") || is_op("+")) {
      const bool negative = take().text == "-";
      expr = make(at, SignExpr{negative, parse_unary(false)});
    } else {
      expr = parse_primary();
    }
    expr = parse_postfix(std::move(expr));
    return with_filters ? parse_filters_and_tests(std::move(expr)) : std::move(expr);
  }

  ExprPtr parse_primary() {
    const Token token = current();
    if (token.kind == Token::Kind::kName) return parse_name();
    if (token.kind == Token::Kind::kLiteral) return parse_literal();
    if (is_op("[")) return parse_list();
    if (is_op("{")) return parse_dict();
    if (!skip_op("(")) fail_here("unexpected " + describe(token));
    ExprPtr inner = parse_tuple({}, true, true);
    expect_op(")");
    return inner;
  }

  ExprPtr parse_name() {
    const Token token = take();
    const std::string& name = token.text;
    if (name == "true" || name == "True") return make(token.at, LiteralExpr{Value(true)});
    if (name == "false" || name == "False") return make(token.at, LiteralExpr{Value(false)});
    if (name == "none" || name == "None") return make(token.at, LiteralExpr{Value(None{})});
    for (MacroNode* macro : macros_) {
      if (name == "caller") macro->uses_caller = true;
      if (name == "varargs") macro->uses_varargs = true;
      if (name == "kwargs") macro->uses_kwargs = true;
    }
    return make(token.at, NameExpr{name});
  }

  // Strings side by side are one string.
  ExprPtr parse_literal() {
    const Token token = take();
    if (!token.value.is_string()) return make(token.at, LiteralExpr{token.value});
    std::string text = token.value.bytes();
    while (current().kind == Token::Kind::kLiteral && current().value.is_string())
      text += take().value.bytes();
    return make(token.at, LiteralExpr{Value(std::move(text))});
  }

  ExprPtr parse_list() {
    const Position at = take().at;
    SequenceExpr list{Flavour::kList, {}};
    while (!is_op("]")) {
      list.items.push_back(parse_expression());
      if (!skip_op(",")) break;
    }
    expect_op("]");
    return make(at, std::move(list));
  }

  ExprPtr parse_dict() {
    const Position at = take().at;
    DictExpr dict;
    while (!is_op("}")) {
      ExprPtr key = parse_expression();
      expect_op(":");
      dict.items.emplace_back(std::move(key), parse_expression());
      if (!skip_op(",")) break;
    }
    expect_op("}");
    return make(at, std::move(dict));
  }

  ExprPtr parse_postfix(ExprPtr expr) {
    for (;;) {
      if (is_op(".")) {
        expr = parse_dot(std::move(expr));
      } else if (is_op("[")) {
        expr = parse_subscript(std::move(expr));
      } else if (is_op("(")) {
        expr = parse_call(std::move(expr));
      } else {
        return expr;
      }
    }
  }

  ExprPtr parse_filters_and_tests(ExprPtr expr) {
    for (;;) {
      if (skip_op("|")) {
        expr = parse_filter(std::move(expr));
      } else if (skip_name("is")) {
        expr = parse_test(std::move(expr));
      } else if (is_op("(")) {
        expr = parse_call(std::move(expr));
      } else {
        return expr;
      }
    }
  }

  ExprPtr parse_dot(ExprPtr object) {
    const Position at = take().at;
    const Token token = take();
    if (token.kind == Token::Kind::kName) return make(at, AttributeExpr{std::move(object), token.text});
    if (token.kind != Token::Kind::kLiteral || !token.value.is_int())
      fail_at(at, "expected a name or number after '.'");
    return make(at, ItemExpr{std::move(object), make(token.at, LiteralExpr{token.value})});
  }

  ExprPtr parse_subscript(ExprPtr object) {
    const Position at = take().at;
    ExprPtr start = is_op(":") ? nullptr : parse_expression();
    if (!is_op(":")) {
      if (is_op(",")) start = parse_tuple_key(std::move(start));
      expect_op("]");
      return make(at, ItemExpr{std::move(object), std::move(start)});
    }
    const auto parse_bound = [&]() -> ExprPtr {
      return skip_op(":") && !is_op("]") && !is_op(":") ? parse_expression() : nullptr;
    };
    ExprPtr stop = parse_bound();
    ExprPtr step = parse_bound();
    expect_op("]");
    return make(at, SliceExpr{std::move(object), std::move(start), std::move(stop), std::move(step)});
  }

  ExprPtr parse_tuple_key(ExprPtr first) {
    const Position at = current().at;
    SequenceExpr tuple{Flavour::kTuple, {}};
    tuple.items.push_back(std::move(first));
    while (skip_op(",") && !is_op("]")) tuple.items.push_back(parse_expression());
    return make(at, std::move(tuple));
  }

  ExprPtr parse_call(ExprPtr callee) {
    const Position at = current().at;
    return make(at, CallExpr{std::move(callee), parse_arguments()});
  }

  ArgumentList parse_arguments() {
    ArgumentList args;
    const Position at = current().at;
    const auto require = [&](bool valid) {
      if (!valid) fail_at(at, "invalid order of arguments in a call");
    };
    expect_op("(");
    while (!is_op(")")) {
      if (skip_op("*")) {
        require(!args.star && !args.star_star);
        args.star = parse_expression();
      } else if (skip_op("**")) {
        require(!args.star_star);
        args.star_star = parse_expression();
      } else if (current().kind == Token::Kind::kName && is_op(ahead(), "=")) {
        require(!args.star_star);
        std::string name = take().text;
        take();
        args.named.emplace_back(std::move(name), parse_expression());
      } else {
        require(!args.star && !args.star_star && args.named.empty());
        args.positional.push_back(parse_expression());
      }
      if (!skip_op(",")) break;
    }
    expect_op(")");
    return args;
  }

  // Dots may be part of the name of a filter or test.
  std::string parse_dotted_name() {
    std::string name = expect_name();
    while (skip_op(".")) name += "." + expect_name();
    return name;
  }

  // name(args), after the '|'.
  ExprPtr parse_filter(ExprPtr operand) {
    const Position at = current().at;
    FilterExpr node{std::move(operand), parse_dotted_name(), {}};
    if (is_op("(")) node.args = parse_arguments();
    return make(at, std::move(node));
  }

  ExprPtr parse_filters(ExprPtr operand) {
    while (skip_op("|")) operand = parse_filter(std::move(operand));
    return operand;
  }

  // [not] name [argument or (args)], after the `is`.
  ExprPtr parse_test(ExprPtr operand) {
    const Position at = current().at;
    const bool negated = skip_name("not");
    TestExpr node{std::move(operand), parse_dotted_name(), {}};
    if (is_op("(")) {
      node.args = parse_arguments();
    } else if (starts_test_argument()) {
      if (is_name("is")) fail_here("tests cannot be chained with 'is'");
      node.args.positional.push_back(parse_postfix(parse_primary()));
    }
    ExprPtr test = make(at, std::move(node));
    if (!negated) return test;
    return make(at, NotExpr{std::move(test)});
  }

  bool starts_test_argument() const {
    if (current().kind == Token::Kind::kName) return !is_any_name({"else", "or", "and"});
    return current().kind == Token::Kind::kLiteral || is_op("[") || is_op("{");
  }

  const std::vector<Token> tokens_;
  size_t at_ = 0;
  uint32_t nesting_ = 0;
  uint32_t n_loops_ = 0;
  std::vector<MacroNode*> macros_;
};

}  // namespace

Template parse(std::string_view source) { return Parser(tokenize(source)).run(); }

}  // namespace sluice::jinja
