// Real templates against renderings by Python jinja2 (and, where it agrees with it, huggingface.js).
#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

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

TEST(ChatTemplate, ParsesAndProbesEveryTemplate) {
  SLUICE_REQUIRE_SHARED();
  int n_files = 0, n_tools = 0, n_system = 0;
  for (const char* directory : {"llama.cpp-templates", "mistral-templates", "ollama-renderers"}) {
    for (const auto& entry :
         std::filesystem::directory_iterator(test::shared_path("data/chat/") + directory)) {
      if (entry.path().extension().string().rfind(".jinja", 0) != 0) continue;
      SCOPED_TRACE(entry.path().string());
      const ChatTemplateCaps caps = probe_caps(ChatTemplate(test::read_file(entry.path().string())));
      n_tools += caps.supports_tools;
      n_system += caps.supports_system_role;
      ++n_files;
    }
  }
  EXPECT_EQ(n_files, 105);
  EXPECT_GT(n_tools, 60);
  EXPECT_GT(n_system, 80);
}

ChatTemplateCaps caps_of(const std::string& file) {
  return probe_caps(
      ChatTemplate(test::read_file(test::shared_path("data/chat/llama.cpp-templates/" + file)), file));
}

TEST(ChatTemplate, CapsOfKnownModels) {
  SLUICE_REQUIRE_SHARED();
  const ChatTemplateCaps qwen3 = caps_of("Qwen-Qwen3-0.6B.jinja");
  EXPECT_TRUE(qwen3.supports_system_role && qwen3.supports_tools && qwen3.supports_tool_calls);
  EXPECT_TRUE(qwen3.supports_parallel_tool_calls && qwen3.supports_tool_responses);
  EXPECT_TRUE(qwen3.supports_reasoning_content && qwen3.adds_generation_prompt);
  EXPECT_FALSE(qwen3.requires_object_arguments || qwen3.requires_typed_content);

  const ChatTemplateCaps gemma2 = caps_of("google-gemma-2-2b-it.jinja");
  EXPECT_FALSE(gemma2.supports_system_role || gemma2.supports_tools || gemma2.supports_tool_calls);
  EXPECT_TRUE(gemma2.adds_generation_prompt);

  const ChatTemplateCaps coder = caps_of("Qwen3-Coder.jinja");
  EXPECT_TRUE(coder.supports_tool_calls && coder.requires_object_arguments);
}

TEST(ChatTemplate, CapsOfSmallTemplates) {
  const ChatTemplateCaps bare =
      probe_caps(ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}"));
  EXPECT_TRUE(bare.supports_system_role);
  EXPECT_FALSE(bare.supports_typed_content || bare.supports_tools || bare.supports_tool_calls ||
               bare.adds_generation_prompt);

  const ChatTemplateCaps typed = probe_caps(
      ChatTemplate("{% for m in messages if m.role == 'user' %}{{ m.content[0].text }}{% endfor %}"));
  EXPECT_TRUE(typed.requires_typed_content && typed.supports_typed_content);
  EXPECT_FALSE(typed.supports_system_role);

  const ChatTemplateCaps none = probe_caps(ChatTemplate("{{ raise_exception('no') }}"));
  EXPECT_FALSE(none.supports_system_role || none.supports_typed_content || none.requires_typed_content);
}

TEST(ChatTemplate, ParsesNow) {
  EXPECT_EQ(parse_now("2025-07-10T12:00:00"), 1'752'148'800);
  EXPECT_EQ(parse_now("2025-07-10"), 1'752'148'800 - 12 * 3600);
  EXPECT_EQ(parse_now("1970-01-01 00:00"), 0);
  for (const char* bad : {"", "now", "2025", "2025-02-30", "2025-07-10T25:00:00", "2025-07-10T12:00:00Z",
                          "2025-7-10", "2025-07-10T12"}) {
    EXPECT_THROW(parse_now(bad), Error) << bad;
  }
  EXPECT_EQ(ChatTemplate("{{ strftime_now('%d %B %Y %H:%M') }}").render(Json::object(), at_noon()),
            "10 July 2025 12:00");
}

TEST(ChatTemplate, RendersOnManyThreads) {
  const ChatTemplate chat_template("{% for m in messages %}{{ loop.index }}{{ m | upper }}{% endfor %}");
  const Json context = {{"messages", {"a", "b", "c"}}};
  std::vector<std::string> renderings(4);
  std::vector<std::thread> threads;
  for (std::string& rendering : renderings) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) rendering = chat_template.render(context);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& rendering : renderings) EXPECT_EQ(rendering, "1A2B3C");
}

}  // namespace
}  // namespace sluice
