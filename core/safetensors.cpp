#include "core/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/file.h"

namespace headshare {
namespace {

static_assert(std::endian::native == std::endian::little, "elements go between file and memory as they are");

constexpr std::size_t length_bytes = 8;
constexpr std::size_t longest_header = 100'000'000;  // the format's own limit, against files made to exhaust memory
constexpr std::size_t highest_rank = 8;
constexpr std::size_t data_alignment = 64;
constexpr const char* metadata_key = "__metadata__";

struct StoredType {
  const char* name;
  ElementType type;
};
constexpr std::array<StoredType, 3> stored_types = {
    {{"F32", ElementType::float32}, {"F64", ElementType::float64}, {"I32", ElementType::int32}}};

const char* stored_name(ElementType type) {
  for (const StoredType& stored : stored_types)
    if (stored.type == type) return stored.name;
  fail("safetensors: the type ", name(type), " cannot be stored, only F32, F64, I32");
}

// Text from a file, fit for a message of one line: control characters escaped, broken UTF-8 replaced, not too long.
std::string printable(std::string_view untrusted) {
  constexpr std::size_t longest = 80;
  const nlohmann::json shown = std::string(untrusted.substr(0, longest));
  const std::string result = shown.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return untrusted.size() > longest ? result + "..." : result;
}

std::string shape_text(const std::vector<Size>& shape) { return nlohmann::json(shape).dump(); }

// Nothing where the number does not fit. An extent of 0 makes it 0 only in the end: [2^62, 2^62, 0] has no elements,
// but its strides could not be computed either.
std::optional<Size> bytes_needed(ElementType type, const std::vector<Size>& shape) {
  Size bytes = bytes_of(type);
  for (const Size extent : shape) {
    if (extent == 0) continue;
    if (extent > std::numeric_limits<Size>::max() / bytes) return std::nullopt;
    bytes *= extent;
  }
  return std::find(shape.begin(), shape.end(), 0) == shape.end() ? bytes : 0;
}

// Reading -------------------------------------------------------------------------------------------------------------

// The header's JSON, between its length and the data.
std::string_view find_header(std::string_view file, const std::string& who) {
  if (file.size() < length_bytes)
    fail(who, ": the file is ", file.size(), " bytes long, but safetensors starts with 8 bytes, its header's length");
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), length_bytes);
  if (length > longest_header)
    fail(who, ": the header's length is ", length, ", over the limit of ", longest_header,
         "; is this a safetensors file?");
  if (length > file.size() - length_bytes)
    fail(who, ": the header's length is ", length, ", but only ", file.size() - length_bytes,
         " bytes follow; the file is cut short");

  const std::string_view header = file.substr(length_bytes, length);
  if (header.empty() || header.front() != '{') fail(who, ": the header must start with '{'");
  if (header[header.find_last_not_of(' ')] != '}')
    fail(who, ": the header must end with '}', followed by nothing but spaces");
  // To the JSON parser a zero byte is the end of the text, and whatever follows it would go unseen.
  if (const std::size_t zero = header.find('\0'); zero != std::string_view::npos)
    fail(who, ": the header is not valid JSON in UTF-8, byte ", zero + 1, " of it is zero");
  return header;
}

// Listens to the JSON parser, which reports one value after the other, and knows at each moment which place of the
// header it is in and therefore what may come. Against building the whole document first this has three advantages: a
// key that comes twice is seen, not overwritten; the first wrong value ends the reading; and values nested deeper than
// the format needs are never followed, so that a million brackets cost nothing.
class HeaderReader {
 public:
  HeaderReader(std::span<const std::byte> data, std::string who) : data_(data), who_(std::move(who)) {}

  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> metadata;

  // The parser calls these; true means go on.
  bool start_object(std::size_t) {
    if (place_ == Place::file)
      place_ = Place::header;
    else if (place_ != Place::metadata && place_ != Place::tensor)
      refuse_value();
    return true;
  }

  bool key(const std::string& key) {
    if (place_ == Place::header) {
      if (!header_keys_.insert(key).second) fail(who_, ": the header has the key ", printable(key), " twice");
      place_ = key == metadata_key ? Place::metadata : Place::tensor;
      tensor_ = {.name = key, .type = ElementType::float32, .shape = {}, .bytes = {}};
      tensor_keys_.clear();
      offsets_.clear();
    } else if (place_ == Place::metadata) {
      if (metadata.contains(key)) fail(who_, ": ", metadata_key, " has the key ", printable(key), " twice");
      metadata_key_ = key;
      place_ = Place::metadata_text;
    } else {
      if (!tensor_keys_.insert(key).second) refuse_tensor(printable(key), " comes twice");
      if (key == "dtype")
        place_ = Place::dtype;
      else if (key == "shape")
        place_ = Place::shape;
      else if (key == "data_offsets")
        place_ = Place::data_offsets;
      else
        refuse_tensor("the key ", printable(key), " is none of dtype, shape, data_offsets");
    }
    return true;
  }

  bool string(std::string& value) {
    if (place_ == Place::metadata_text) {
      metadata.emplace(metadata_key_, std::move(value));
      place_ = Place::metadata;
    } else if (place_ == Place::dtype) {
      const auto stored = std::find_if(stored_types.begin(), stored_types.end(),
                                       [&](const StoredType& candidate) { return value == candidate.name; });
      if (stored == stored_types.end())
        refuse_tensor("type ", printable(value), " is not supported, only F32, F64, I32");
      tensor_.type = stored->type;
      place_ = Place::tensor;
    } else {
      refuse_value();
    }
    return true;
  }

  bool start_array(std::size_t) {
    if (place_ == Place::shape)
      place_ = Place::extent;
    else if (place_ == Place::data_offsets)
      place_ = Place::offset;
    else
      refuse_value();
    return true;
  }

  bool number_unsigned(std::uint64_t number) {
    if (place_ != Place::extent && place_ != Place::offset) refuse_value();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<Size>::max()))
      refuse_tensor("the number ", number, " is too large");
    std::vector<Size>& numbers = place_ == Place::extent ? tensor_.shape : offsets_;
    numbers.push_back(static_cast<Size>(number));
    if (tensor_.shape.size() > highest_rank) refuse_tensor("shape has more than ", highest_rank, " extents");
    if (offsets_.size() > 2) refuse_value();
    return true;
  }

  bool end_array() {
    if (place_ == Place::offset && offsets_.size() != 2) refuse_value();
    place_ = Place::tensor;
    return true;
  }

  bool end_object() {
    if (place_ == Place::tensor) finish_tensor();
    place_ = place_ == Place::header ? Place::file : Place::header;
    return true;
  }

  // Negative numbers, fractions and numbers beyond 64 bits come as one of the first two.
  bool number_integer(std::int64_t) { refuse_value(); }
  bool number_float(double, const std::string&) { refuse_value(); }
  bool null() { refuse_value(); }
  bool boolean(bool) { refuse_value(); }
  bool binary(nlohmann::json::binary_t&) { refuse_value(); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
    fail(who_, ": the header is not valid JSON in UTF-8, wrong at byte ", position);
  }

 private:
  enum class Place { file, header, metadata, metadata_text, tensor, dtype, shape, extent, data_offsets, offset };

  template <class... Parts>
  [[noreturn]] void refuse_tensor(const Parts&... parts) const {
    fail(who_, ": tensor ", printable(tensor_.name), ": ", parts...);
  }

  // The value that came is of the wrong kind for its place.
  [[noreturn]] void refuse_value() const {
    switch (place_) {
      case Place::metadata:
        fail(who_, ": ", metadata_key, " must be an object of strings");
      case Place::metadata_text:
        fail(who_, ": ", metadata_key, ": ", printable(metadata_key_), " must be a string");
      case Place::tensor:
        refuse_tensor("must be an object of dtype, shape and data_offsets");
      case Place::dtype:
        refuse_tensor("dtype must be a string");
      case Place::shape:
      case Place::extent:
        refuse_tensor("shape must be an array of non-negative integers");
      case Place::data_offsets:
      case Place::offset:
        refuse_tensor("data_offsets must be an array of two non-negative integers");
      case Place::file:
      case Place::header:
        break;
    }
    fail(who_, ": the header must be one JSON object");
  }

  // The rules that a tensor can break on its own.
  void finish_tensor() {
    for (const char* needed : {"dtype", "shape", "data_offsets"})
      if (!tensor_keys_.contains(needed)) refuse_tensor(needed, " is missing");
    const Size begin = offsets_[0];
    const Size end = offsets_[1];
    if (begin > end) refuse_tensor("data_offsets begin at ", begin, ", after their end at ", end);
    if (end > static_cast<Size>(data_.size()))
      refuse_tensor("data_offsets end at ", end, ", but the file's data has ", data_.size(), " bytes");
    const std::optional<Size> bytes = bytes_needed(tensor_.type, tensor_.shape);
    if (!bytes) refuse_tensor("shape ", shape_text(tensor_.shape), " has more elements than can be counted");
    if (*bytes != end - begin)
      refuse_tensor("shape ", shape_text(tensor_.shape), " of ", stored_name(tensor_.type), " takes ", *bytes,
                    " bytes, but data_offsets ", shape_text(offsets_), " hold ", end - begin);
    tensor_.bytes = data_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    tensors.push_back(std::move(tensor_));
  }

  std::span<const std::byte> data_;
  std::string who_;
  Place place_ = Place::file;
  std::set<std::string> header_keys_;
  std::string metadata_key_;
  StoredTensor tensor_{};  // the one being read, with its keys and offsets so far
  std::set<std::string> tensor_keys_;
  std::vector<Size> offsets_;
};

// The rules that only all tensors together can break: they cover the data without overlap, hole or rest. Puts them in
// the order of their data.
void check_layout(std::vector<StoredTensor>& tensors, std::span<const std::byte> data, const std::string& who) {
  const auto begin_of = [&](const StoredTensor& tensor) { return tensor.bytes.data() - data.data(); };
  // A tensor without bytes goes before one that begins at the same place. Stable: the header's order decides the rest.
  std::stable_sort(tensors.begin(), tensors.end(), [&](const StoredTensor& a, const StoredTensor& b) {
    return std::pair(begin_of(a), a.bytes.size()) < std::pair(begin_of(b), b.bytes.size());
  });
  Size covered = 0;
  const StoredTensor* previous = nullptr;
  for (const StoredTensor& tensor : tensors) {
    const Size begin = begin_of(tensor);
    if (begin < covered)
      fail(who, ": tensor ", printable(tensor.name), ": its data begins at ", begin, " and overlaps that of tensor ",
           printable(previous->name), ", which ends at ", covered);
    if (begin > covered)
      fail(who, ": tensor ", printable(tensor.name), ": its data begins at ", begin, ", but the bytes from ", covered,
           " on belong to no tensor");
    covered += static_cast<Size>(tensor.bytes.size());
    previous = &tensor;
  }
  if (covered != static_cast<Size>(data.size()))
    fail(who, ": the data has ", data.size(), " bytes, but the last ", static_cast<Size>(data.size()) - covered,
         " belong to no tensor");
}

// Writing -------------------------------------------------------------------------------------------------------------

std::string json_text(const std::string& value, const std::string& who) {
  try {
    return nlohmann::json(value).dump();
  } catch (const nlohmann::json::exception&) {
    fail(who, ": the text ", printable(value), " is not valid UTF-8");
  }
}

void check_tensor(const StoredTensor& tensor, const std::string& who) {
  const std::string tensor_who = text(who, ": tensor ", printable(tensor.name), ": ");
  if (tensor.name == metadata_key) fail(tensor_who, "the format keeps this name for itself");
  if (tensor.shape.size() > highest_rank) fail(tensor_who, "shape has more than ", highest_rank, " extents");
  if (std::any_of(tensor.shape.begin(), tensor.shape.end(), [](Size extent) { return extent < 0; }))
    fail(tensor_who, "shape ", shape_text(tensor.shape), " has a negative extent");
  const std::optional<Size> bytes = bytes_needed(tensor.type, tensor.shape);
  if (!bytes) fail(tensor_who, "shape ", shape_text(tensor.shape), " has more elements than can be counted");
  if (*bytes != static_cast<Size>(tensor.bytes.size()))
    fail(tensor_who, "shape ", shape_text(tensor.shape), " of ", stored_name(tensor.type), " takes ", *bytes,
         " bytes, but ", tensor.bytes.size(), " were given");
}

std::string make_header(std::span<const StoredTensor> tensors, const std::map<std::string, std::string>& metadata,
                        const std::string& who) {
  std::vector<std::string> members;
  std::string metadata_members;
  for (const auto& [key, value] : metadata) {
    if (!metadata_members.empty()) metadata_members += ",";
    metadata_members += json_text(key, who) + ":" + json_text(value, who);
  }
  if (!metadata.empty()) members.push_back(text("\"", metadata_key, "\":{", metadata_members, "}"));

  std::set<std::string> names;
  std::size_t begin = 0;
  for (const StoredTensor& tensor : tensors) {
    check_tensor(tensor, who);
    if (!names.insert(tensor.name).second) fail(who, ": tensor ", printable(tensor.name), " comes twice");
    const std::size_t end = begin + tensor.bytes.size();
    members.push_back(text(json_text(tensor.name, who), ":{\"dtype\":\"", stored_name(tensor.type),
                           "\",\"shape\":", shape_text(tensor.shape), ",\"data_offsets\":[", begin, ",", end, "]}"));
    begin = end;
  }

  std::string header = "{";
  for (const std::string& member : members) header += (header.size() > 1 ? "," : "") + member;
  header += "}";
  const std::size_t beyond = (length_bytes + header.size()) % data_alignment;
  if (beyond != 0) header.append(data_alignment - beyond, ' ');
  if (header.size() > longest_header)
    fail(who, ": the header would have ", header.size(), " bytes, over the format's limit of ", longest_header);
  return header;
}

}  // namespace

const StoredTensor* SafetensorsFile::find(std::string_view name) const& {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

SafetensorsFile parse_safetensors(std::string bytes, const std::string& who) {
  SafetensorsFile file;
  file.bytes_ = std::make_unique<const std::string>(std::move(bytes));
  const std::string_view header = find_header(*file.bytes_, who);
  const std::span<const std::byte> data = std::as_bytes(std::span(*file.bytes_)).subspan(length_bytes + header.size());

  HeaderReader reader(data, who);
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);
  check_layout(reader.tensors, data, who);
  file.tensors_ = std::move(reader.tensors);
  file.metadata_ = std::move(reader.metadata);
  for (std::size_t i = 0; i < file.tensors_.size(); ++i) file.index_.emplace(file.tensors_[i].name, i);
  return file;
}

SafetensorsFile read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(read_file(path), path.string());
}

void write_safetensors(const std::filesystem::path& path, std::span<const StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = make_header(tensors, metadata, text("cannot write ", path.string()));
  write_file(path, [&](std::ostream& out) {
    const std::uint64_t length = header.size();
    out.write(reinterpret_cast<const char*>(&length), length_bytes);
    out << header;
    for (const StoredTensor& tensor : tensors)
      out.write(reinterpret_cast<const char*>(tensor.bytes.data()), static_cast<std::streamsize>(tensor.bytes.size()));
  });
}

}  // namespace headshare
