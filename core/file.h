#pragma once

#include <filesystem>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>

namespace headshare {

// The whole file as bytes. Fails with its name and the system's reason.
std::string read_file(const std::filesystem::path& path);

// Writes to a temporary name beside `path`, syncs it to the disk, then renames it over `path`: after a crash at any
// moment the old file or the new one is there, whole. Makes missing parent folders. Fails with the system's reason, and
// then leaves what was there before.
void write_file(const std::filesystem::path& path, std::string_view bytes);

// The same for contents that are produced piece by piece.
void write_file(const std::filesystem::path& path, const std::function<void(std::ostream&)>& produce);

}  // namespace headshare
