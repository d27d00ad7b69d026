#include "text/tokenizer_json_steps.h"

#include <utility>

#include "base/error.h"
#include "text/tokenizer_base64.h"
#include "text/tokenizer_utf8.h"

namespace sluice {
namespace {

constexpr int kMaxDepth = 8;  // of sequences in sequences

std::string_view type_of(const JsonObject& step) { return json_string(step, "type").value_or(""); }

[[noreturn]] void throw_unsupported(const char* what, std::string_view type) {
  throw_error(ErrorKind::kUnsupported, "tokenizer.json: %s \"%s\" is not supported", what,
              printable(type).c_str());
}

// Calls each(object) for the members of a sequence.
template <typename Each>
void for_each_step(const JsonObject& sequence, std::string_view name, int depth, Each each) {
  if (depth >= kMaxDepth) throw_error(ErrorKind::kUnsupported, "tokenizer.json: sequences nest too deep");
  const auto steps = json_array(sequence, name);
  if (!steps) return;
  for (const auto step : *steps) each(as_json_object(step, name));
}

// {"String": ...} or {"Regex": ...}
Regex parse_pattern(const JsonObject& step) {
  const auto pattern = json_object(step, "pattern");
  if (pattern) {
    if (const auto text = json_string(*pattern, "String")) return Regex(*text, Regex::Syntax::kLiteral);
    if (const auto text = json_string(*pattern, "Regex")) return Regex(*text);
  }
  throw_error(ErrorKind::kCorrupt, "tokenizer.json: %s without a pattern", printable(type_of(step)).c_str());
}

PreTokenizer::Behavior parse_behavior(const JsonObject& step) {
  using Behavior = PreTokenizer::Behavior;
  const std::string_view name = json_string(step, "behavior").value_or("Isolated");
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  throw_unsupported("split behavior", name);
}

PrependScheme parse_prepend_scheme(const JsonObject& step) {
  if (const auto name = json_string(step, "prepend_scheme")) {
    if (*name == "always") return PrependScheme::kAlways;
    if (*name == "first") return PrependScheme::kFirst;
    if (*name == "never") return PrependScheme::kNever;
    throw_unsupported("prepend scheme", *name);
  }
  return json_bool(step, "add_prefix_space").value_or(true) ? PrependScheme::kAlways : PrependScheme::kNever;
}

std::string parse_replacement(const JsonObject& step) {
  const std::string replacement(json_string(step, "replacement").value_or(kSpaceMarker));
  if (replacement.empty())
    throw_error(ErrorKind::kCorrupt, "tokenizer.json: Metaspace without a replacement");
  return replacement;
}

bool mentions_byte_level(const JsonObject& step, int depth) {
  if (type_of(step) == "ByteLevel") return true;
  bool found = false;
  for (const char* name : {"pretokenizers", "normalizers", "decoders"}) {
    for_each_step(step, name, depth,
                  [&](const JsonObject& inner) { found |= mentions_byte_level(inner, depth + 1); });
  }
  return found;
}

}  // namespace

bool json_is_byte_level(const JsonObject& root) {
  for (const char* name : {"pre_tokenizer", "normalizer", "decoder"}) {
    const auto step = json_object(root, name);
    if (step && mentions_byte_level(*step, 0)) return true;
  }
  return false;
}

void add_json_normalizer(const JsonObject& step, int depth, Normalizer* normalizer) {
  const std::string_view type = type_of(step);
  if (type == "Sequence") {
    for_each_step(step, "normalizers", depth,
                  [&](const JsonObject& inner) { add_json_normalizer(inner, depth + 1, normalizer); });
  } else if (type == "NFC") {
    normalizer->add(Normalizer::Form::kNfc);
  } else if (type == "NFD") {
    normalizer->add(Normalizer::Form::kNfd);
  } else if (type == "NFKC") {
    normalizer->add(Normalizer::Form::kNfkc);
  } else if (type == "NFKD") {
    normalizer->add(Normalizer::Form::kNfkd);
  } else if (type == "Lowercase") {
    normalizer->add(Normalizer::Lowercase());
  } else if (type == "StripAccents") {
    normalizer->add(Normalizer::StripAccents());
  } else if (type == "Strip") {
    normalizer->add(Normalizer::Strip{json_bool(step, "strip_left").value_or(true),
                                      json_bool(step, "strip_right").value_or(true)});
  } else if (type == "Prepend") {
    normalizer->add(
        Normalizer::Prepend{std::string(json_string(step, "prepend").value_or("")), PrependScheme::kAlways});
  } else if (type == "Append") {
    normalizer->add(Normalizer::Append{std::string(json_string(step, "append").value_or(""))});
  } else if (type == "Replace") {
    normalizer->add(
        Normalizer::Replace{parse_pattern(step), std::string(json_string(step, "content").value_or(""))});
  } else if (type == "Precompiled") {
    std::string blob;
    if (!append_base64(json_string(step, "precompiled_charsmap").value_or(""), &blob)) {
      throw_error(ErrorKind::kCorrupt, "tokenizer.json: precompiled_charsmap is not base64");
    }
    normalizer->add(Charsmap(blob));
  } else if (type != "ByteLevel") {  // the byte-level alphabet never leaves the file
    throw_unsupported("normalizer", type);
  }
}

void add_json_pretokenizer(const JsonObject& step, int depth, PreTokenizer* pretokenizer) {
  using Behavior = PreTokenizer::Behavior;
  const std::string_view type = type_of(step);
  const auto add_split = [&](std::string_view pattern, Behavior behavior, bool invert = false) {
    pretokenizer->add(PreTokenizer::Split{Regex(pattern), behavior, invert});
  };
  if (type == "Sequence") {
    for_each_step(step, "pretokenizers", depth,
                  [&](const JsonObject& inner) { add_json_pretokenizer(inner, depth + 1, pretokenizer); });
  } else if (type == "Split") {
    pretokenizer->add(PreTokenizer::Split{parse_pattern(step), parse_behavior(step),
                                          json_bool(step, "invert").value_or(false)});
  } else if (type == "ByteLevel") {
    if (json_bool(step, "add_prefix_space").value_or(true)) pretokenizer->add(PreTokenizer::PrefixSpace());
    if (json_bool(step, "use_regex").value_or(true)) add_split(gpt2_pattern(), Behavior::kIsolated);
  } else if (type == "Metaspace") {
    pretokenizer->add(PreTokenizer::Metaspace{parse_replacement(step), parse_prepend_scheme(step),
                                              json_bool(step, "split").value_or(true)});
  } else if (type == "Digits") {
    const bool each = json_bool(step, "individual_digits").value_or(false);
    add_split("\\p{N}", each ? Behavior::kIsolated : Behavior::kContiguous);
  } else if (type == "Punctuation") {
    add_split("[\\p{P}$+<=>^`|~]", parse_behavior(step));
  } else if (type == "Whitespace") {
    add_split("[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}]+|[^\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\s]+",
              Behavior::kRemoved,
              /*invert=*/true);
  } else if (type == "WhitespaceSplit") {
    add_split("\\s", Behavior::kRemoved);
  } else {
    throw_unsupported("pre-tokenizer", type);
  }
}

void add_json_postprocessor(const JsonObject& step, int depth, TokenizerParts* parts) {
  const std::string_view type = type_of(step);
  const auto token_id = [&](std::string_view name) {
    const int32_t id = parts->vocabulary.find(name);
    if (id < 0) {
      throw_error(ErrorKind::kCorrupt, "tokenizer.json: the template names \"%s\", which is no token",
                  printable(name).c_str());
    }
    return id;
  };
  if (type == "Sequence") {
    for_each_step(step, "processors", depth,
                  [&](const JsonObject& inner) { add_json_postprocessor(inner, depth + 1, parts); });
  } else if (type == "TemplateProcessing") {
    bool behind_text = false;
    for_each_step(step, "single", depth, [&](const JsonObject& item) {
      if (json_member(item, "Sequence")) {
        behind_text = true;
      } else if (const auto special = json_object(item, "SpecialToken")) {
        (behind_text ? parts->suffix : parts->prefix)
            .push_back(token_id(json_string(*special, "id").value_or("")));
      }
    });
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    const auto add = [&](const char* name, std::vector<int32_t>* ids) {
      const auto pair = json_array(step, name);
      if (pair && pair->size() > 0) ids->push_back(token_id(as_json_string(*pair->begin(), name)));
    };
    add("cls", &parts->prefix);
    add("sep", &parts->suffix);
  } else if (type != "ByteLevel") {  // that one moves offsets only
    throw_unsupported("post-processor", type);
  }
}

void add_json_decoder(const JsonObject& root, Decoding* decoding) {
  bool fused = false;  // from here on steps see the text, not each token
  const auto add = [&](const JsonObject& step) {
    const std::string_view type = type_of(step);
    if (type == "ByteLevel") return;  // the vocabulary holds bytes already
    if (type == "Fuse") {
      fused = true;
      return;
    }
    decoding->as_written = false;
    if (type == "Replace") {
      const auto pattern = json_object(step, "pattern");
      const auto from = pattern ? json_string(*pattern, "String") : std::nullopt;
      if (!from) throw_unsupported("pattern of decoder", type);
      decoding->replacements.push_back(
          {std::string(*from), std::string(json_string(step, "content").value_or(""))});
    } else if (type == "ByteFallback") {
      decoding->byte_tokens = true;
    } else if (type == "Strip") {
      const int64_t start = json_integer(step, "start").value_or(0);
      if (json_integer(step, "stop").value_or(0) != 0 || json_string(step, "content").value_or(" ") != " " ||
          start < 0 || start > 1) {
        throw_unsupported("decoder with these settings", type);
      }
      (fused ? decoding->strip_first : decoding->strip_each) = start == 1;
    } else if (type == "Metaspace") {
      decoding->replacements.push_back({parse_replacement(step), " "});
      decoding->strip_first = parse_prepend_scheme(step) != PrependScheme::kNever;
    } else {
      throw_unsupported("decoder", type);
    }
  };
  if (type_of(root) == "Sequence") {
    for_each_step(root, "decoders", 0, add);
  } else {
    add(root);
  }
}

}  // namespace sluice
