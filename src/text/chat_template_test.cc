// Real templates against renderings by Python jinja2 (and, where it agrees with it, huggingface.js).
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "sluice/error.h"
#include "tests/shared_data.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

Json read_json(const std::string& relative) {
  return Json::parse(test::read_file(test::shared_path("data/chat/" + relative)));
}

RenderOptions at_noon() {
  RenderOptions options;
  options.now = parse_now("2025-07-10T12:00:00");
  return options;
}

// The rendering, or "error: ..." for one that raises.
std::string render_or_error(const std::string& source, const Json& context) {
  try {
    return ChatTemplate(source).render(context, at_noon());
  } catch (const Error& error) {
    return std::string("error: ") + error.what();
  }
}

bool is_error(const std::string& rendering) { return rendering.rfind("error: ", 0) == 0; }

TEST(ChatTemplate, RendersTheJinja2Goldens) {
  SLUICE_REQUIRE_SHARED();
  const Json goldens = read_json("jinja2-goldens.json");
  int n_rendered = 0, n_raised = 0;
  for (const Json& golden : goldens["cases"]) {
    const auto path = golden["template"].get<std::string>();
    const auto context = golden["context"].get<std::string>();
    SCOPED_TRACE(path + " on " + context);
    const std::string source = test::read_file(test::shared_path("data/chat/" + path));
    const std::string rendering = render_or_error(source, goldens["contexts"][context]);
    if (golden.contains("output")) {
      EXPECT_EQ(rendering, golden["output"].get<std::string>());
      ++n_rendered;
    } else {
      EXPECT_TRUE(is_error(rendering)) << "should raise " << golden["error"];
      ++n_raised;
    }
  }
  EXPECT_EQ(n_rendered, 285);
  EXPECT_EQ(n_raised, 31);
}

TEST(ChatTemplate, RendersTheHuggingFaceCases) {
  SLUICE_REQUIRE_SHARED();
  const Json cases = read_json("hfjs-jinja/e2e_cases.json");
  EXPECT_EQ(cases.size(), 53u);
  for (const Json& each : cases) {
    SCOPED_TRACE(each["name"].get<std::string>());
    const Json& target = each.contains("target_python") ? each["target_python"] : each["target"];
    EXPECT_EQ(render_or_error(each["chat_template"].get<std::string>(), each["data"]),
              target.get<std::string>());
  }
}

TEST(ChatTemplate, FollowsPythonInEverySyntaxCase) {
  SLUICE_REQUIRE_SHARED();
  const Json cases = read_json("hfjs-jinja/syntax_cases.json");
  EXPECT_EQ(cases.size(), 157u);
  for (const Json& each : cases) {
    SCOPED_TRACE(each["name"].get<std::string>() + ": " + each["template"].get<std::string>());
    const std::string rendering = render_or_error(each["template"].get<std::string>(), each["context"]);
    if (each["expected_python"].is_null()) {
      EXPECT_TRUE(is_error(rendering)) << rendering;
    } else {
      EXPECT_EQ(rendering, each["expected_python"].get<std::string>());
    }
  }
}

}  // namespace
}  // namespace sluice
