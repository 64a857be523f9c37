#include "cli/tutor/grading/results.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/report/table.h"

namespace headshare::cli {

namespace {

constexpr std::size_t longest_text = std::size_t{8} << 10;  // bytes

// A hundredth of a point is as fine as a grade needs to be.
double rounded(double points) { return std::isfinite(points) ? std::round(points * 100) / 100 : 0.0; }

// Without colours of a terminal and other control characters; of a long text the begin and the end.
std::string printable(const std::string& words) {
  std::string result;
  for (const char c : words)
    if (c == '\n' || c == '\t' || (static_cast<unsigned char>(c) >= ' ' && c != '\x7f')) result += c;
  if (result.size() <= longest_text) return result;
  const std::size_t half = longest_text / 2 - 32;
  return result.substr(0, half) + "\n(... left out ...)\n" + result.substr(result.size() - half);
}

std::string points(double score, double most) { return text(rounded(score), " of ", rounded(most)); }

// Each reason for missing points, with the parts that it costs.
std::string missing_points(const Grade& grade) {
  std::string result;
  std::set<std::string> told;
  for (const GradedPart& part : grade.parts) {
    if (part.score >= part.max_score || part.output.empty() || !told.insert(part.output).second) continue;
    std::string costs;
    for (const GradedPart& other : grade.parts)
      if (other.score < other.max_score && other.output == part.output)
        costs += text(costs.empty() ? "" : ", ", other.number, ' ', other.name);
    result += text('\n', costs, ":\n", printable(part.output), part.output.ends_with('\n') ? "" : "\n");
  }
  return result;
}

}  // namespace

double Grade::score() const {
  double sum = 0;
  for (const GradedPart& part : parts) sum += rounded(part.score);
  return rounded(sum);
}

double Grade::max_score() const {
  double sum = 0;
  for (const GradedPart& part : parts) sum += rounded(part.max_score);
  return rounded(sum);
}

std::string results_json(const Grade& grade) {
  using Json = nlohmann::ordered_json;
  Json tests = Json::array(), leaderboard = Json::array();
  for (const GradedPart& part : grade.parts) {
    Json test = {{"score", rounded(part.score)},
                 {"max_score", rounded(part.max_score)},
                 {"name", printable(part.name)},
                 {"number", part.number},
                 {"output", printable(part.output)},
                 {"visibility", part.visibility},
                 {"status", part.score >= part.max_score ? "passed" : "failed"}};
    if (!part.tags.empty()) test["tags"] = part.tags;
    tests.push_back(test);
  }
  for (const LeaderboardLine& line : grade.leaderboard)
    leaderboard.push_back({{"name", printable(line.name)}, {"value", rounded(line.value)}, {"order", "desc"}});
  // What is printed while grading tells about hidden tests, so it is for instructors.
  const Json root = {{"score", grade.score()},
                     {"execution_time", rounded(grade.seconds)},
                     {"output", printable(grade.output)},
                     {"visibility", "visible"},
                     {"stdout_visibility", "hidden"},
                     {"tests", tests},
                     {"leaderboard", leaderboard}};
  return root.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

std::string grade_table(const Grade& grade) {
  Table table({{"step"}, {"what"}, {"points", Alignment::right}, {"seen by students"}});
  for (const GradedPart& part : grade.parts)
    table.add_row({part.number, part.name, points(part.score, part.max_score), part.visibility});
  table.add_row({"", "all", points(grade.score(), grade.max_score()), ""});
  return table.plain() + missing_points(grade);
}

}  // namespace headshare::cli
