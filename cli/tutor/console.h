#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace headshare::cli {

// A command that a text shows, and what it prints.
struct Exchange {
  std::string command;
  std::string output;  // whole lines; empty for nothing
};

// As a lesson's expected.txt keeps them: "$ COMMAND", then its output, again and again.
std::vector<Exchange> parse_exchanges(const std::string& file_contents);
std::string to_text(const std::vector<Exchange>& exchanges);

// Runs the commands one after the other in one shell, in `folder`, with `program` as `headshare`. What a command writes
// to standard error counts only where it fails: progress lines belong to no text.
std::vector<Exchange> run_commands(const std::vector<std::string>& commands, const std::filesystem::path& folder,
                                   const std::filesystem::path& program);

// Where the output differs from the expected one, in one line; nothing where it agrees. Numbers with a decimal point
// agree within 2 %, or one in their last digit; a number after `~`, and a line that begins with `~ `, is not compared.
// Other numbers and words must be equal, however many blanks, or dashes of a table's rule, are between them.
std::optional<std::string> difference(const std::string& expected, const std::string& got);

}  // namespace headshare::cli
