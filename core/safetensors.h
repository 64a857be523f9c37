#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/element_type.h"
#include "core/size.h"

namespace headshare {

// The safetensors file format: named arrays and nothing that could run, https://github.com/huggingface/safetensors
//
//     8 bytes     n, the length of the header, an unsigned little-endian integer; at most 100 000 000
//     n bytes     the header: one JSON object in UTF-8 that starts with '{' and may end in spaces
//     the rest    the data: the tensors' elements, little-endian, rows first, one tensor after the other
//
//     {"__metadata__": {"any text": "any text"},
//      "weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
//      "bias":   {"dtype": "F32", "shape": [3],    "data_offsets": [24, 36]}}
//
// data_offsets are the first byte and the byte after the last, counted from the start of the data. The tensors together
// cover every byte of the data exactly once. A scalar has the shape []; an extent of 0 makes a tensor without bytes.

// One array of a file. It does not own its elements.
struct StoredTensor {
  std::string name;
  ElementType type;                  // stored as F32, F64 or I32; the format's other types are refused
  std::vector<Size> shape;           // at most 8 extents
  std::span<const std::byte> bytes;  // product of shape times bytes_of(type); may be unaligned, so copy, do not cast
};

// A file in memory. It owns the bytes that its tensors point to, so they live as long as it does; moving it is safe.
class SafetensorsFile {
 public:
  const std::vector<StoredTensor>& tensors() const& { return tensors_; }             // in the order of their data
  const std::map<std::string, std::string>& metadata() const& { return metadata_; }  // empty where the file has none
  const StoredTensor* find(std::string_view name) const&;                            // nullptr where there is none

  // A loop over read_safetensors(path).tensors() would run over bytes that are already gone: name the file first.
  void tensors() const&& = delete;
  void metadata() const&& = delete;
  void find(std::string_view name) const&& = delete;

 private:
  friend SafetensorsFile parse_safetensors(std::string bytes, const std::string& who);
  SafetensorsFile() = default;

  std::unique_ptr<const std::string> bytes_;  // on the heap, so that a move leaves the bytes where they are
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, std::size_t, std::less<>> index_;  // name -> position in tensors_
};

// Reads a whole file and checks every rule of the format: what it returns can be used without another look. A file that
// breaks a rule is refused with the file, the tensor and the rule.
SafetensorsFile read_safetensors(const std::filesystem::path& path);

// The same for bytes that are already in memory. `who` stands where an error would name the file.
SafetensorsFile parse_safetensors(std::string bytes, const std::string& who);

// Writes the tensors in the order given, as core/file.h writes: whole or not at all. The data starts at a multiple of
// 64 bytes, a cache line, for readers that map the file into memory. Refuses what the format cannot hold: a name that
// comes twice or is "__metadata__", text that is not UTF-8, bytes that do not fit their shape.
void write_safetensors(const std::filesystem::path& path, std::span<const StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace headshare
