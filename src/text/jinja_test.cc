// The language piece by piece, and what hostile templates run into. Expected texts are Python jinja2's.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "sluice/error.h"
#include "text/chat_template.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

std::string render(const std::string& source, const Json& context = Json::object(),
                   const RenderOptions& options = {}) {
  return ChatTemplate(source).render(context, options);
}

// The message of the error, or "rendered: ..." if there is none.
std::string failure(const std::string& source, const Json& context = Json::object(),
                    ErrorKind kind = ErrorKind::kInvalid) {
  try {
    return "rendered: " + render(source, context).substr(0, 100);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
}

bool mentions(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

TEST(Jinja, TrimsWhiteSpaceAroundTags) {
  EXPECT_EQ(render("a\n  {% if true %}\n  b\n  {% endif %}\nc"), "a\n  b\nc");
  EXPECT_EQ(render("a\n  {%+ if true %}\n  b\n  {%- endif +%}\n\nc"), "a\n    b\n\nc");
  EXPECT_EQ(render("a  {%- if true -%}   b   {%- endif -%}   c"), "abc");
  EXPECT_EQ(render("x {# c #}\n  {# c #}\n  y {#- c -#}  z"), "x   yz");
  EXPECT_EQ(render("{{ 1 }}\r\n{{ 2 }}\r3\n"), "1\n2\n3");
  EXPECT_EQ(render("{% raw %}{{ x }}{% if %}{% endraw %}|{%- raw -%}  {{ x }}  {%- endraw -%}  |"),
            "{{ x }}{% if %}|{{ x }}|");
}

TEST(Jinja, KeepsScopesApart) {
  const Json context = {{"l", {3, 1, 2}}};
  EXPECT_EQ(render("{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }},{% endfor %}{{ x }}", context),
            "4,2,3,1");
  EXPECT_EQ(render("{% if true %}{% set x = 5 %}{% endif %}{{ x }}"), "5");
  EXPECT_EQ(render("{% set x = 1 %}{% macro m() %}{{ x }}{% set x = 5 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}"
                   "{% set x = 2 %}{{ m() }}"),
            "15125");
  EXPECT_EQ(render("{% with a = 1 %}{{ a }}{% set n = 9 %}{% endwith %}{{ n is defined }}"), "1False");
  EXPECT_EQ(
      render(
          "{% for i in [1] %}{% macro m() %}{{ loop is defined }}{{ i }}{% endmacro %}{{ m() }}{% endfor %}"),
      "True1");
}

TEST(Jinja, FiltersLoopsAsTheyRun) {
  EXPECT_EQ(render("{% set ns = namespace(on=true) %}{% for i in [3, 1] if ns.on %}{{ i }}{% set ns.on = "
                   "false %}{% endfor %}"),
            "3");
  EXPECT_EQ(render("{% for i in [3, 1, 2] if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }}{{ loop.last "
                   "}} {% endfor %}"),
            "1/2:3False 2/2:2True ");
  EXPECT_EQ(
      render(
          "{% for x in [1, [2, [3]], 4] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@"
          "{{ loop.depth }}{% endif %}{% endfor %}"),
      "1@1(2@2(3@3))4@1");
  EXPECT_EQ(render("{% for i in [1, 1, 2] %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i) }}{{ loop.previtem "
                   "}} {% endfor %}"),
            "aTrue bFalse1 aTrue1 ");
}

TEST(Jinja, ALoopInItsOwnFilterFails) {
  EXPECT_TRUE(
      mentions(failure("{% set ns = namespace() %}"
                       "{% macro ask() %}{% if ns.l is defined %}{{ ns.l.length }}{% endif %}{% endmacro %}"
                       "{% for i in [1, 2, 3] if ask() != 'x' %}{% set ns.l = loop %}{% endfor %}"),
               "own filter"));
}

TEST(Jinja, GeneratorsRunOnce) {
  EXPECT_EQ(render("{% set g = [1, 2] | map('string') %}{{ g | join(',') }}[{{ g | join(',') }}]"), "1,2[]");
  EXPECT_TRUE(mentions(failure("{{ [1] | map('string') | length }}"), "no len()"));
}

TEST(Jinja, PassesArgumentsToMacros) {
  EXPECT_EQ(render("{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=5) "
                   "}} {{ m() }}"),
            "1-2-1 1-2-5 -2-");
  EXPECT_EQ(render("{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4) }}"),
            "(2, 3){'k': 4}");
  EXPECT_EQ(render("{% macro m() %}[{{ caller(1, 2) }}]{% endmacro %}{% call(a, b=3) m() %}{{ a }}{{ b }}{% "
                   "endcall %}"),
            "[12]");
  EXPECT_TRUE(mentions(failure("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}"), "not more than 1"));
  EXPECT_TRUE(mentions(failure("{% macro m(a) %}{% endmacro %}{{ m(z=2) }}"), "no keyword argument 'z'"));
}

TEST(Jinja, TellsNoneFromUndefined) {
  const Json context = {{"null", nullptr}};
  EXPECT_EQ(
      render("{{ null is none }}{{ null is defined }}{{ x is none }}{{ x is defined }}[{{ x }}{{ null }}]",
             context),
      "TrueTrueFalseFalse[None]");
  EXPECT_TRUE(mentions(failure("{{ x.y }}"), "'x' is undefined"));
  EXPECT_EQ(render("{{ null.y is defined }}", context), "False");
}

TEST(Jinja, PrintsNumbersAsPython) {
  const Json context = Json::parse("[0.1, 1e16, 1e15, 1e22, 1e-5, 0.0001, -0.0, 5e-324, 3, 2.0]");
  EXPECT_EQ(render("{{ n }}", {{"n", context}}),
            "[0.1, 1e+16, 1000000000000000.0, 1e+22, 1e-05, 0.0001, -0.0, 5e-324, 3, 2.0]");
  EXPECT_EQ(render("{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** -1 }} {{ 7.5 % -2 }}"),
            "-4 2 3.5 0.5 -0.5");
  EXPECT_TRUE(mentions(failure("{{ 9223372036854775807 + 1 }}"), "overflow"));
  EXPECT_TRUE(mentions(failure("{{ (-9223372036854775807 - 1) // -1 }}"), "overflow"));
  EXPECT_TRUE(mentions(failure("{{ 1 % 0 }}"), "division by zero"));
  EXPECT_TRUE(mentions(failure("{{ n }}", {{"n", 18446744073709551615u}}), "64 signed bits"));
}

TEST(Jinja, FormatsText) {
  EXPECT_EQ(render("{{ '%05.2f|%x|%-4s|%+d|%%' % (2.5, 255, 'a', 3) }}"), "02.50|ff|a   |+3|%");
  EXPECT_EQ(render("{{ '{:>5}|{:*^5}|{:,}|{:.1%}|{a!r}'.format('a', 'b', 1234567, 0.256, a='x') }}"),
            "    a|**b**|1,234,567|25.6%|'x'");
  EXPECT_EQ(render("{{ [\"it's\", '\"', 'a\\n\\u200b'] }}"), "[\"it's\", '\"', 'a\\n\\u200b']");
}

TEST(Jinja, UserTextIsNeverTemplate) {
  const Json context = {{"text", "{{ 7 * 7 }}{% raise %}"}};
  EXPECT_EQ(render("{{ text }}|{{ text | upper }}|{{ text | length }}", context),
            "{{ 7 * 7 }}{% raise %}|{{ 7 * 7 }}{% RAISE %}|22");
}

TEST(Jinja, TheSandboxRefusesChanges) {
  EXPECT_TRUE(mentions(failure("{% set l = [] %}{{ l.append(1) }}"), "unsafe"));
  EXPECT_TRUE(mentions(failure("{{ {'a': 1}.pop('a') }}"), "unsafe"));
}

TEST(Jinja, NamesWhereAndWhat) {
  EXPECT_EQ(failure("a\n {{ 1 + }}"), "chat template, line 2, column 9: unexpected }}");
  EXPECT_EQ(failure("\n{{ x | nope }}", Json::object(), ErrorKind::kUnsupported),
            "chat template, line 2, column 1: no filter named 'nope'");
  EXPECT_EQ(failure("{{ raise_exception('no way') }}"), "no way");
  EXPECT_TRUE(mentions(failure("{% include 'x' %}", Json::object(), ErrorKind::kUnsupported), "include"));
  EXPECT_TRUE(mentions(failure("{% foo %}"), "unknown tag 'foo'"));
  for (const char* broken : {"{{ 'abc }}", "{{ n", "{# abc", "{% for i in l %}", "{% endfor %}", "{{ ) }}",
                             "{% if %}x{% endif %}", "{% break %}", "{{ 1 2 }}", "{% raw %}",
                             "{% set true = 1 %}", "{{ f(a=1, 2) }}", "{% macro 5() %}"}) {
    EXPECT_TRUE(mentions(failure(broken), "line 1")) << broken;
  }
}

TEST(Jinja, BoundsWhatTheParserNests) {
  constexpr std::pair<const char*, const char*> kNests[] = {
      {"(", ")"}, {"[", "]"}, {"not ", ""}, {"-", ""}, {"{1:", "}"}, {"f(", ")"}, {"1 if 1 else ", ""}};
  for (const auto& [open, close] : kNests) {
    const std::string nest = "{{ " + repeated(open, 100'000) + "1" + repeated(close, 100'000) + " }}";
    EXPECT_TRUE(mentions(failure(nest), "too deep")) << open;
  }
  EXPECT_TRUE(mentions(failure(repeated("{% if 1 %}", 100'000)), "too deep"));
  for (const std::string& chain : {repeated("+ 1", 100'000), repeated("| upper", 100'000),
                                   repeated(".a", 100'000), repeated("[0]", 100'000), repeated("()", 100'000),
                                   repeated(" is eq(1)", 100'000), repeated(" or x", 100'000)}) {
    EXPECT_TRUE(mentions(failure("{{ x" + chain + " }}"), "too long"));
  }
  EXPECT_EQ(render("{{ 0" + repeated(" + 1", 300) + " }}{{ ''" + repeated(" ~ 'a'", 5000) + " }}").size(),
            5003u);
}

TEST(Jinja, BoundsWhatTheTemplateDoes) {
  EXPECT_TRUE(mentions(failure("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), "recursion too deep"));
  EXPECT_TRUE(
      mentions(failure("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"), "recursion too deep"));
  EXPECT_TRUE(
      mentions(failure("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"),
               "too many steps"));
  EXPECT_TRUE(mentions(failure("{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, "
                               "ns.l] %}{% endfor %}{{ ns.l }}"),
                       "too large"));
  EXPECT_TRUE(mentions(
      failure("{% set ns = namespace(l=[1]) %}{% for i in range(999) %}{% set ns.l = [ns.l] %}{% endfor %}"),
      "nested"));
  EXPECT_TRUE(mentions(
      failure(
          "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}"),
      "larger than"));
  for (const char* big :
       {"{{ 'a' * 999999999999 }}", "{{ [1] * 999999999999 }}", "{{ 'a'.center(999999999999) }}",
        "{{ '%999999999d' % 1 }}", "{{ '{:999999999}'.format(1) }}", "{{ 'a' | indent(999999999999, true) }}",
        "{{ [1] | tojson(indent=999999999) }}", "{{ range(999999999999) }}",
        "{{ [1] | batch(999999999999, 1) }}", "{{ 'a'.zfill(999999999999) }}"}) {
    EXPECT_FALSE(mentions(failure(big), "rendered")) << big;
  }
  RenderOptions small;
  small.max_output_bytes = 10;
  EXPECT_EQ(render("{{ 'a' * 10 }}", Json::object(), small), "aaaaaaaaaa");
  EXPECT_THROW(render("{{ 'a' * 11 }}", Json::object(), small), Error);
}

TEST(Jinja, BoundsTheContext) {
  Json deep = 1;
  for (int i = 0; i < 1000; ++i) deep = Json::array({std::move(deep)});
  EXPECT_TRUE(mentions(failure("{{ x }}", {{"x", std::move(deep)}}), "nested"));
  EXPECT_TRUE(mentions(failure("", Json::array()), "object"));
}

TEST(Jinja, ReferencesInCirclesAreFreed) {
  EXPECT_EQ(
      render(
          "{% set ns = namespace() %}{% set ns.self = ns %}{% macro m() %}{{ m is callable }}{% endmacro %}"
          "{% set ns.m = m %}{% for i in [1] %}{% set ns.loop = loop %}{% endfor %}{{ ns.m() }}{{ "
          "ns.self.loop.index }}"),
      "True1");
}

}  // namespace
}  // namespace sluice
