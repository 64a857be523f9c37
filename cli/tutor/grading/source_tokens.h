#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace headshare::cli {

enum class TokenKind {
  word,       // identifier, keyword or number
  mark,       // one character of punctuation; -> and :: are one
  literal,    // the inside of a string literal, escapes as written
  directive,  // a whole line of the preprocessor, single blanks between words: "#include <vector>"
};

struct SourceToken {
  TokenKind kind;
  std::string text;
  std::size_t line;  // 1 for the first
};

// C++ or CUDA source without comments and character literals, cut into what a search for words must tell apart. Any
// bytes are accepted.
std::vector<SourceToken> source_tokens(const std::string& source);

}  // namespace headshare::cli
