#include "cli/tutor/grading/source_tokens.h"

#include <algorithm>
#include <cctype>

namespace headshare::cli {

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v'; }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (c & 0x80) != 0; }

class Cutter {
 public:
  explicit Cutter(const std::string& source) : source_(source) {}

  std::vector<SourceToken> cut() {
    bool at_line_begin = true;
    while (position_ < source_.size()) {
      const char c = peek();
      if (c == '\n') {
        at_line_begin = true;
        next();
      } else if (is_blank(c)) {
        next();
      } else if (starts("//") || starts("/*")) {
        skip_comment();
      } else if (at_line_begin && (c == '#' || starts("%:"))) {
        take_directive();
      } else {
        at_line_begin = false;
        take_token();
      }
    }
    return std::move(tokens_);
  }

 private:
  // The character that the compiler sees: a backslash at the end of a line joins it with the next.
  char peek() {
    while (position_ < source_.size() && source_[position_] == '\\') {
      std::size_t end = position_ + 1;
      while (end < source_.size() && is_blank(source_[end])) ++end;
      if (end >= source_.size() || source_[end] != '\n') break;
      position_ = end + 1;
      ++line_;
    }
    return position_ < source_.size() ? source_[position_] : '\n';
  }

  char next() {
    const char c = peek();
    if (position_ < source_.size() && c == '\n') ++line_;
    ++position_;
    return c;
  }

  bool starts(const std::string& words) {
    const std::size_t position = position_, line = line_;
    bool same = true;
    for (const char c : words) same = same && next() == c;
    position_ = position;
    line_ = line;
    return same;
  }

  void skip_comment() {
    const bool block = starts("/*");
    next(), next();
    while (position_ < source_.size()) {
      if (block && starts("*/")) {
        next(), next();
        return;
      }
      if (!block && peek() == '\n') return;
      next();
    }
  }

  void take_directive() {
    const std::size_t line = line_;
    if (next() == '%') next();
    std::string words = "#";
    while (position_ < source_.size() && peek() != '\n') {
      if (starts("//") || starts("/*")) {
        skip_comment();
        words += ' ';
      } else {
        words += next();
      }
    }
    std::string tidy;
    for (const char c : words) {
      const bool blank = is_blank(c);
      if (blank && (tidy == "#" || tidy.ends_with(' '))) continue;
      tidy += blank ? ' ' : c;
    }
    if (tidy.ends_with(' ')) tidy.pop_back();
    tokens_.push_back({TokenKind::directive, tidy, line});
  }

  void take_token() {
    const std::size_t line = line_;
    const char c = peek();
    if (c == '"') return take_literal(line);
    if (c == '\'') return skip_character();
    if (!is_word(c)) {
      std::string mark(1, next());
      if ((mark == "-" && peek() == '>') || (mark == ":" && peek() == ':')) mark += next();
      tokens_.push_back({TokenKind::mark, mark, line});
      return;
    }
    const bool number = std::isdigit(static_cast<unsigned char>(c)) != 0;
    std::string word;
    while (position_ < source_.size() && (is_word(peek()) || (number && (peek() == '\'' || peek() == '.'))))
      word += next();
    if (peek() == '"' && position_ < source_.size()) {  // the prefix of a literal
      if (word == "R" || word == "LR" || word == "uR" || word == "UR" || word == "u8R") return take_raw_literal(line);
      if (word == "L" || word == "u" || word == "U" || word == "u8") return take_literal(line);
    }
    tokens_.push_back({TokenKind::word, word, line});
  }

  void take_literal(std::size_t line) {
    std::string inside;
    next();
    while (position_ < source_.size() && peek() != '"' && peek() != '\n') {
      if (peek() == '\\') inside += next();
      inside += next();
    }
    if (peek() == '"') next();
    tokens_.push_back({TokenKind::literal, inside, line});
  }

  void take_raw_literal(std::size_t line) {
    const std::size_t open = source_.find('(', position_);
    if (open == std::string::npos) return take_literal(line);
    const std::string close = ')' + source_.substr(position_ + 1, open - position_ - 1) + '"';
    const std::size_t end = std::min(source_.find(close, open), source_.size());
    tokens_.push_back({TokenKind::literal, source_.substr(open + 1, end - open - 1), line});
    const std::size_t after = std::min(end + close.size(), source_.size());
    line_ += static_cast<std::size_t>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(position_),
                                                 source_.begin() + static_cast<std::ptrdiff_t>(after), '\n'));
    position_ = after;
  }

  void skip_character() {
    next();
    while (position_ < source_.size() && peek() != '\'' && peek() != '\n') {
      if (peek() == '\\') next();
      next();
    }
    if (peek() == '\'') next();
  }

  const std::string& source_;
  std::size_t position_ = 0, line_ = 1;
  std::vector<SourceToken> tokens_;
};

}  // namespace

std::vector<SourceToken> source_tokens(const std::string& source) { return Cutter(source).cut(); }

}  // namespace headshare::cli
