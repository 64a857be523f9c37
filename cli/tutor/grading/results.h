#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace headshare::cli {

// One line of a grade: the visible tests of a step, its hidden tests, or an award.
struct GradedPart {
  std::string number;  // "4.2"
  std::string name;
  double score = 0, max_score = 0;
  std::string output;      // for who may see it
  std::string visibility;  // visible, hidden, after_due_date or after_published
  std::vector<std::string> tags = {};
};

// How much better than the naive version, for all in the course to see.
struct LeaderboardLine {
  std::string name;
  double value = 0;
};

struct Grade {
  std::string output;  // about the submission as a whole
  std::vector<GradedPart> parts;
  std::vector<LeaderboardLine> leaderboard;
  double seconds = 0;

  double score() const;
  double max_score() const;
};

// Gradescope's results.json (gradescope-autograders.readthedocs.io/en/latest/specs). Always valid: numbers are finite,
// strings UTF-8 without control characters, of at most 8 KiB each.
std::string results_json(const Grade& grade);

// For instructors: a line per part, the sum, and why points are missing. A reason that several parts share, such as a
// file that does not compile, is given once.
std::string grade_table(const Grade& grade);

}  // namespace headshare::cli
