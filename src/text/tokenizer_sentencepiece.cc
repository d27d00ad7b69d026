// Loads SentencePiece's tokenizer.model: the protobuf message ModelProto of sentencepiece_model.proto
// (https://github.com/google/sentencepiece), read field by field; fields that do not matter here are passed
// over.
#include <cstring>
#include <utility>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/tokenizer_loaders.h"
#include "text/tokenizer_parts.h"
#include "text/tokenizer_spm.h"

namespace sluice {
namespace {

// Reads one message of the protobuf wire format. Every length is checked against the message's end.
class WireReader {
 public:
  WireReader(std::string_view message, const std::string& where) : rest_(message), where_(where) {}

  enum class Wire : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  // False at the end. Afterwards exactly one of the three values below is set.
  bool next() {
    if (rest_.empty()) return false;
    const uint64_t key = read_varint();
    field = static_cast<uint32_t>(key >> 3);
    wire = static_cast<Wire>(key & 7);
    switch (wire) {
      case Wire::kVarint:
        number = read_varint();
        break;
      case Wire::kFixed64:
        take(8);
        break;
      case Wire::kBytes:
        bytes = take(read_varint());
        break;
      case Wire::kFixed32:
        std::memcpy(&real, take(4).data(), 4);
        break;
      default:
        throw_corrupt();
    }
    return true;
  }

  bool is(uint32_t wanted, Wire wanted_wire) const { return field == wanted && wire == wanted_wire; }

  uint32_t field = 0;
  Wire wire = Wire::kVarint;
  uint64_t number = 0;
  float real = 0;
  std::string_view bytes;

 private:
  [[noreturn]] void throw_corrupt() const {
    throw_error(ErrorKind::kCorrupt, "%s: not a SentencePiece model (broken protobuf)", where_.c_str());
  }

  uint64_t read_varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    throw_corrupt();
  }

  std::string_view take(uint64_t n) {
    if (n > rest_.size()) throw_corrupt();
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }

  std::string_view rest_;
  const std::string& where_;
};

using Wire = WireReader::Wire;

std::optional<int32_t> id_or_none(uint64_t number) {
  const auto id = static_cast<int32_t>(number);
  return id >= 0 ? std::optional(id) : std::nullopt;
}

void read_piece(std::string_view message, const std::string& where, SpmModel* model) {
  std::string_view piece;
  float score = 0;
  uint64_t kind = 1;
  for (WireReader reader(message, where); reader.next();) {
    if (reader.is(1, Wire::kBytes)) piece = reader.bytes;
    if (reader.is(2, Wire::kFixed32)) score = reader.real;
    if (reader.is(3, Wire::kVarint)) kind = reader.number;
  }
  if (kind < 1 || kind > 6) {
    throw_error(ErrorKind::kCorrupt, "%s: piece %zu is of unknown type %llu", where.c_str(),
                model->pieces.size(), static_cast<unsigned long long>(kind));
  }
  model->pieces.push_back(piece);
  model->scores.push_back(score);
  model->kinds.push_back(static_cast<TokenKind>(kind));
}

void read_trainer_spec(std::string_view message, const std::string& where, SpmModel* model) {
  uint64_t type = 1;
  for (WireReader reader(message, where); reader.next();) {
    if (reader.wire != Wire::kVarint) continue;
    switch (reader.field) {
      case 3:
        type = reader.number;
        break;
      case 24:
        if (reader.number) {
          throw_error(ErrorKind::kUnsupported, "%s: treat_whitespace_as_suffix is not supported",
                      where.c_str());
        }
        break;
      case 40:
        model->unk = id_or_none(reader.number);
        break;
      case 41:
        model->bos = id_or_none(reader.number);
        break;
      case 42:
        model->eos = id_or_none(reader.number);
        break;
      case 43:
        model->pad = id_or_none(reader.number);
        break;
      default:
        break;
    }
  }
  if (type != 1 && type != 2) {
    throw_error(ErrorKind::kUnsupported,
                "%s: SentencePiece model type %llu is not supported (Unigram and BPE are)", where.c_str(),
                static_cast<unsigned long long>(type));
  }
  model->unigram = type == 1;
}

void read_normalizer_spec(std::string_view message, const std::string& where, SpmModel* model) {
  for (WireReader reader(message, where); reader.next();) {
    if (reader.is(2, Wire::kBytes)) model->charsmap = reader.bytes;
    if (reader.is(3, Wire::kVarint)) {
      model->space_prefix = reader.number ? PrependScheme::kFirst : PrependScheme::kNever;
    }
    if (reader.is(4, Wire::kVarint)) model->collapse_blanks = reader.number != 0;
    if (reader.is(5, Wire::kVarint)) model->escape_blanks = reader.number != 0;
  }
}

// Refers to `bytes`.
SpmModel read_model(std::string_view bytes, const std::string& where) {
  SpmModel model;
  model.unigram = true;  // the defaults of the format
  model.collapse_blanks = true;
  model.unk = 0;
  model.bos = 1;
  model.eos = 2;
  for (WireReader reader(bytes, where); reader.next();) {
    if (reader.is(1, Wire::kBytes)) read_piece(reader.bytes, where, &model);
    if (reader.is(2, Wire::kBytes)) read_trainer_spec(reader.bytes, where, &model);
    if (reader.is(3, Wire::kBytes)) read_normalizer_spec(reader.bytes, where, &model);
  }
  model.add_bos = true;
  return model;
}

}  // namespace

std::unique_ptr<TokenizerParts> make_sentencepiece_parts(std::string_view bytes, const std::string& where) {
  return make_spm_parts(read_model(bytes, where), where);
}

GgufVocabulary sentencepiece_vocabulary(std::string_view bytes, const std::string& where) {
  if (looks_like_rank_file(bytes)) {
    throw_error(ErrorKind::kUnsupported,
                "%s: a tiktoken rank file, not SentencePiece's; use a checkpoint with tokenizer.json",
                where.c_str());
  }
  const SpmModel model = read_model(bytes, where);
  if (!model.escape_blanks)
    throw_error(ErrorKind::kUnsupported, "%s: without escape_whitespaces GGUF has no name for it",
                where.c_str());
  GgufVocabulary v;
  v.model = model.unigram ? "t5" : "llama";
  v.tokens.assign(model.pieces.begin(), model.pieces.end());
  v.scores = model.scores;
  for (const TokenKind kind : model.kinds) v.types.push_back(static_cast<int32_t>(kind));
  v.charsmap = model.charsmap;
  v.bos = model.bos;
  v.eos = model.eos;
  v.pad = model.pad;
  v.unk = model.unk;
  v.add_bos = model.add_bos;
  v.add_eos = model.add_eos;
  v.add_space_prefix = model.space_prefix != PrependScheme::kNever;
  v.remove_extra_whitespaces = model.collapse_blanks;
  return v;
}

std::shared_ptr<const Tokenizer> load_sentencepiece(std::string_view bytes, const std::string& where) {
  auto parts = make_sentencepiece_parts(bytes, where);
  finish_parts(where, parts.get());
  return std::make_shared<Tokenizer>(std::move(parts));
}

}  // namespace sluice
