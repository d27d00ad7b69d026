#include "format/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <cinttypes>
#include <cstring>

#include "base/align.h"
#include "base/error.h"

namespace sluice {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxDims = 16;

struct Dtype {
  std::string_view name;
  uint32_t bits;
  Encoding encoding;
};
constexpr Encoding kNone = Encoding::kCount;
constexpr Dtype kDtypes[] = {
    {"F32", 32, Encoding::kF32},
    {"BF16", 16, Encoding::kBF16},
    {"F16", 16, Encoding::kF16},
    {"U32", 32, kNone},
    {"I32", 32, kNone},
    {"U8", 8, kNone},
    {"I8", 8, kNone},
    {"U16", 16, kNone},
    {"I16", 16, kNone},
    {"U64", 64, kNone},
    {"I64", 64, kNone},
    {"F64", 64, kNone},
    {"BOOL", 8, kNone},
    {"F8_E4M3", 8, kNone},
    {"F8_E5M2", 8, kNone},
    {"F8_E8M0", 8, kNone},
    {"F8_E4M3FNUZ", 8, kNone},
    {"F8_E5M2FNUZ", 8, kNone},
    {"F6_E2M3", 6, kNone},
    {"F6_E3M2", 6, kNone},
    {"F4", 4, kNone},
    {"C64", 64, kNone},
};

const Dtype* find_dtype(std::string_view name) {
  const auto* found = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                   [&](const Dtype& dtype) { return dtype.name == name; });
  return found == std::end(kDtypes) ? nullptr : found;
}

// Where the header is being read, for messages.
struct Place {
  const std::string& path;
  std::string_view tensor = {};

  [[noreturn]] void corrupt(const std::string& problem) const {
    if (tensor.data() == nullptr) {
      throw_error(ErrorKind::kCorrupt, "%s: %s; download the file again", path.c_str(), problem.c_str());
    }
    throw_error(ErrorKind::kCorrupt, "%s: tensor '%s': %s; download the file again", path.c_str(),
                printable(tensor).c_str(), problem.c_str());
  }
};

uint64_t read_unsigned(const Place& place, simdjson::dom::element value, const char* field) {
  uint64_t number = 0;
  if (value.get(number) != simdjson::SUCCESS) {
    place.corrupt(format_string("field '%s' holds something that is not an unsigned integer", field));
  }
  return number;
}

std::vector<uint64_t> read_unsigned_array(const Place& place, simdjson::dom::element value, const char* field,
                                          size_t max_size) {
  simdjson::dom::array array;
  if (value.get(array) != simdjson::SUCCESS)
    place.corrupt(format_string("field '%s' is not an array", field));
  std::vector<uint64_t> numbers;
  for (const simdjson::dom::element element : array) {
    if (numbers.size() == max_size) {
      place.corrupt(format_string("field '%s' has more than %zu elements", field, max_size));
    }
    numbers.push_back(read_unsigned(place, element, field));
  }
  return numbers;
}

// Bytes of `shape` values. Unknown dtypes have no size to check against.
uint64_t expected_bytes(const Place& place, const Dtype& dtype, const std::vector<uint64_t>& shape) {
  uint64_t bits = dtype.bits;
  for (const uint64_t dim : shape) {
    if (!checked_mul(bits, dim, &bits)) place.corrupt("field 'shape' multiplies to more than 2^64 bits");
  }
  if (bits % 8 != 0) {
    place.corrupt(format_string("field 'shape' of %s values does not fill whole bytes", dtype.name.data()));
  }
  return bits / 8;
}

// One entry of the header. Offsets in `info` are still relative to the data.
TensorInfo read_tensor(const Place& place, simdjson::dom::element value, uint64_t data_bytes) {
  simdjson::dom::object fields;
  if (value.get(fields) != simdjson::SUCCESS) place.corrupt("its entry is not a JSON object");
  TensorInfo info;
  info.name = place.tensor;
  std::vector<uint64_t> offsets;
  bool has_dtype = false;
  bool has_shape = false;
  bool has_offsets = false;
  const auto first = [&](bool* seen, const char* field) {
    if (*seen) place.corrupt(format_string("field '%s' appears twice", field));
    *seen = true;
  };
  for (const simdjson::dom::key_value_pair field : fields) {
    if (field.key == "dtype") {
      first(&has_dtype, "dtype");
      std::string_view dtype;
      if (field.value.get(dtype) != simdjson::SUCCESS) place.corrupt("field 'dtype' is not a string");
      info.dtype = dtype;
    } else if (field.key == "shape") {
      first(&has_shape, "shape");
      info.shape = read_unsigned_array(place, field.value, "shape", kMaxDims);
    } else if (field.key == "data_offsets") {
      first(&has_offsets, "data_offsets");
      offsets = read_unsigned_array(place, field.value, "data_offsets", 2);
    }
  }
  if (!has_dtype) place.corrupt("field 'dtype' is missing");
  if (!has_shape) place.corrupt("field 'shape' is missing");
  if (offsets.size() != 2) place.corrupt("field 'data_offsets' must have two numbers");
  if (offsets[0] > offsets[1]) place.corrupt("field 'data_offsets' ends before it begins");
  if (offsets[1] > data_bytes) {
    place.corrupt(format_string("field 'data_offsets' ends at byte %" PRIu64
                                " of the data, which has %" PRIu64 ": the file is cut off",
                                offsets[1], data_bytes));
  }
  info.offset = offsets[0];
  info.bytes = offsets[1] - offsets[0];
  if (const Dtype* dtype = find_dtype(info.dtype)) {
    info.encoding = dtype->encoding;
    const uint64_t bytes = expected_bytes(place, *dtype, info.shape);
    if (bytes != info.bytes) {
      place.corrupt(format_string(
          "fields 'dtype' and 'shape' make %" PRIu64 " bytes, 'data_offsets' %" PRIu64, bytes, info.bytes));
    }
  }
  return info;
}

void check_metadata(const Place& place, simdjson::dom::element value) {
  simdjson::dom::object entries;
  if (value.get(entries) != simdjson::SUCCESS) place.corrupt("'__metadata__' is not a JSON object");
  for (const simdjson::dom::key_value_pair entry : entries) {
    if (!entry.value.is_string()) {
      place.corrupt(format_string("'__metadata__' entry '%s' is not a string", printable(entry.key).c_str()));
    }
  }
}

uint64_t read_header_length(const File& file) {
  const Place place{file.path()};
  if (file.size() < 8) {
    place.corrupt(
        format_string("%" PRIu64 " bytes are too few for the header length at offset 0", file.size()));
  }
  char start[8];
  file.read_at(0, std::as_writable_bytes(std::span(start)));
  if (std::memcmp(start, "version ", 8) == 0) {
    throw_error(ErrorKind::kUnsupported,
                "%s: is a Git LFS pointer, not the model itself; run 'git lfs pull' there",
                file.path().c_str());
  }
  uint64_t length = 0;
  std::memcpy(&length, start, 8);
  if (length > kMaxHeaderBytes) {
    place.corrupt(format_string("header length %" PRIu64
                                " at offset 0 is above the format's limit of %" PRIu64,
                                length, kMaxHeaderBytes));
  }
  if (length > file.size() - 8) {
    place.corrupt(format_string("header length %" PRIu64 " at offset 0 reaches beyond the file's %" PRIu64
                                " bytes",
                                length, file.size()));
  }
  return length;
}

// The data must be covered without overlap, gap or rest. `tensors` are ordered by offset.
void check_coverage(const Place& file_place, const std::vector<TensorInfo>& tensors, uint64_t data_bytes) {
  uint64_t end = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.offset != end) {
      const Place place{file_place.path, tensor.name};
      place.corrupt(format_string("field 'data_offsets' begins at %" PRIu64
                                  ", but the tensor before ends at %" PRIu64 " (%s)",
                                  tensor.offset, end, tensor.offset < end ? "overlap" : "gap"));
    }
    end += tensor.bytes;
  }
  if (end != data_bytes) {
    file_place.corrupt(
        format_string("%" PRIu64 " bytes after the last tensor belong to none", data_bytes - end));
  }
}

}  // namespace

uint32_t safetensors_dtype_bits(std::string_view dtype) noexcept {
  const Dtype* found = find_dtype(dtype);
  return found ? found->bits : 0;
}

std::vector<TensorInfo> read_safetensors(const File& file, uint32_t file_index) {
  const Place place{file.path()};
  const uint64_t header_bytes = read_header_length(file);
  const uint64_t data_start = 8 + header_bytes;
  const uint64_t data_bytes = file.size() - data_start;

  simdjson::padded_string text(header_bytes);
  if (text.data() == nullptr) place.corrupt("the header is empty");
  file.read_at(8, std::as_writable_bytes(std::span(text.data(), header_bytes)));
  if (header_bytes == 0 || text.data()[0] != '{')
    place.corrupt("the header at offset 8 does not begin with '{'");

  simdjson::dom::parser parser;
  simdjson::dom::object header;
  if (const auto error = parser.parse(text).get(header); error != simdjson::SUCCESS) {
    place.corrupt(
        format_string("the header at offset 8 is not a JSON object (%s)", simdjson::error_message(error)));
  }
  std::vector<TensorInfo> tensors;
  bool has_metadata = false;
  for (const simdjson::dom::key_value_pair entry : header) {
    if (entry.key == "__metadata__") {
      if (has_metadata) place.corrupt("the header has '__metadata__' twice");
      has_metadata = true;
      check_metadata(place, entry.value);
      continue;
    }
    tensors.push_back(read_tensor(Place{file.path(), entry.key}, entry.value, data_bytes));
    tensors.back().file = file_index;
  }
  // Ties are empty tensors and the one that begins where they lie.
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  check_coverage(place, tensors, data_bytes);
  for (TensorInfo& tensor : tensors) tensor.offset += data_start;
  return tensors;
}

}  // namespace sluice
