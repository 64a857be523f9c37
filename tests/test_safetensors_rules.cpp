#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "core/safetensors.h"

using namespace headshare;

namespace {

// A file by hand: the header as it stands, its true length before it, the data after it.
std::string file_of(const std::string& header, const std::string& data = "") {
  std::string length;
  for (int byte = 0; byte < 8; ++byte) length += static_cast<char>((header.size() >> (8 * byte)) & 0xff);
  return length + header + data;
}

std::string zeros(std::size_t count) { return std::string(count, '\0'); }

std::string repeated(const std::string& part, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += part;
  return result;
}

std::string error_of(const std::string& bytes) {
  try {
    parse_safetensors(bytes, "f");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// Bytes of a file and what is wrong with them.
using Cases = std::vector<std::pair<std::string, std::string>>;

void check_refused(const Cases& cases) {
  for (const auto& [bytes, message] : cases) CHECK(error_of(bytes) == "f: " + message);
}

// One tensor "a", by default a single float, with one thing to be wrong about it.
std::string with_tensor(const std::string& value) { return file_of("{\"a\":" + value + "}", zeros(4)); }
std::string with_dtype(const std::string& value) {
  return with_tensor("{\"dtype\":" + value + R"(,"shape":[1],"data_offsets":[0,4]})");
}
std::string with_shape(const std::string& value) {
  return with_tensor(R"({"dtype":"F32","shape":)" + value + R"(,"data_offsets":[0,4]})");
}
std::string with_offsets(const std::string& value) {
  return with_tensor(R"({"dtype":"F32","shape":[1],"data_offsets":)" + value + "}");
}

std::vector<std::int32_t> tokens_of(const StoredTensor* tensor) {
  REQUIRE(tensor != nullptr);
  REQUIRE(tensor->type == ElementType::int32);
  std::vector<std::int32_t> values(tensor->bytes.size() / 4);
  std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
  return values;
}

// What every file that was accepted promises, checked by touching each byte: the tensors lie inside the file, fit their
// shapes and follow each other without a gap. Returns the bytes they cover.
Size check_promises(const SafetensorsFile& file) {
  Size covered = 0;
  unsigned touched = 0;
  for (const StoredTensor& tensor : file.tensors()) {
    Size bytes = bytes_of(tensor.type);
    for (const Size extent : tensor.shape) bytes *= extent;
    CHECK(bytes == static_cast<Size>(tensor.bytes.size()));
    CHECK(tensor.shape.size() <= 8);
    CHECK(tensor.bytes.data() == file.tensors().front().bytes.data() + covered);
    CHECK(file.find(tensor.name) == &tensor);
    for (const std::byte byte : tensor.bytes) touched += static_cast<unsigned>(byte);
    covered += bytes;
  }
  CHECK(touched <= 255u * static_cast<unsigned>(covered));
  return covered;
}

const std::string small_file =
    file_of(R"({"__metadata__":{"step":"3"},"a":{"dtype":"I32","shape":[1,2],"data_offsets":[0,8]},)"
            R"("b":{"dtype":"F64","shape":[],"data_offsets":[8,16]}}  )",
            "\x01\x02\x03\x04\x05\x06\x07\x08" + zeros(8));

}  // namespace

TEST_CASE("A file made by hand is read as the format says") {
  // The header is the example of the format's description, with keys in another order and JSON's own white space.
  const SafetensorsFile file = parse_safetensors(
      file_of("{ \"TEST\" :\n{\"data_offsets\":[0,8] ,\"dtype\":\"I32\",\"shape\":[1,2]},\t\"__metadata__\":{}}   ",
              std::string("\x01\0\0\0\xfe\xff\xff\xff", 8)),
      "f");
  REQUIRE(file.tensors().size() == 1);
  CHECK(file.tensors()[0].name == "TEST");
  CHECK(file.tensors()[0].shape == std::vector<Size>{1, 2});
  CHECK(tokens_of(file.find("TEST")) == std::vector<std::int32_t>{1, -2});
  CHECK(file.metadata().empty());
}

TEST_CASE("Tensors come in the order of their data, not of the header; those without bytes stand before their offset") {
  const SafetensorsFile file = parse_safetensors(
      file_of(R"({"late":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},)"
              R"("y":{"dtype":"F32","shape":[0],"data_offsets":[4,4]},"early":{"dtype":"F32","shape":[1],)"
              R"("data_offsets":[0,4]},"x":{"dtype":"F64","shape":[2,0],"data_offsets":[4,4]}})",
              zeros(8)),
      "f");
  std::vector<std::string> names;
  for (const StoredTensor& tensor : file.tensors()) names.push_back(tensor.name);
  CHECK(names == std::vector<std::string>{"early", "y", "x", "late"});
  check_promises(file);
}

TEST_CASE("A file still points to its own bytes after it was moved") {
  std::vector<SafetensorsFile> files;
  for (int i = 0; i < 5; ++i) files.push_back(parse_safetensors(small_file, "f"));
  for (const SafetensorsFile& file : files) {
    CHECK(tokens_of(file.find("a")) == std::vector<std::int32_t>{0x04030201, 0x08070605});
    CHECK(file.metadata().at("step") == "3");
    check_promises(file);
  }
}

TEST_CASE("A file without a whole header in JSON is refused") {
  const std::string ending = "the header must end with '}', followed by nothing but spaces";
  const std::string not_json = "the header is not valid JSON in UTF-8, ";
  const std::string f32 = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  check_refused({
      {"", "the file is 0 bytes long, but safetensors starts with 8 bytes, its header's length"},
      {zeros(7), "the file is 7 bytes long, but safetensors starts with 8 bytes, its header's length"},
      {zeros(8), "the header must start with '{'"},
      {std::string("\3\0\0\0\0\0\0\0{}", 10),
       "the header's length is 3, but only 2 bytes follow; the file is cut short"},
      {std::string("\0\xe1\xf5\5\0\0\0\0{}", 10),
       "the header's length is 100000000, but only 2 bytes follow; the file is cut short"},
      {std::string("\1\xe1\xf5\5\0\0\0\0{}", 10),
       "the header's length is 100000001, over the limit of 100000000; is this a safetensors file?"},
      {repeated("\xff", 8) + "{}",
       "the header's length is 18446744073709551615, over the limit of 100000000; is this a safetensors file?"},
      {file_of(" {}"), "the header must start with '{'"},
      {file_of("\xef\xbb\xbf{}"), "the header must start with '{'"},  // a byte order mark
      {file_of("[]"), "the header must start with '{'"},
      {file_of("    "), "the header must start with '{'"},
      {file_of("{"), ending},
      {file_of("{}\n"), ending},
      {file_of("{}" + zeros(1)), ending},
      {file_of("{} x"), ending},
      {file_of("{} {}"), not_json + "wrong at byte 4"},
      {file_of("{}}"), not_json + "wrong at byte 3"},
      {file_of("{}" + zeros(1) + "{]}"), not_json + "byte 3 of it is zero"},
      {file_of("{'a':1}"), not_json + "wrong at byte 2"},
      {file_of("{/**/}"), not_json + "wrong at byte 2"},
      {file_of("{\"a\"}"), not_json + "wrong at byte 5"},
      {file_of("{\"a\":" + f32 + ",}", zeros(4)), not_json + "wrong at byte 55"},
      {file_of("{\"\n\":" + f32 + "}", zeros(4)), not_json + "wrong at byte 3"},
      {file_of("{\"\xff\":" + f32 + "}", zeros(4)), not_json + "wrong at byte 3"},
      {file_of("{\"\xc0\x80\":" + f32 + "}", zeros(4)), not_json + "wrong at byte 3"},      // zero in two bytes
      {file_of("{\"\xed\xa0\x80\":" + f32 + "}", zeros(4)), not_json + "wrong at byte 4"},  // half a surrogate pair
      {file_of("{\"\\ud800\":" + f32 + "}", zeros(4)), not_json + "wrong at byte 9"},
      {with_shape("[1e999]"), not_json + "wrong at byte 34"},
      {with_shape("[01]"), not_json + "wrong at byte 31"},
      {with_shape("[NaN]"), not_json + "wrong at byte 30"},
  });
}

TEST_CASE("A header whose keys are missing, unknown or there twice is refused") {
  const std::string f32 = R"("dtype":"F32","shape":[1],"data_offsets":[0,4])";
  check_refused({
      {file_of("{\"a\":{" + f32 + "},\"\\u0061\":{" + f32 + "}}", zeros(4)), R"(the header has the key "a" twice)"},
      {file_of(R"({"__metadata__":{},"__metadata__":{}})"), R"(the header has the key "__metadata__" twice)"},
      {file_of(R"({"__metadata__":{"k":"1","k":"1"}})"), R"(__metadata__ has the key "k" twice)"},
      {with_tensor("{" + f32 + ",\"dtype\":\"F32\"}"), R"(tensor "a": "dtype" comes twice)"},
      {with_tensor("{" + f32 + ",\"shape\":[1]}"), R"(tensor "a": "shape" comes twice)"},
      {with_tensor("{" + f32 + ",\"data_offsets\":[0,4]}"), R"(tensor "a": "data_offsets" comes twice)"},
      {with_tensor("{" + f32 + ",\"x\\n\":0}"), R"(tensor "a": the key "x\n" is none of dtype, shape, data_offsets)"},
      {with_tensor(R"({"shape":[1],"data_offsets":[0,4]})"), R"(tensor "a": dtype is missing)"},
      {with_tensor(R"({"dtype":"F32","data_offsets":[0,4]})"), R"(tensor "a": shape is missing)"},
      {with_tensor(R"({"dtype":"F32","shape":[1]})"), R"(tensor "a": data_offsets is missing)"},
      {with_tensor("{}"), R"(tensor "a": dtype is missing)"},
      // A million brackets would overflow the stack of a reader that follows them.
      {file_of(repeated("{\"a\":", 1'000'000) + "0" + repeated("}", 1'000'000)),
       R"(tensor "a": the key "a" is none of dtype, shape, data_offsets)"},
      // A name is made fit for a message of one line.
      {file_of("{\"" + repeated("n", 79) + "\\u00fc" + repeated("n", 1000) + "\":{}}"),
       "tensor \"" + repeated("n", 79) + "\xef\xbf\xbd\"...: dtype is missing"},
      {file_of("{\"x\\n\\u001by\":{}}"), "tensor \"x\\n\\u001by\": dtype is missing"},
  });
}

TEST_CASE("A value of the wrong kind is refused") {
  Cases cases;
  for (const char* value : {"1", "-1", "null", "\"F32\"", "[]"})
    cases.push_back({with_tensor(value), R"(tensor "a": must be an object of dtype, shape and data_offsets)"});
  for (const char* value : {"7", "true", "{}", "[\"F32\"]"})
    cases.push_back({with_dtype(value), R"(tensor "a": dtype must be a string)"});
  for (const std::string value : {"\"BF16\"", "\"F16\"", "\"I64\"", "\"BOOL\"", "\"f32\"", "\"\"", "\"F32\\u0000\\n\""})
    cases.push_back({with_dtype(value), "tensor \"a\": type " + value + " is not supported, only F32, F64, I32"});
  for (const std::string& value : std::vector<std::string>{
           "1", "null", "\"1\"", "{}", "[[1]]", "[{}]", "[-1]", "[-0]", "[1.0]", "[1e0]", "[true]", "[null]", "[\"1\"]",
           "[18446744073709551616]", repeated("[", 1'000'000) + repeated("]", 1'000'000)})
    cases.push_back({with_shape(value), R"(tensor "a": shape must be an array of non-negative integers)"});
  for (const char* value :
       {"0", "\"0,4\"", "{}", "[]", "[0]", "[0,4,4]", "[[0,4]]", "[-4,0]", "[0,4.0]", "[null,4]", "[false,4]"})
    cases.push_back({with_offsets(value), R"(tensor "a": data_offsets must be an array of two non-negative integers)"});
  for (const std::string value : {"[]", "null", "\"k\"", "0"})
    cases.push_back({file_of("{\"__metadata__\":" + value + "}"), "__metadata__ must be an object of strings"});
  for (const std::string value : {"1", "-1.5", "null", "{}", "[]", "true"})
    cases.push_back({file_of("{\"__metadata__\":{\"k\":" + value + "}}"), R"(__metadata__: "k" must be a string)"});
  check_refused(cases);
}

TEST_CASE("A shape that does not fit its bytes, or no memory at all, is refused") {
  check_refused({
      {with_shape("[1,1,1,1,1,1,1,1,1]"), R"(tensor "a": shape has more than 8 extents)"},
      {with_shape("[18446744073709551615]"), R"(tensor "a": the number 18446744073709551615 is too large)"},
      {with_shape("[9223372036854775808]"), R"(tensor "a": the number 9223372036854775808 is too large)"},
      {with_shape("[9223372036854775807]"),
       R"(tensor "a": shape [9223372036854775807] has more elements than can be counted)"},
      // 2^64 elements: a product that wraps around would be 0.
      {with_shape("[4294967296,4294967296]"),
       R"(tensor "a": shape [4294967296,4294967296] has more elements than can be counted)"},
      {with_shape("[4294967296,0,4294967296]"),
       R"(tensor "a": shape [4294967296,0,4294967296] has more elements than can be counted)"},
      {with_shape("[2]"), R"(tensor "a": shape [2] of F32 takes 8 bytes, but data_offsets [0,4] hold 4)"},
      {with_shape("[0]"), R"(tensor "a": shape [0] of F32 takes 0 bytes, but data_offsets [0,4] hold 4)"},
      {with_dtype("\"F64\""), R"(tensor "a": shape [1] of F64 takes 8 bytes, but data_offsets [0,4] hold 4)"},
      {with_offsets("[0,3]"), R"(tensor "a": shape [1] of F32 takes 4 bytes, but data_offsets [0,3] hold 3)"},
  });
  CHECK(error_of(with_shape("[1]")) == "no error");
  CHECK(error_of(with_shape("[]")) == "no error");
}

TEST_CASE("Tensors that leave the data, overlap, or leave bytes to nobody are refused") {
  const auto two = [](const std::string& first, const std::string& second, std::size_t bytes) {
    return file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + first +
                       R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":)" + second + "}}",
                   zeros(bytes));
  };
  check_refused({
      {with_offsets("[4,0]"), R"(tensor "a": data_offsets begin at 4, after their end at 0)"},
      {with_offsets("[0,5]"), R"(tensor "a": data_offsets end at 5, but the file's data has 4 bytes)"},
      {with_offsets("[0,9223372036854775808]"), R"(tensor "a": the number 9223372036854775808 is too large)"},
      {with_offsets("[9223372036854775803,9223372036854775807]"),
       R"(tensor "a": data_offsets end at 9223372036854775807, but the file's data has 4 bytes)"},
      {two("[0,8]", "[0,8]", 8),
       R"(tensor "b": its data begins at 0 and overlaps that of tensor "a", which ends at 8)"},
      {two("[4,12]", "[0,8]", 12),
       R"(tensor "a": its data begins at 4 and overlaps that of tensor "b", which ends at 8)"},
      {two("[0,8]", "[12,20]", 20),
       R"(tensor "b": its data begins at 12, but the bytes from 8 on belong to no tensor)"},
      {two("[4,12]", "[12,20]", 20),
       R"(tensor "a": its data begins at 4, but the bytes from 0 on belong to no tensor)"},
      {two("[0,8]", "[8,16]", 17), "the data has 17 bytes, but the last 1 belong to no tensor"},
      {file_of("{}", "x"), "the data has 1 bytes, but the last 1 belong to no tensor"},
      {file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
               R"("e":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}})",
               zeros(8)),
       R"(tensor "e": its data begins at 4 and overlaps that of tensor "a", which ends at 8)"},
  });
  CHECK(error_of(two("[0,8]", "[8,16]", 16)) == "no error");
  CHECK(error_of(two("[8,16]", "[0,8]", 16)) == "no error");
}

TEST_CASE("A file that was cut short is refused, wherever the cut") {
  CHECK(error_of(small_file) == "no error");
  for (std::size_t length = 0; length < small_file.size(); ++length) {
    // In memory of exactly this size, so that a sanitizer sees any read past the end.
    CHECK_THROWS_AS(parse_safetensors(small_file.substr(0, length), "f"), Error);
  }
  CHECK_THROWS_AS(parse_safetensors(small_file + "x", "f"), Error);
}

TEST_CASE("A file with random damage is refused, or what it says is inside the file") {
  Generator generator(7);
  const Size data_bytes = 16;
  int accepted = 0;
  for (int round = 0; round < 10'000; ++round) {
    std::string damaged = small_file;
    for (Size left = 1 + generator.below(3); left > 0; --left) {
      const Size place = generator.below(static_cast<Size>(damaged.size()));
      // Half of the damage is JSON's own characters, which come further than random bytes do.
      constexpr std::string_view json = "{}[]\",:0123456789-.e \\nu";
      damaged[static_cast<std::size_t>(place)] =
          generator.below(2) == 0 ? json[static_cast<std::size_t>(generator.below(static_cast<Size>(json.size())))]
                                  : static_cast<char>(generator.below(256));
    }
    try {
      const SafetensorsFile file = parse_safetensors(damaged, "f");
      CHECK(check_promises(file) == data_bytes);
      ++accepted;
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find('\n') == std::string::npos);
    }
  }
  // Damage to a name or to the data cannot be seen; nearly everything else is.
  CHECK(accepted > 500);
  CHECK(accepted < 5'000);
}
