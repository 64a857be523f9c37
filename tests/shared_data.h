#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>

#include <doctest/doctest.h>

namespace headshare {

// A file or folder of the data that is too large for this repository: in the folder that the environment variable
// HEADSHARE_SHARED names, else in `shared` beside the repository. Nothing, and a message, where it is not there; the
// test then returns.
inline std::optional<std::filesystem::path> shared_data(const std::filesystem::path& name) {
  const char* variable = std::getenv("HEADSHARE_SHARED");
  const std::filesystem::path folder = variable != nullptr
                                           ? std::filesystem::path(variable)
                                           : std::filesystem::path(HEADSHARE_SOURCE_DIR).parent_path() / "shared";
  if (std::filesystem::exists(folder / name)) return folder / name;
  MESSAGE("skipped: there is no ", (folder / name).string(), "; set HEADSHARE_SHARED to the folder that holds it");
  return std::nullopt;
}

}  // namespace headshare
