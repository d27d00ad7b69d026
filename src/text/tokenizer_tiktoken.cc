// Loads tiktoken rank files (https://github.com/openai/tiktoken): "<base64 of the bytes> <rank>" on each
// line. The rank is the id, and two tokens join when their bytes together are a token, lowest rank first.
#include <algorithm>
#include <charconv>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/tokenizer_base64.h"
#include "text/tokenizer_loaders.h"
#include "text/tokenizer_parts.h"

namespace sluice {
namespace {

[[noreturn]] void throw_line(const std::string& where, size_t line, const char* what) {
  throw_error(ErrorKind::kCorrupt, "%s:%zu: %s; expected \"<base64> <rank>\"", where.c_str(), line, what);
}

// What a line says.
struct RankLine {
  std::string bytes;
  int32_t rank = -1;
};

RankLine parse_line(std::string_view line, const std::string& where, size_t number) {
  RankLine result;
  const size_t blank = line.find(' ');
  if (blank == line.npos || blank == 0) throw_line(where, number, "no rank");
  if (!append_base64(line.substr(0, blank), &result.bytes)) throw_line(where, number, "not base64");
  const std::string_view rank = line.substr(blank + 1);
  const auto [end, error] = std::from_chars(rank.data(), rank.data() + rank.size(), result.rank);
  if (error != std::errc() || end != rank.data() + rank.size())
    throw_line(where, number, "the rank is no number");
  return result;
}

}  // namespace

bool looks_like_rank_file(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, bytes.find('\n'));
  const size_t blank = line.find(' ');
  std::string ignored;
  return blank != line.npos && blank > 0 && append_base64(line.substr(0, blank), &ignored) &&
         line.substr(blank + 1).find_first_not_of("0123456789\r") == line.npos;
}

std::unique_ptr<TokenizerParts> make_tiktoken_parts(std::string_view bytes, std::string_view pattern,
                                                    const std::map<std::string, int32_t>& specials,
                                                    const std::string& where) {
  auto parts = std::make_unique<TokenizerParts>();
  if (!add_named_pretokenizer(pattern, &parts->pretokenizer)) {
    throw_error(ErrorKind::kUnsupported, "%s: pre-tokenizer \"%s\" is not known", where.c_str(),
                printable(pattern).c_str());
  }
  parts->vocabulary.reserve(bytes.size() / 16, bytes.size() / 2);
  size_t number = 1;
  for (std::string_view rest = bytes; !rest.empty(); ++number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const RankLine token = parse_line(line, where, number);
    if (token.rank < 0 || token.rank > Vocabulary::kMaxId)
      throw_line(where, number, "the rank is out of range");
    if (parts->vocabulary.kind(token.rank) != TokenKind::kMissing)
      throw_line(where, number, "the rank is taken");
    parts->vocabulary.add(token.rank, token.bytes, TokenKind::kNormal);
  }
  if (parts->vocabulary.size() == 0) throw_error(ErrorKind::kCorrupt, "%s: no tokens", where.c_str());
  for (const auto& [name, id] : specials) {
    AddedToken token;
    token.content = name;
    token.id = id;
    token.special = true;
    add_token(std::move(token), where, parts.get());
  }
  Bpe::Options options;
  options.byte_level = true;
  options.ignore_merges = true;
  std::vector<uint32_t> ranks(parts->vocabulary.size());
  std::iota(ranks.begin(), ranks.end(), 0u);
  parts->model.emplace<Bpe>(parts->vocabulary, options, std::move(ranks));
  const auto id_of = [&](const char* name) {
    const auto it = specials.find(name);
    return it == specials.end() ? std::nullopt : std::optional(it->second);
  };
  parts->bos = id_of("<|begin_of_text|>");
  parts->eos = id_of("<|end_of_text|>");
  if (!parts->eos) parts->eos = id_of("<|endoftext|>");
  if (parts->bos) parts->prefix.push_back(*parts->bos);
  return parts;
}

std::unique_ptr<TokenizerParts> make_llama_tiktoken_parts(std::string_view bytes, const std::string& where) {
  constexpr int32_t kLlama4Ranks = 200000;
  const auto n_ranks =
      static_cast<int32_t>(std::count(bytes.begin(), bytes.end(), '\n')) + !bytes.ends_with('\n');
  std::map<std::string, int32_t> specials;
  if (n_ranks < kLlama4Ranks) {
    const char* const names[] = {"<|begin_of_text|>",
                                 "<|end_of_text|>",
                                 "<|reserved_special_token_0|>",
                                 "<|reserved_special_token_1|>",
                                 "<|finetune_right_pad_id|>",
                                 "<|reserved_special_token_2|>",
                                 "<|start_header_id|>",
                                 "<|end_header_id|>",
                                 "<|eom_id|>",
                                 "<|eot_id|>",
                                 "<|python_tag|>"};
    int32_t id = n_ranks;
    for (const char* name : names) specials[name] = id++;
    for (int n = 3; id < n_ranks + 256; ++n)
      specials["<|reserved_special_token_" + std::to_string(n) + "|>"] = id++;
    return make_tiktoken_parts(bytes, "llama-bpe", specials, where);
  }
  const char* const names[] = {"<|begin_of_text|>", "<|end_of_text|>",  "<|fim_prefix|>", "<|fim_middle|>",
                               "<|fim_suffix|>",    "<|header_start|>", "<|header_end|>", "<|eom|>",
                               "<|eot|>",           "<|step|>"};
  int32_t id = n_ranks;
  for (const char* name : names) specials[name] = id++;
  return make_tiktoken_parts(bytes, "llama4", specials, where);
}

std::shared_ptr<const Tokenizer> load_tiktoken(std::string_view bytes, std::string_view pattern,
                                               const std::map<std::string, int32_t>& specials,
                                               const std::string& where) {
  auto parts = make_tiktoken_parts(bytes, pattern, specials, where);
  finish_parts(where, parts.get());
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace sluice
