#include "cli/tutor/console.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "core/error.h"
#include "core/file.h"

namespace headshare::cli {

namespace fs = std::filesystem;

namespace {

bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }

// A number such as 12, 1,024, 0.25 or 3e-05 at the front of `words`: its length, or 0.
std::size_t number_length(std::string_view words) {
  std::size_t i = !words.empty() && words[0] == '-' ? 1 : 0;
  const std::size_t first = i;
  const auto digits = [&] {
    while (i < words.size() &&
           (is_digit(words[i]) || (words[i] == ',' && i > first && i + 1 < words.size() && is_digit(words[i + 1]))))
      ++i;
  };
  digits();
  if (i == first) return 0;
  if (i + 1 < words.size() && words[i] == '.' && is_digit(words[i + 1])) {
    ++i;
    digits();
  }
  if (i + 2 < words.size() && words[i] == 'e' && (words[i + 1] == '-' || words[i + 1] == '+') &&
      is_digit(words[i + 2])) {
    i += 2;
    digits();
  }
  return i;
}

struct Token {
  std::string words = {};
  bool is_number = false;
  bool is_masked = false;
};

// Words and numbers of one line. A run of blanks is one blank, of dashes two.
std::vector<Token> tokens_of(const std::string& line) {
  std::vector<Token> tokens;
  std::string whole = line;
  // The sign of what is not a number depends on the processor.
  for (std::size_t at = whole.find("-nan"); at != std::string::npos; at = whole.find("-nan")) whole.erase(at, 1);
  std::string_view rest = whole;
  while (!rest.empty()) {
    if (rest[0] == ' ') {
      rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
      continue;
    }
    const bool masked = !tokens.empty() && tokens.back().words == "~";
    std::size_t length = number_length(rest);
    Token token{.is_number = length > 0, .is_masked = masked && length > 0};
    if (length == 0 && rest.starts_with("--")) length = std::min(rest.find_first_not_of('-'), rest.size());
    if (length == 0) length = 1;
    token.words = rest.substr(0, length);
    if (token.words.starts_with("--")) token.words = "--";
    tokens.push_back(token);
    rest.remove_prefix(length);
  }
  return tokens;
}

// 0.01 for a number written as 3.14; 1 for 12.
double last_digit(const std::string& number) {
  const std::size_t exponent = number.find('e');
  const std::string digits = number.substr(0, exponent);
  const std::size_t point = digits.find('.');
  const double unit = point == std::string::npos ? 1 : std::pow(10.0, -static_cast<double>(digits.size() - point - 1));
  return exponent == std::string::npos ? unit : unit * std::pow(10.0, std::atof(number.c_str() + exponent + 1));
}

bool agree(const Token& expected, const Token& got) {
  if (expected.is_masked && got.is_masked) return true;
  if (expected.words == got.words) return true;
  if (!expected.is_number || !got.is_number || expected.words.find_first_of(".e") == std::string::npos) return false;
  const auto value = [](std::string words) {
    std::erase(words, ',');
    return std::strtod(words.c_str(), nullptr);
  };
  const double x = value(got.words), y = value(expected.words);
  return std::abs(x - y) <= std::max(0.02 * std::abs(y), 1.001 * last_digit(expected.words));
}

bool lines_agree(const std::string& expected, const std::string& got) {
  if (expected.starts_with("~ ") && got.starts_with("~ ")) return true;
  const std::vector<Token> a = tokens_of(expected), b = tokens_of(got);
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), agree);
}

std::vector<std::string> lines_of(const std::string& words) {
  std::vector<std::string> lines;
  std::istringstream in(words);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

std::vector<Exchange> parse_exchanges(const std::string& file_contents) {
  std::vector<Exchange> exchanges;
  for (const std::string& line : lines_of(file_contents)) {
    if (line.starts_with("$ "))
      exchanges.push_back({line.substr(2), ""});
    else if (exchanges.empty())
      fail("expected.txt: begins with \"", line, "\", not with \"$ COMMAND\"");
    else
      exchanges.back().output += line + '\n';
  }
  return exchanges;
}

std::string to_text(const std::vector<Exchange>& exchanges) {
  std::string all;
  for (const Exchange& exchange : exchanges) all += "$ " + exchange.command + '\n' + exchange.output;
  return all;
}

std::vector<Exchange> run_commands(const std::vector<std::string>& commands, const fs::path& folder,
                                   const fs::path& program) {
  fs::create_directories(folder);
  // One script, so that a `cd` or a variable holds for the commands after it. Files of its own, below the folder.
  const fs::path kept = folder / text("console-", ::getpid());
  fs::create_directories(kept);
  std::string script =
      text("headshare() { '", program.string(), "' \"$@\"; }\nkept='", fs::absolute(kept).string(), "'\n");
  for (std::size_t i = 0; i < commands.size(); ++i)
    script += text("{ ", commands[i], "\n} >\"$kept/out", i, "\" 2>\"$kept/error", i,
                   "\" </dev/null || cat \"$kept/error", i, "\" >>\"$kept/out", i, "\"\n");
  write_file(kept / "script.sh", script);
  const std::string line = text("cd '", folder.string(), "' && bash '", fs::absolute(kept / "script.sh").string(), "'");
  const int status = std::system(line.c_str());
  std::vector<Exchange> exchanges;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const fs::path out = kept / text("out", i);
    if (!fs::exists(out)) fail("tutor: '", commands[i], "' was not reached; the shell ended with ", status);
    exchanges.push_back({commands[i], read_file(out)});
    std::string& output = exchanges.back().output;
    if (!output.empty() && output.back() != '\n') output += '\n';
  }
  fs::remove_all(kept);
  return exchanges;
}

std::optional<std::string> difference(const std::string& expected, const std::string& got) {
  const std::vector<std::string> a = lines_of(expected), b = lines_of(got);
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    if (i >= b.size()) return text("line ", i + 1, ": expected \"", a[i], "\", got nothing more");
    if (i >= a.size()) return text("line ", i + 1, ": expected nothing more, got \"", b[i], '"');
    if (!lines_agree(a[i], b[i])) return text("line ", i + 1, ": expected \"", a[i], "\", got \"", b[i], '"');
  }
  return std::nullopt;
}

}  // namespace headshare::cli
