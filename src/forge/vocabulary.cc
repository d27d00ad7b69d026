#include "forge/vocabulary.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"

namespace sluice {
namespace {

constexpr int64_t kUnknown = 0, kBos = 1, kEos = 2, kFirstByte = 3, kFirstWord = 3 + 256;
const std::string kBlank = "\xe2\x96\x81";  // U+2581, SentencePiece's space

// "ba", "be", ... then two syllables, and so on: the number in base 85.
std::string word(int64_t number) {
  static constexpr char kConsonants[] = "bcdfghjklmnprstvz", kVowels[] = "aeiou";
  std::string text;
  for (int64_t rest = number; text.empty() || rest > 0; rest /= 85) {
    text += kConsonants[rest % 85 / 5];
    text += kVowels[rest % 5];
  }
  return text;
}

// Unknown, BOS, EOS, 256 bytes, blank, printable ASCII, then words with a blank before them.
std::vector<std::string> tokens(int64_t size) {
  std::vector<std::string> list = {"<unk>", "<s>", "</s>"};
  for (int b = 0; b < 256; ++b) list.push_back(format_string("<0x%02X>", b));
  list.push_back(kBlank);
  for (char c = '!'; c <= '~'; ++c) list.emplace_back(1, c);
  for (int64_t i = 0; static_cast<int64_t>(list.size()) < size; ++i) list.push_back(kBlank + word(i));
  list.resize(static_cast<size_t>(size));
  return list;
}

}  // namespace

void add_vocabulary(GgufWriter& writer, int64_t size) {
  const auto n = static_cast<size_t>(size);
  std::vector<double> scores(n);
  std::vector<int64_t> types(n, 1);  // normal
  for (size_t i = 0; i < n; ++i) {
    scores[i] = -static_cast<double>(i);
    if (i == kUnknown) types[i] = 2;
    if (i == kBos || i == kEos) types[i] = 3;                             // control
    if (i >= size_t{kFirstByte} && i < size_t{kFirstWord}) types[i] = 6;  // byte
  }
  writer.add("tokenizer.ggml.model", GgufType::kString, std::string("llama"));
  writer.add("tokenizer.ggml.pre", GgufType::kString, std::string("default"));
  writer.add("tokenizer.ggml.tokens", GgufType::kString, tokens(size));
  writer.add("tokenizer.ggml.scores", GgufType::kF32, scores);
  writer.add("tokenizer.ggml.token_type", GgufType::kI32, types);
  writer.add("tokenizer.ggml.unknown_token_id", GgufType::kU32, kUnknown);
  writer.add("tokenizer.ggml.bos_token_id", GgufType::kU32, kBos);
  writer.add("tokenizer.ggml.eos_token_id", GgufType::kU32, kEos);
  writer.add("tokenizer.ggml.add_bos_token", GgufType::kBool, true);
  writer.add("tokenizer.ggml.add_eos_token", GgufType::kBool, false);
}

std::string vocabulary_json(int64_t size) {
  nlohmann::ordered_json vocab = nlohmann::ordered_json::object();
  auto& entries =
      vocab.get_ref<nlohmann::ordered_json::object_t&>();  // insertion by key would search the list
  int64_t id = 0;
  for (const std::string& token : tokens(size)) entries.emplace_back(token, id++);
  nlohmann::ordered_json added = nlohmann::ordered_json::array();
  for (const auto& [special, text] : {std::pair{kUnknown, "<unk>"}, {kBos, "<s>"}, {kEos, "</s>"}}) {
    added.push_back({{"id", special},
                     {"content", text},
                     {"special", true},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false}});
  }
  const nlohmann::ordered_json blank_for_space = {
      {"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kBlank}};
  const nlohmann::ordered_json space_for_blank = {
      {"type", "Replace"}, {"pattern", {{"String", kBlank}}}, {"content", " "}};
  const nlohmann::ordered_json json = {
      {"version", "1.0"},
      {"added_tokens", added},
      {"normalizer", blank_for_space},
      {"pre_tokenizer", nullptr},
      {"post_processor", nullptr},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders", {space_for_blank, {{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"vocab", vocab},
        {"merges", nlohmann::ordered_json::array()}}}};
  return json.dump();
}

}  // namespace sluice
