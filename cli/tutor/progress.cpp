#include "cli/tutor/progress.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"

namespace headshare::cli {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char* file_name = "course.json";
constexpr const char* kind = "headshare course 1";

}  // namespace

Progress Progress::load(const fs::path& course) {
  const fs::path path = course / file_name;
  Progress progress;
  try {
    const Json json = Json::parse(read_file(path));
    if (json.at("kind") != kind) fail("kind is ", json.at("kind").dump());
    for (const auto& [name, step] : json.at("steps").items())
      progress.steps_[name] = {step.at("passed"), step.at("revealed"), step.at("hints")};
  } catch (const std::exception& error) {
    fail(path.string(), ": not the score of a course (", error.what(),
         "); to begin the score anew, put this into it: ", Json{{"kind", kind}, {"steps", Json::object()}}.dump());
  }
  return progress;
}

void Progress::save(const fs::path& course) const {
  Json steps = Json::object();
  for (const auto& [name, step] : steps_)
    steps[name] = {{"passed", step.passed}, {"revealed", step.revealed}, {"hints", step.hints}};
  write_file(course / file_name, Json{{"kind", kind}, {"steps", steps}}.dump(2) + '\n');
}

StepProgress Progress::at(const Step& step) const {
  const auto found = steps_.find(name_of(step));
  return found == steps_.end() ? StepProgress{} : found->second;
}

std::optional<fs::path> find_student_folder() {
  for (fs::path folder = fs::current_path();; folder = folder.parent_path()) {
    if (fs::exists(folder / file_name)) return folder;
    if (folder == folder.parent_path()) return std::nullopt;
  }
}

}  // namespace headshare::cli
