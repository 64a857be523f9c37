#include "cli/tutor/grading/test_list.h"

#include "cli/tutor/grading/source_tokens.h"

namespace headshare::cli {

namespace {

// A string literal as the program has it, for the escapes that a name can hold.
std::string unescaped(const std::string& literal) {
  std::string words;
  for (std::size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] == '\\' && i + 1 < literal.size()) ++i;
    words += literal[i];
  }
  return words;
}

// The string that begins at token i, of one or more literals; empty where something else does.
std::string string_at(const std::vector<SourceToken>& tokens, std::size_t i) {
  std::string words;
  for (; i < tokens.size() && tokens[i].kind == TokenKind::literal; ++i) words += unescaped(tokens[i].text);
  return words;
}

}  // namespace

std::vector<ListedTest> tests_in(const std::string& source) {
  const std::vector<SourceToken> tokens = source_tokens(source);
  std::vector<ListedTest> tests;
  for (std::size_t i = 0; i + 2 < tokens.size(); ++i) {
    if (tokens[i].kind != TokenKind::word || tokens[i + 1].text != "(") continue;
    const std::string words = string_at(tokens, i + 2);
    if (words.empty()) continue;
    if (tokens[i].text == "TEST_CASE") tests.push_back({words, {}});
    if (tokens[i].text == "award" && !tests.empty()) tests.back().awards.push_back(words);
  }
  return tests;
}

std::vector<ListedTest> tests_of_step(const std::vector<ListedTest>& tests, const std::string& step) {
  std::vector<ListedTest> found;
  for (const ListedTest& test : tests)
    if (test.name.starts_with(step + ' ')) found.push_back(test);
  return found;
}

}  // namespace headshare::cli
