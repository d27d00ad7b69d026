// What a chat template can express, found out by asking it: small conversations are rendered with marked
// words in them, and a feature is there if its word comes out.
#include <nlohmann/json.hpp>

#include "sluice/error.h"
#include "text/chat_template.h"

namespace sluice {
namespace {

using Json = nlohmann::ordered_json;

// Words that no template prints by itself.
constexpr char kSystem[] = "zsystemz";
constexpr char kUser[] = "zuserz";
constexpr char kTool[] = "ztoolz";
constexpr char kOtherTool[] = "zothertoolz";
constexpr char kArgument[] = "zargumentz";
constexpr char kResult[] = "zresultz";
constexpr char kReasoning[] = "zreasoningz";

Json message(const char* role, Json content) { return {{"role", role}, {"content", std::move(content)}}; }

Json typed(const char* text) { return Json::array({{{"type", "text"}, {"text", text}}}); }

Json tool_call(const char* id, const char* name, Json arguments) {
  return {
      {"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", std::move(arguments)}}}};
}

Json tool_result(const char* id, const char* name) {
  return {{"role", "tool"}, {"tool_call_id", id}, {"name", name}, {"content", kResult}};
}

Json tool_definition() {
  const Json parameters = {{"type", "object"},
                           {"properties", {{kArgument, {{"type", "string"}, {"description", "text"}}}}},
                           {"required", Json::array({kArgument})}};
  return {{"type", "function"},
          {"function", {{"name", kTool}, {"description", "does it"}, {"parameters", parameters}}}};
}

// A user's turn that is answered by calls and their results.
Json tool_conversation(Json calls) {
  Json messages = Json::array({message("user", kUser)});
  Json answer = message("assistant", "");
  answer["tool_calls"] = calls;
  messages.push_back(std::move(answer));
  for (const Json& call : calls) {
    const auto id = call["id"].get<std::string>(), name = call["function"]["name"].get<std::string>();
    messages.push_back(tool_result(id.c_str(), name.c_str()));
  }
  return messages;
}

class Rendering {
 public:
  Rendering(const ChatTemplate& chat_template, Json messages, Json extra = Json::object()) {
    Json context = {{"messages", std::move(messages)}, {"bos_token", ""}, {"eos_token", ""}};
    context["add_generation_prompt"] = false;
    context.update(extra);
    RenderOptions options;
    options.now = 0;
    try {
      text_ = chat_template.render(context, options);
    } catch (const Error&) {  // a template that refuses does not support what it was asked
    }
  }

  const std::string& text() const { return text_; }
  bool has(std::string_view word) const { return text_.find(word) != std::string::npos; }

 private:
  std::string text_;
};

}  // namespace

ChatTemplateCaps probe_caps(const ChatTemplate& chat_template) {
  ChatTemplateCaps caps;
  const auto render = [&](Json messages, Json extra = Json::object()) {
    return Rendering(chat_template, std::move(messages), std::move(extra));
  };
  const Json user = Json::array({message("user", kUser)});

  const Rendering plain = render(user);
  const Rendering parts = render(Json::array({message("user", typed(kUser))}));
  // A template that does not know parts prints the whole list.
  caps.supports_typed_content = parts.has(kUser) && !parts.has("'text'") && !parts.has("\"text\"");
  caps.requires_typed_content = caps.supports_typed_content && !plain.has(kUser);
  const auto content = [&](const char* text) {
    return caps.requires_typed_content ? typed(text) : Json(text);
  };
  const Json question = Json::array({message("user", content(kUser))});

  const Json with_system =
      Json::array({message("system", content(kSystem)), message("user", content(kUser))});
  caps.supports_system_role = render(with_system).has(kSystem);
  caps.supports_tools = render(question, {{"tools", Json::array({tool_definition()})}}).has(kTool);
  caps.adds_generation_prompt =
      render(question, {{"add_generation_prompt", true}}).text() != render(question).text();

  Json thought = message("assistant", content("answer"));
  thought["reasoning_content"] = kReasoning;
  caps.supports_reasoning_content = render(Json::array({question[0], thought})).has(kReasoning);

  const Json arguments = {{kArgument, "value"}};
  const Json objects = Json::array({tool_call("call00001", kTool, arguments)});
  const Json texts = Json::array({tool_call("call00001", kTool, arguments.dump())});
  const Rendering by_object = render(tool_conversation(objects));
  const Rendering by_text = render(tool_conversation(texts));
  const bool text_survives = by_text.has(kTool) && by_text.has(kArgument) && !by_text.has("\\\"zargumentz");
  caps.supports_tool_calls = (by_object.has(kTool) && by_object.has(kArgument)) || text_survives;
  caps.requires_object_arguments = caps.supports_tool_calls && !text_survives;

  const Json& usable = caps.requires_object_arguments ? objects : texts;
  caps.supports_tool_responses = render(tool_conversation(usable)).has(kResult);
  Json two_calls = usable;
  two_calls.push_back(tool_call("call00002", kOtherTool, usable[0]["function"]["arguments"]));
  const Rendering parallel = render(tool_conversation(two_calls));
  caps.supports_parallel_tool_calls =
      caps.supports_tool_calls && parallel.has(kTool) && parallel.has(kOtherTool);
  return caps;
}

}  // namespace sluice
