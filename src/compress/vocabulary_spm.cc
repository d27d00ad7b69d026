#include "compress/vocabulary_spm.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"

namespace sluice {
namespace {

constexpr size_t kMaxTokenBytes = 4096;     // every place of a token is tried as the end of a half
const std::string kBlank = "\xe2\x96\x81";  // U+2581, which stands for a space

// Two tokens that join to a third.
struct Join {
  int32_t left = 0, right = 0, joined = 0;
};

// Bytes of the left and right token.
std::pair<size_t, size_t> halves(const std::vector<std::string>& tokens, const Join& join) {
  return {tokens[static_cast<size_t>(join.left)].size(), tokens[static_cast<size_t>(join.right)].size()};
}

size_t character_bytes(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// What a vocabulary with scores may join: every two tokens whose texts together are a token, and characters
// without a token as well, which merges cannot say: `refuse` is called for those.
template <class Refuse>
std::vector<Join> possible_joins(const std::vector<std::string>& tokens, const std::vector<int64_t>& types,
                                 const Refuse& refuse) {
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (types[i] == kNormal && !ids.emplace(tokens[i], static_cast<int32_t>(i)).second)
      refuse("the token '" + tokens[i] + "' is there twice");
  }
  std::vector<Join> joins;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (types[i] != kNormal || tokens[i].empty()) continue;
    const std::string_view text = tokens[i];
    if (text.size() > kMaxTokenBytes) refuse("a token has " + std::to_string(text.size()) + " bytes");
    for (size_t at = 0; (at += character_bytes(text[at])) < text.size();) {
      const std::string_view halves[] = {text.substr(0, at), text.substr(at)};
      int32_t half_ids[2];
      bool both = true, lone = false;
      for (int h = 0; h < 2; ++h) {
        const auto found = ids.find(halves[h]);
        half_ids[h] = found == ids.end() ? -1 : found->second;
        const bool character = character_bytes(halves[h][0]) >= halves[h].size();
        both = both && (half_ids[h] >= 0 || character);
        lone = lone || half_ids[h] < 0;
      }
      if (both && lone) refuse("'" + tokens[i] + "' has a character that is no token");
      if (both) joins.push_back({half_ids[0], half_ids[1], static_cast<int32_t>(i)});
    }
  }
  return joins;
}

struct Pieces {
  std::vector<std::string> tokens;  // [n_tokens]
  std::vector<int64_t> types;       // [n_tokens]
  std::vector<double> scores;       // [n_tokens]
};

// The lengths that a run of n equal characters falls into, best score first; of equal scores the leftmost
// pair, as scores have it, or the one with the longest left part (then right part), as merges have it.
std::vector<size_t> join_run(const std::map<size_t, double>& scores, size_t n, bool leftmost) {
  using Key = std::tuple<double, size_t, size_t>;
  std::vector<size_t> parts(n, 1);
  for (;;) {
    Key best = {};
    size_t best_at = n;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = scores.find(parts[i] + parts[i + 1]);
      if (found == scores.end()) continue;
      const Key key = {found->second, leftmost ? 0 : parts[i], leftmost ? 0 : parts[i + 1]};
      if (best_at == n || key > best) best = key, best_at = i;
    }
    if (best_at == n) return parts;
    parts[best_at] += parts[best_at + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(best_at) + 1);
  }
}

// Several tokens may have one score, which joins the leftmost pair first, or merges that stand among each
// other, those with longer left parts first. The two come to the same for runs of one character, as of blanks
// in Llama's vocabulary, if no other token holds such a run. Calls `refuse` where that is not so.
template <class Refuse>
void check_tied(const Pieces& p, const std::vector<int32_t>& tied, const Refuse& refuse) {
  const std::string& one = p.tokens[static_cast<size_t>(tied[0])];
  const std::string& other = p.tokens[static_cast<size_t>(tied[1])];
  const std::string character = one.substr(0, character_bytes(one[0]));
  std::map<size_t, double> scores;  // of all runs of the character, by length
  for (size_t i = 0; i < p.tokens.size(); ++i) {
    if (p.types[i] != kNormal || p.tokens[i].find(character + character) == std::string::npos) continue;
    const size_t n = p.tokens[i].size() / character.size();
    std::string run;
    while (run.size() < p.tokens[i].size()) run += character;
    if (run != p.tokens[i]) refuse("'" + p.tokens[i] + "' and '" + one + "' may compete");
    scores[n] = p.scores[i];
  }
  const bool all_runs = std::all_of(tied.begin(), tied.end(), [&](int32_t id) {
    const std::string& token = p.tokens[static_cast<size_t>(id)];
    return token.starts_with(character + character) && scores.contains(token.size() / character.size());
  });
  bool agree = all_runs && scores.rbegin()->first <= 256;
  for (size_t n = 2; agree && n <= 2 * scores.rbegin()->first + 1; ++n)
    agree = join_run(scores, n, true) == join_run(scores, n, false);
  if (!agree) refuse("'" + one + "' and '" + other + "' join in an order that only one format knows");
}

bool is_byte_token(const std::string& token) {
  return token.size() == 6 && token.compare(0, 3, "<0x") == 0 && token[5] == '>';
}

void write_pieces(GgufWriter& writer, Pieces pieces, bool space_prefix, const Tokenizer& tokenizer,
                  int64_t n_tokens, const std::string& where) {
  if (tokenizer.vocab_size() > static_cast<size_t>(n_tokens)) {
    throw_error(ErrorKind::kCorrupt, "%s: %zu tokens; the model has %lld", where.c_str(),
                tokenizer.vocab_size(), static_cast<long long>(n_tokens));
  }
  const auto n = static_cast<size_t>(n_tokens);
  pieces.tokens.resize(n);
  pieces.types.resize(n, kUnused);
  pieces.scores.resize(n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    if (pieces.types[i] != kUnused) continue;
    const auto id = static_cast<int32_t>(i);
    pieces.tokens[i] = tokenizer.token_text(id);  // one that tokenizer_config.json adds
    if (pieces.tokens[i].empty())
      pieces.tokens[i] = format_string("[PAD%zu]", i);
    else
      pieces.types[i] = tokenizer.is_special(id) ? kControl : kUser;
  }
  writer.add("tokenizer.ggml.model", GgufType::kString, std::string("llama"));
  writer.add("tokenizer.ggml.pre", GgufType::kString, std::string("default"));
  writer.add("tokenizer.ggml.tokens", GgufType::kString, pieces.tokens);
  writer.add("tokenizer.ggml.scores", GgufType::kF32, pieces.scores);
  writer.add("tokenizer.ggml.token_type", GgufType::kI32, pieces.types);
  writer.add("tokenizer.ggml.add_space_prefix", GgufType::kBool, space_prefix);
}

// ---- tokenizer.json

class SpmJson {
 public:
  SpmJson(const ReadJson& json, const std::string& where)
      : json_(json), model_(json.at("model")), where_(where) {
    if (json_flag(model_, "ignore_merges", false)) refuse("it ignores its merges");
    if (const auto step = json.find("normalizer"); step != json.end() && !step->is_null())
      read_normalizer(*step, 0);
    if (const auto step = json.find("pre_tokenizer"); step != json.end() && !step->is_null())
      read_metaspace(*step);
    if (!marks_blanks_) refuse("it does not write spaces as U+2581");
  }

  bool space_prefix() const { return space_prefix_; }

  Pieces pieces(int64_t n_tokens) const {
    Pieces p;
    p.tokens.resize(static_cast<size_t>(n_tokens));
    p.types.resize(static_cast<size_t>(n_tokens), kUnused);
    const auto put = [&](const std::string& token, const ReadJson& id, TokenType type) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(n_tokens)) {
        throw_error(ErrorKind::kCorrupt, "%s: token '%s' has id %s; the model has %lld tokens",
                    where_.c_str(), printable(token).c_str(), printable(id.dump()).c_str(),
                    static_cast<long long>(n_tokens));
      }
      p.tokens[id.get<size_t>()] = token;
      p.types[id.get<size_t>()] = type;
    };
    const auto vocab = model_.find("vocab");
    if (vocab == model_.end() || !vocab->is_object()) refuse("it has no vocabulary");
    for (const auto& [token, id] : vocab->items()) put(token, id, is_byte_token(token) ? kByte : kNormal);
    const std::string unknown = json_text(model_, "unk_token", "", where_);
    if (const auto added = json_.find("added_tokens"); added != json_.end() && added->is_array()) {
      for (const ReadJson& token : *added) {
        if (!token.is_object()) refuse("an added token is no object");
        const std::string content = json_text(token, "content", "", where_);
        const bool special = json_flag(token, "special", false);
        put(content, token.value("id", ReadJson()),
            content == unknown ? kUnknown
            : special          ? kControl
                               : kUser);
      }
    }
    score(p);
    return p;
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const { throw_not_for_gguf(where_, why); }

  // Prepend and Replace, as Llama's files have them.
  void read_normalizer(const ReadJson& step, int depth) {
    if (depth > 8 || !step.is_object()) refuse("its normalizer is malformed");
    const std::string type = json_text(step, "type", "", where_);
    if (type == "Sequence") {
      const auto steps = step.find("normalizers");
      if (steps == step.end() || !steps->is_array()) refuse("its normalizer is malformed");
      for (const ReadJson& inner : *steps) read_normalizer(inner, depth + 1);
    } else if (type == "Prepend" && json_text(step, "prepend", "", where_) == kBlank) {
      space_prefix_ = true;
    } else if (type == "Replace" && step.value("pattern", ReadJson()) == ReadJson{{"String", " "}} &&
               json_text(step, "content", "", where_) == kBlank) {
      marks_blanks_ = true;
    } else {
      refuse("its normalizer has a step " + type + " that has no equivalent");
    }
  }

  // Newer files leave blanks to the pre-tokenizer. "first" and "always" differ only behind a control token
  // inside a text, where GGUF's readers add a blank.
  void read_metaspace(const ReadJson& step) {
    if (!step.is_object() || json_text(step, "type", "", where_) != "Metaspace" ||
        json_text(step, "replacement", kBlank.c_str(), where_) != kBlank || json_flag(step, "split", true)) {
      refuse("its pre-tokenizer has no equivalent");
    }
    marks_blanks_ = true;
    const char* otherwise = json_flag(step, "add_prefix_space", true) ? "always" : "never";
    space_prefix_ = space_prefix_ || json_text(step, "prepend_scheme", otherwise, where_) != "never";
  }

  // Scores that order the tokens as the merges do.
  void score(Pieces& p) const {
    std::unordered_map<std::string, size_t> ranks;
    const auto list = model_.find("merges");
    if (list == model_.end() || !list->is_array()) refuse("it has no merges");
    for (const ReadJson& merge : *list) ranks.emplace(json_merge(merge, where_), ranks.size());
    const auto joins = possible_joins(p.tokens, p.types, [this](const std::string& why) { refuse(why); });
    struct Ranked {
      size_t rank;
      const Join* join;
    };
    std::vector<Ranked> ranked;
    std::vector<size_t> last(p.tokens.size());  // [n_tokens], the last of each token's merges
    for (const Join& join : joins) {
      const auto& left = p.tokens[static_cast<size_t>(join.left)];
      const auto& right = p.tokens[static_cast<size_t>(join.right)];
      const auto found = ranks.find(left + " " + right);
      if (found == ranks.end()) refuse("its merges leave out '" + left + "' + '" + right + "'");
      ranked.push_back({found->second, &join});
      auto& at = last[static_cast<size_t>(join.joined)];
      at = std::max(at, found->second);
    }
    if (ranked.size() != ranks.size()) refuse("some of its merges are not of plain tokens");
    std::sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) { return a.rank < b.rank; });
    p.scores.assign(p.tokens.size(), -static_cast<double>(p.tokens.size()));  // of what nothing joins to
    double next = 0;
    std::vector<std::vector<int32_t>> clusters;
    for (size_t begin = 0; begin < ranked.size();) {
      // From here to where all tokens that are met have had their last merge.
      size_t end = begin;
      std::vector<int32_t> tied;
      for (size_t until = begin; end <= until; ++end) {
        const int32_t joined = ranked[end].join->joined;
        until = std::max(until, last[static_cast<size_t>(joined)]);
        if (std::find(tied.begin(), tied.end(), joined) == tied.end()) tied.push_back(joined);
      }
      for (size_t i = begin + 1; tied.size() > 1 && i < end; ++i) {
        if (halves(p.tokens, *ranked[i].join) > halves(p.tokens, *ranked[i - 1].join))
          refuse("merges of '" + p.tokens[static_cast<size_t>(tied[0])] + "' stand among others");
      }
      for (const int32_t token : tied) p.scores[static_cast<size_t>(token)] = next;
      --next;
      begin = end;
      if (tied.size() > 1) clusters.push_back(std::move(tied));
    }
    for (const auto& tied : clusters) check_tied(p, tied, [this](const std::string& why) { refuse(why); });
  }

  const ReadJson& json_;
  const ReadJson& model_;
  const std::string& where_;
  bool marks_blanks_ = false, space_prefix_ = false;
};

}  // namespace

bool is_spm_json(const ReadJson& json) {
  const auto model = json.find("model");
  return model != json.end() && model->is_object() && model->value("type", ReadJson("BPE")) == "BPE" &&
         json_flag(*model, "byte_fallback", false);
}

void add_spm_json(GgufWriter& writer, const ReadJson& json, const Tokenizer& tokenizer, int64_t n_tokens,
                  const std::string& where) {
  const SpmJson source(json, where);
  write_pieces(writer, source.pieces(n_tokens), source.space_prefix(), tokenizer, n_tokens, where);
}

void add_spm_model(GgufWriter& writer, std::string_view bytes, const Tokenizer& tokenizer, int64_t n_tokens,
                   const std::string& where) {
  const GgufVocabulary v = sentencepiece_vocabulary(bytes, where);
  if (v.model != "llama") throw_not_for_gguf(where, "it is a Unigram model, not BPE");
  if (!v.charsmap.empty()) throw_not_for_gguf(where, "it normalizes characters");
  if (v.remove_extra_whitespaces.value_or(false)) throw_not_for_gguf(where, "it drops spaces");
  Pieces pieces{v.tokens, {v.types.begin(), v.types.end()}, {v.scores.begin(), v.scores.end()}};
  write_pieces(writer, std::move(pieces), v.add_space_prefix.value_or(true), tokenizer, n_tokens, where);
}

Json spm_tokenizer_json(const GgufVocabulary& v, const Tokenizer& tokenizer, const std::string& where) {
  const auto refuse = [&where](const std::string& why) {
    throw_error(ErrorKind::kUnsupported,
                "%s: this tokenizer cannot be put into tokenizer.json: %s; write a .gguf", where.c_str(),
                printable(why).c_str());
  };
  if (!v.charsmap.empty()) refuse("it normalizes characters");
  if (v.remove_extra_whitespaces.value_or(false)) refuse("it drops spaces");
  if (v.scores.empty()) refuse("it has no scores");
  Pieces p{v.tokens, {v.types.begin(), v.types.end()}, {v.scores.begin(), v.scores.end()}};
  p.types.resize(p.tokens.size(), kNormal);

  Json vocab = Json::object(), added = Json::array(), merges = Json::array();
  auto& entries = vocab.get_ref<Json::object_t&>();  // pushed back: insertion by key would search the list
  size_t n_bytes = 0;
  for (size_t i = 0; i < p.tokens.size(); ++i) {
    if (p.types[i] == kUnused || p.types[i] == 0) continue;
    entries.push_back(Json::object_t::value_type(p.tokens[i], i));
    n_bytes += is_byte_token(p.tokens[i]);
    if (p.types[i] == kUnknown || p.types[i] == kControl || p.types[i] == kUser)
      added.push_back(added_token(i, p.tokens[i], p.types[i] != kUser));
  }

  std::vector<Join> joins = possible_joins(p.tokens, p.types, refuse);
  const auto score = [&p](const Join& join) { return p.scores[static_cast<size_t>(join.joined)]; };
  std::sort(joins.begin(), joins.end(), [&](const Join& a, const Join& b) {
    if (score(a) != score(b)) return score(a) > score(b);
    const auto left = halves(p.tokens, a), right = halves(p.tokens, b);
    return left != right ? left > right : a.joined < b.joined;
  });
  for (size_t begin = 0, end = 0; begin < joins.size(); begin = end) {
    std::set<int32_t> tied;
    for (; end < joins.size() && score(joins[end]) == score(joins[begin]); ++end)
      tied.insert(joins[end].joined);
    if (tied.size() > 1) check_tied(p, {tied.begin(), tied.end()}, refuse);
  }
  for (const Join& join : joins)
    merges.push_back({p.tokens[static_cast<size_t>(join.left)], p.tokens[static_cast<size_t>(join.right)]});

  const bool space_prefix = v.add_space_prefix.value_or(true);
  const auto replace = [](const std::string& from, const std::string& to) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  Json normalizers = Json::array(), decoders = Json::array();
  if (space_prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", kBlank}});
  normalizers.push_back(replace(" ", kBlank));
  decoders.push_back(replace(kBlank, " "));
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (space_prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});

  const auto named = [&](const std::optional<int32_t>& id) {
    return id ? std::optional(NamedToken{std::string(tokenizer.token_text(*id)), *id}) : std::nullopt;
  };
  const std::optional<NamedToken> unknown = named(tokenizer.unk());
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", {{"type", "Sequence"}, {"normalizers", normalizers}}},
          {"pre_tokenizer", nullptr},
          {"post_processor",
           template_processing(tokenizer.adds_bos() ? named(tokenizer.bos()) : std::nullopt,
                               v.add_eos.value_or(false) ? named(tokenizer.eos()) : std::nullopt)},
          {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", unknown ? Json(unknown->text) : Json()},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", n_bytes > 0},
            {"ignore_merges", false},
            {"vocab", vocab},
            {"merges", merges}}}};
}

}  // namespace sluice
