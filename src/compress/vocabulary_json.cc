#include "compress/vocabulary_json.h"

#include "base/error.h"

namespace sluice {

void throw_not_for_gguf(const std::string& where, const std::string& why) {
  throw_error(ErrorKind::kUnsupported,
              "%s: this tokenizer cannot be put into a GGUF file: %s; write a Hugging Face directory, or "
              "compress a copy without tokenizer files",
              where.c_str(), printable(why).c_str());
}

std::string json_text(const ReadJson& object, const char* key, const char* otherwise,
                      const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return otherwise;
  if (!found->is_string()) throw_not_for_gguf(where, std::string("field ") + key + " is not a string");
  return found->get<std::string>();
}

bool json_flag(const ReadJson& object, const char* key, bool otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() ? found->get<bool>() : otherwise;
}

std::string json_merge(const ReadJson& merge, const std::string& where) {
  if (merge.is_string()) return merge.get<std::string>();
  if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string())
    throw_not_for_gguf(where, "a merge is malformed");
  return merge[0].get<std::string>() + " " + merge[1].get<std::string>();
}

Json added_token(size_t id, const std::string& content, bool special) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

Json template_processing(const std::optional<NamedToken>& before, const std::optional<NamedToken>& after) {
  if (!before && !after) return nullptr;
  const auto item = [](const char* kind, const std::string& id, int type) {
    return Json{{kind, {{"id", id}, {"type_id", type}}}};
  };
  Json single = Json::array(), pair = Json::array(), tokens = Json::object();
  const auto add_text = [&](Json& list, const char* name, int type) {
    if (before) list.push_back(item("SpecialToken", before->text, type));
    list.push_back(item("Sequence", name, type));
    if (after) list.push_back(item("SpecialToken", after->text, type));
  };
  add_text(single, "A", 0);
  add_text(pair, "A", 0);
  add_text(pair, "B", 1);
  for (const auto& token : {before, after}) {
    if (token)
      tokens[token->text] = {
          {"id", token->text}, {"ids", Json::array({token->id})}, {"tokens", Json::array({token->text})}};
  }
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

}  // namespace sluice
