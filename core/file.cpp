#include "core/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/error.h"

namespace headshare {
namespace {

std::string reason() { return std::strerror(errno); }

// Without this a rename can reach the disk before the bytes it names, or not at all.
void sync_to_disk(const std::filesystem::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags);
  if (descriptor < 0) fail("cannot open ", path.string(), " to sync it: ", reason());
  const int result = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  // Some file systems cannot sync a folder; that is their promise to keep, not an error of ours.
  if (result != 0 && error != EINVAL && error != EROFS) fail("cannot sync ", path.string(), ": ", std::strerror(error));
}

struct RemoveOnFailure {
  std::filesystem::path path;
  ~RemoveOnFailure() {
    std::error_code ignored;
    if (!path.empty()) std::filesystem::remove(path, ignored);
  }
};

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) fail("cannot read ", path.string(), ": it is a folder");
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) fail("cannot read ", path.string(), ": ", reason());
  std::ostringstream bytes;
  bytes << in.rdbuf();
  if (in.bad()) fail("cannot read ", path.string(), ": ", reason());
  return std::move(bytes).str();
}

void write_file(const std::filesystem::path& path, const std::function<void(std::ostream&)>& produce) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail("cannot make the folder ", folder.string(), ": ", error.message());

  const std::filesystem::path temporary = text(path.string(), ".", ::getpid(), ".tmp");
  RemoveOnFailure cleanup{temporary};
  {
    errno = 0;
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    if (!out) fail("cannot write ", path.string(), ": ", reason());
    produce(out);
    out.flush();
    if (!out) fail("cannot write ", path.string(), ": ", reason());
  }
  sync_to_disk(temporary, O_RDONLY);
  std::filesystem::rename(temporary, path, error);
  if (error) fail("cannot write ", path.string(), ": ", error.message());
  cleanup.path.clear();
  sync_to_disk(folder, O_RDONLY | O_DIRECTORY);
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  write_file(path, [&](std::ostream& out) { out.write(bytes.data(), static_cast<std::streamsize>(bytes.size())); });
}

}  // namespace headshare
