#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/safetensors.h"

using namespace headshare;

namespace {

struct TemporaryFile {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / text("headshare_safetensors_", ::getpid(), ".safetensors");
  ~TemporaryFile() { std::filesystem::remove(path); }
};

template <class T>
StoredTensor stored(const std::string& name, const std::vector<Size>& shape, const std::vector<T>& values) {
  return {name, element_type_of<T>, shape, std::as_bytes(std::span(values))};
}

template <class T>
std::vector<T> values_of(const StoredTensor* tensor) {
  REQUIRE(tensor != nullptr);
  REQUIRE(tensor->type == element_type_of<T>);
  std::vector<T> values(tensor->bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
  return values;
}

std::string writing_error_of(const std::vector<StoredTensor>& tensors,
                             const std::map<std::string, std::string>& metadata = {}) {
  const TemporaryFile file;
  try {
    write_safetensors(file.path, tensors, metadata);
  } catch (const Error& error) {
    CHECK_FALSE(std::filesystem::exists(file.path));
    const std::string who = text("cannot write ", file.path.string(), ": ");
    const std::string message = error.what();
    CHECK(message.substr(0, who.size()) == who);
    return message.substr(who.size());
  }
  return "no error";
}

}  // namespace

TEST_CASE("What is written is read back: types, shapes, bits, metadata, and the order of the tensors") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> odd = {1.0f, -0.0f, 1e-45f, std::numeric_limits<float>::infinity(), 3.5f, 0.1f, -7.0f};
  const std::vector<double> doubles = {0.1, -1e308};
  const std::vector<std::int32_t> tokens = {-1, 2147483647, -2147483647 - 1};
  const std::vector<float> not_a_number = {nan};
  const std::vector<float> none;
  const std::vector<StoredTensor> tensors = {
      stored("z.weight", {7}, odd),
      stored("empty", {3, 0, 5}, none),
      stored("a \"quoted\"\n\x01 ü", {2}, doubles),
      stored("scalar", {}, not_a_number),
      stored("empty too", {0}, none),
      stored("", {1, 1, 1, 1, 1, 1, 1, 3}, tokens),
  };
  const std::map<std::string, std::string> metadata = {
      {"", "empty key"}, {"config", "{\"heads\": 8}\n"}, {"ß", "🙂"}};
  const TemporaryFile path;
  write_safetensors(path.path, tensors, metadata);
  const SafetensorsFile file = read_safetensors(path.path);

  CHECK(file.metadata() == metadata);
  REQUIRE(file.tensors().size() == tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const StoredTensor& read = file.tensors()[i];
    CHECK(read.name == tensors[i].name);
    CHECK(read.type == tensors[i].type);
    CHECK(read.shape == tensors[i].shape);
    CHECK(std::vector(read.bytes.begin(), read.bytes.end()) ==
          std::vector(tensors[i].bytes.begin(), tensors[i].bytes.end()));
  }
  CHECK(values_of<double>(file.find("a \"quoted\"\n\x01 ü")) == doubles);
  CHECK(file.find("z") == nullptr);
}

TEST_CASE("A written file has exactly the format's bytes, and its data starts at a multiple of 64") {
  const std::vector<float> ones = {1.0f, 1.0f};
  const std::vector<std::int32_t> seven = {7};
  const TemporaryFile path;
  write_safetensors(path.path, std::vector{stored("b", {2, 1}, ones), stored("a", {}, seven)}, {{"k", "v"}});
  const std::string header = R"({"__metadata__":{"k":"v"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                             R"("a":{"dtype":"I32","shape":[],"data_offsets":[8,12]}})";
  REQUIRE(header.size() == 134);  // so 192 bytes with the length before it and the spaces after it
  CHECK(read_file(path.path) == std::string("\xb8\0\0\0\0\0\0\0", 8) + header + std::string(184 - 134, ' ') +
                                    std::string("\0\0\x80\x3f\0\0\x80\x3f\x07\0\0\0", 12));

  // Whatever the header's length.
  for (int length = 0; length < 130; ++length) {
    const std::string name(static_cast<std::size_t>(length), 'n');
    write_safetensors(path.path, std::vector{stored(name, {2}, ones)});
    const std::string bytes = read_file(path.path);
    CHECK((bytes.size() - 8) % 64 == 0);
    const SafetensorsFile file = parse_safetensors(bytes, "f");
    CHECK(values_of<float>(file.find(name)) == ones);
  }
}

TEST_CASE("Nothing at all can be written and read") {
  const TemporaryFile path;
  write_safetensors(path.path, {});
  const SafetensorsFile file = read_safetensors(path.path);
  CHECK(file.tensors().empty());
  CHECK(file.metadata().empty());
}

TEST_CASE("The file that Python's safetensors package wrote is read with the same values") {
  const SafetensorsFile file =
      read_safetensors(std::filesystem::path(HEADSHARE_SOURCE_DIR) / "tests/reference/python.safetensors");
  CHECK(file.tensors().size() == 6);
  CHECK(values_of<float>(file.find("decoder.0.weight")) == std::vector<float>{-0.5f, -0.25f, 0, 0.25f, 0.5f, 0.75f});
  CHECK(file.find("decoder.0.weight")->shape == std::vector<Size>{2, 3});
  CHECK(values_of<double>(file.find("scalar")) == std::vector<double>{0.1});
  CHECK(file.find("scalar")->shape.empty());
  CHECK(values_of<double>(file.find("column")) == std::vector<double>{1.0 / 3, -2.0 / 3, 1e300});
  CHECK(file.find("column")->shape == std::vector<Size>{3, 1});
  CHECK(values_of<std::int32_t>(file.find("tokens")) ==
        std::vector<std::int32_t>{0, -1, 2147483647, -2147483647 - 1, 7});
  CHECK(values_of<float>(file.find("no rows")).empty());
  CHECK(file.find("no rows")->shape == std::vector<Size>{0, 4});
  CHECK(values_of<float>(file.find("Größe \"α\"")) == std::vector<float>{1.5f});
  CHECK(file.metadata() == std::map<std::string, std::string>{{"step", "1200"},
                                                              {"config", "{\"heads\": 8,\n \"kv_heads\": 2}"},
                                                              {"Sprache", "größer 🙂"}});
}

TEST_CASE("What the format cannot hold is not written, and no file is left behind") {
  const std::vector<float> two = {1.0f, 2.0f};
  const std::vector<float> none;
  CHECK(writing_error_of({stored("a", {2}, two)}) == "no error");
  CHECK(writing_error_of({stored("a", {2}, two), stored("a", {2}, two)}) == "tensor \"a\" comes twice");
  CHECK(writing_error_of({stored("__metadata__", {2}, two)}) ==
        "tensor \"__metadata__\": the format keeps this name for itself");
  CHECK(writing_error_of({stored("a", {3}, two)}) == "tensor \"a\": shape [3] of F32 takes 12 bytes, but 8 were given");
  CHECK(writing_error_of({stored("a", {-1, -2}, two)}) == "tensor \"a\": shape [-1,-2] has a negative extent");
  CHECK(writing_error_of({stored("a", {2, 1, 1, 1, 1, 1, 1, 1, 1}, two)}) ==
        "tensor \"a\": shape has more than 8 extents");
  CHECK(writing_error_of({stored("a", {4294967296, 4294967296}, none)}) ==
        "tensor \"a\": shape [4294967296,4294967296] has more elements than can be counted");
  CHECK(writing_error_of({stored("a\xff", {2}, two)}) == "the text \"a\xef\xbf\xbd\" is not valid UTF-8");
  CHECK(writing_error_of({}, {{"k", "\xc3"}}) == "the text \"\xef\xbf\xbd\" is not valid UTF-8");
  CHECK(writing_error_of({}, {{"\xc3", "v"}}) == "the text \"\xef\xbf\xbd\" is not valid UTF-8");
  CHECK(writing_error_of({}, {{"k", std::string(100'000'000, 'v')}}).substr(0, 27) == "the header would have 10000");
}

TEST_CASE("Writing what cannot be written leaves the file that was there before") {
  const std::vector<float> two = {1.0f, 2.0f};
  const TemporaryFile path;
  write_safetensors(path.path, std::vector{stored("a", {2}, two)});
  const std::string before = read_file(path.path);
  CHECK_THROWS_AS(write_safetensors(path.path, std::vector{stored("a", {3}, two)}), Error);
  CHECK(read_file(path.path) == before);
}

TEST_CASE("A damaged file on disk is refused by its name") {
  const TemporaryFile path;
  write_file(path.path, std::string_view("{}"));
  const std::string message = text(path.path.string(), ": the file is 2 bytes long, but safetensors starts with 8 ",
                                   "bytes, its header's length");
  CHECK_THROWS_WITH_AS(read_safetensors(path.path), message.c_str(), Error);
}
