#pragma once

#include <filesystem>
#include <string>
#include <vector>

// A lesson's text.md becomes README.md. A line that is one of these comments is replaced:
//
//   <!-- code FILE NAME -->   the region NAME of FILE, without its gaps' markers and hints
//   <!-- gap FILE NAME -->    the same as a student finds it, a stub in every gap
//   <!-- run COMMAND -->      the command and what it prints, from expected.txt
//   <!-- lessons -->          the table of all lessons (in tutorials/text.md)
//
// So no text quotes code or output that is not there; a test compares README.md with this, and expected.txt with what
// the commands print.
namespace headshare::cli {

enum class Reader {
  everybody,  // on the web, with a folded solution after each step
  student,    // without solutions
};

// The text of the lesson in `folder`. Fails on a region, file or command's output that is not there.
std::string lesson_text(const std::filesystem::path& folder, int lesson, Reader reader);

// The commands of the text, in order.
std::vector<std::string> commands_of(const std::string& text_md);

// The pictures ![...](NAME) that the text shows.
std::vector<std::string> pictures_of(const std::string& text_md);

}  // namespace headshare::cli
