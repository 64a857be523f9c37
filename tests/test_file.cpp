#include <doctest/doctest.h>

#include <unistd.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "tests/test_tools.h"

using namespace headshare;
namespace fs = std::filesystem;

namespace {

using test::error_of;
using test::TemporaryFolder;

}  // namespace

TEST_CASE("a file is read back byte for byte") {
  const TemporaryFolder folder;
  std::string every_byte;
  for (int i = 0; i < 256; ++i) every_byte += static_cast<char>(i);
  for (const std::string& bytes :
       {std::string(), std::string("\0", 1), std::string("a\r\nb\n"), every_byte, std::string(3'000'001, 'x')}) {
    CAPTURE(bytes.size());
    write_file(folder.path / "file", bytes);
    CHECK((read_file(folder.path / "file") == bytes));
    CHECK(folder.names() == std::vector<std::string>{"file"});
  }
}

TEST_CASE("a file is written piece by piece, and its missing folders are made") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "run" / "7" / "log.csv";
  write_file(path, [](std::ostream& out) {
    out << "step,"
        << "loss\n";
  });
  CHECK(read_file(path) == "step,loss\n");
}

TEST_CASE("a failing producer leaves the old file and nothing else") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "model";
  write_file(path, "the old bytes");
  const auto producer = [](std::ostream& out) {
    out << std::string(100'000, 'n') << std::flush;
    throw std::runtime_error("out of ideas");
  };
  CHECK_THROWS_WITH_AS(write_file(path, producer), "out of ideas", std::runtime_error);
  CHECK(read_file(path) == "the old bytes");
  CHECK(folder.names() == std::vector<std::string>{"model"});

  CHECK_THROWS(write_file(folder.path / "never_there", producer));
  CHECK(folder.names() == std::vector<std::string>{"model"});
}

TEST_CASE("the old file stays readable until the new one is complete") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "model";
  write_file(path, "old");
  write_file(path, [&](std::ostream& out) {
    out << "new" << std::flush;
    CHECK(read_file(path) == "old");
  });
  CHECK(read_file(path) == "new");
}

TEST_CASE("a stream that broke while producing is an error, and the old file stays") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "model";
  write_file(path, "old");
  const std::string error =
      error_of([&] { write_file(path, [](std::ostream& out) { out.setstate(std::ios::badbit); }); });
  CHECK(error.starts_with(text("cannot write ", path.string(), ": ")));
  CHECK(read_file(path) == "old");
  CHECK(folder.names() == std::vector<std::string>{"model"});
}

TEST_CASE("reading what is not there says which file and why") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "missing";
  CHECK(error_of([&] { read_file(path); }) == text("cannot read ", path.string(), ": No such file or directory"));
  CHECK(error_of([&] { read_file(folder.path); }) == text("cannot read ", folder.path.string(), ": it is a folder"));
}

TEST_CASE("writing where no file can be says which file and why, and leaves no temporary") {
  const TemporaryFolder folder;
  write_file(folder.path / "file", "not a folder");
  const fs::path below_file = folder.path / "file" / "model";
  CHECK(error_of([&] { write_file(below_file, "bytes"); }) ==
        text("cannot make the folder ", (folder.path / "file").string(), ": Not a directory"));
  CHECK(read_file(folder.path / "file") == "not a folder");

  const fs::path occupied = folder.path / "occupied";
  fs::create_directories(occupied / "inside");
  CHECK(error_of([&] { write_file(occupied, "bytes"); }) ==
        text("cannot write ", occupied.string(), ": Is a directory"));
  CHECK(fs::is_directory(occupied / "inside"));
  CHECK(folder.names().size() == 2);
}

TEST_CASE("writing into a read-only folder says which file and why") {
  if (::geteuid() == 0) {
    MESSAGE("skipped: root may write everywhere");
    return;
  }
  const TemporaryFolder folder;
  const fs::path locked = folder.path / "locked";
  fs::create_directories(locked);
  fs::permissions(locked, fs::perms::owner_read | fs::perms::owner_exec);
  CHECK(error_of([&] { write_file(locked / "model", "bytes"); }) ==
        text("cannot write ", (locked / "model").string(), ": Permission denied"));
  fs::permissions(locked, fs::perms::owner_all);
}
