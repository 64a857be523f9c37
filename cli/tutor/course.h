#pragma once

#include <filesystem>
#include <string>
#include <vector>

// The course as its texts describe it: tutorials/NN_name/text.md, or README.md in a student's folder, begins with
// "# Lesson 4: Attention", and each step with "## Step 4.2: How is the future hidden? (20 minutes)".
namespace headshare::cli {

struct Step {
  int lesson = 0;
  int number = 0;     // 1 for the first
  std::string title;  // a question
  int minutes = 0;
};

struct Lesson {
  int number = 0;
  std::string folder = {};  // "04_attention"
  std::string title = {};
  std::vector<Step> steps = {};
};

// All lessons below the folder, in order. Fails on a text whose headings or numbers are not as above.
std::vector<Lesson> read_lessons(const std::filesystem::path& tutorials);

// "4" or "4.2", as people name a lesson or a step. Fails on a lesson or step that the course lacks.
struct Place {
  const Lesson* lesson;
  const Step* step;  // null: the whole lesson
};
Place find_place(const std::vector<Lesson>& lessons, const std::string& words);

// "4,5": these lessons of the checkout, in this order; empty: all. Fails on steps, and on a lesson named twice.
std::vector<Lesson> choose_lessons(const std::string& numbers);

std::string name_of(const Step& step);  // "4.2"

// The files in which a lesson's gaps are: those of lesson.cpp and lesson.cu that `folder`, the lesson's own, holds.
std::vector<std::filesystem::path> gap_files(const std::filesystem::path& folder);

// Where this program comes from, written into it when it was built: the checkout's tutorials, and its build folder.
// Fails with what to do where they have gone.
std::filesystem::path course_source();
std::filesystem::path course_build();

}  // namespace headshare::cli
