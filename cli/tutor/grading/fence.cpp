#include "cli/tutor/grading/fence.h"

#include <algorithm>
#include <map>
#include <set>

#include "cli/tutor/grading/source_tokens.h"
#include "core/error.h"

namespace headshare::cli {

namespace {

// Words that no solution needs, with why.
const std::map<std::string, std::string>& refused_words() {
  static const std::map<std::string, std::string> all = [] {
    const std::map<std::string, std::vector<std::string>> reasons = {
        {"inline assembly", {"asm", "__asm", "__asm__"}},
        {"attributes of the compiler",
         {"__attribute__", "__attribute", "gnu", "__gnu__", "clang", "_Clang", "_Pragma"}},
        {"starting or watching processes",
         {"fork",   "vfork",   "clone3",    "execl",    "execlp",           "execle",           "execv",  "execve",
          "execvp", "execvpe", "fexecve",   "execveat", "posix_spawn",      "posix_spawnp",     "system", "popen",
          "ptrace", "prctl",   "setrlimit", "syscall",  "process_vm_readv", "process_vm_writev"}},
        {"loading code", {"dlopen", "dlmopen", "dlsym", "dladdr", "dl_iterate_phdr", "mprotect", "memfd_create"}},
        {"what happens after the tests",
         {"atexit", "at_quick_exit", "on_exit", "quick_exit", "set_terminate", "sigaction", "setjmp", "longjmp"}},
        {"the environment", {"getenv", "secure_getenv", "setenv", "putenv", "environ"}},
        {"files",
         {"fopen", "freopen", "fdopen", "openat", "ifstream", "ofstream", "fstream", "basic_filebuf", "filebuf",
          "filesystem", "read_file", "write_file"}},
        {"standard input", {"cin", "stdin", "scanf", "fscanf", "getchar", "fgets"}},
        {"the tests themselves",
         {"doctest", "TEST_CASE", "award", "awards", "grading_seed", "random_tensor", "check_close", "check_equal",
          "check_fails"}},
    };
    std::map<std::string, std::string> words;
    for (const auto& [reason, list] : reasons)
      for (const std::string& word : list) words[word] = reason;
    return words;
  }();
  return all;
}

// Short names that are functions of the system when they are called by themselves, not on an object.
const std::set<std::string> refused_calls = {"read", "write", "open",   "close",  "creat", "pipe", "dup",
                                             "dup2", "kill",  "signal", "socket", "mmap",  "_exit"};

const std::vector<std::string> refused_paths = {"/proc", "/dev/", "/sys/", "/etc/", "/autograder", "results.json"};

bool is_allowed_directive(const std::string& line) {
  for (const char* const begin : {"#pragma omp ", "#pragma unroll", "#pragma once"})
    if (line.starts_with(begin)) return true;
  std::string header = line;
  std::erase(header, ' ');
  if (!header.starts_with("#include<") || !header.ends_with('>')) return false;
  header = header.substr(9, header.size() - 10);
  return std::find(allowed_headers().begin(), allowed_headers().end(), header) != allowed_headers().end();
}

class Fence {
 public:
  Fence(const std::string& source, const std::string& given) : tokens_(source_tokens(source)) {
    for (const SourceToken& token : source_tokens(given)) given_.insert(token.text);
  }

  std::vector<std::string> problems() {
    for (std::size_t i = 0; i < tokens_.size() && problems_.size() < 5; ++i) {
      const std::string problem = problem_at(i);
      if (!problem.empty() && reported_.insert(tokens_[i].text).second)
        problems_.push_back(text("line ", tokens_[i].line, ": ", problem));
    }
    return problems_;
  }

 private:
  bool is(std::size_t i, TokenKind kind, const std::string& words) const {
    return i < tokens_.size() && tokens_[i].kind == kind && tokens_[i].text == words;
  }
  bool is_mark(std::size_t i, const std::string& mark) const { return is(i, TokenKind::mark, mark); }

  // Whether the file has a function of its own with this name: `float read(`.
  bool is_declared_here(const std::string& word) const {
    static const std::set<std::string> before_calls = {"return", "else", "do", "case", "throw", "co_return"};
    for (std::size_t i = 1; i < tokens_.size(); ++i)
      if (is(i, TokenKind::word, word) && is_mark(i + 1, "(") && tokens_[i - 1].kind == TokenKind::word &&
          !before_calls.contains(tokens_[i - 1].text))
        return true;
    return false;
  }

  std::string problem_at(std::size_t i) const {
    const SourceToken& token = tokens_[i];
    if (given_.contains(token.text) && token.kind != TokenKind::mark) return "";
    switch (token.kind) {
      case TokenKind::directive:
        return is_allowed_directive(token.text) ? "" : problem_of_directive(token.text);
      case TokenKind::literal:
        return problem_of_literal(i);
      case TokenKind::word:
        return problem_of_word(i);
      case TokenKind::mark:
        return "";
    }
    return "";
  }

  static std::string problem_of_directive(const std::string& line) {
    if (line.starts_with("#include"))
      return line + ": beside what the file came with, a solution may include common standard headers only";
    return line.substr(0, 60) + ": a solution needs no preprocessor";
  }

  std::string problem_of_literal(std::size_t i) const {
    for (const std::string& path : refused_paths)
      if (tokens_[i].text.find(path) != std::string::npos) return text('"', path, "\": a solution reads no such file");
    if (i > 0 && is(i - 1, TokenKind::word, "extern")) return "extern \"C\": a solution needs no foreign function";
    return "";
  }

  std::string problem_of_word(std::size_t i) const {
    const std::string& word = tokens_[i].text;
    const bool is_member = i > 0 && (is_mark(i - 1, ".") || is_mark(i - 1, "->"));
    if (const auto refused = refused_words().find(word); refused != refused_words().end() && !is_member)
      return text(word, ": a solution has no business with ", refused->second);
    if (refused_calls.contains(word) && !is_member && is_mark(i + 1, "(") && !is_declared_here(word))
      return word + "(): a solution has no business with the system's function of this name";
    if ((word == "std" || word == "doctest") && i > 0 && is(i - 1, TokenKind::word, "namespace") && is_mark(i + 1, "{"))
      return text("namespace ", word, ": a solution adds nothing to it");
    return "";
  }

  std::vector<SourceToken> tokens_;
  std::set<std::string> given_, reported_;
  std::vector<std::string> problems_;
};

}  // namespace

std::vector<std::string> beyond_the_fence(const std::string& source, const std::string& given) {
  return Fence(source, given).problems();
}

const std::vector<std::string>& allowed_headers() {
  static const std::vector<std::string> headers = {
      "algorithm",     "any",           "array",    "assert.h",    "atomic",
      "bit",           "cassert",       "cfloat",   "chrono",      "climits",
      "cmath",         "compare",       "complex",  "concepts",    "cstddef",
      "cstdint",       "cstdio",        "cstdlib",  "cstring",     "deque",
      "exception",     "execution",     "float.h",  "functional",  "initializer_list",
      "iomanip",       "iostream",      "iterator", "limits",      "limits.h",
      "list",          "map",           "math.h",   "memory",      "mutex",
      "new",           "numbers",       "numeric",  "omp.h",       "optional",
      "ostream",       "queue",         "random",   "ranges",      "set",
      "span",          "sstream",       "stack",    "stddef.h",    "stdexcept",
      "stdint.h",      "stdio.h",       "stdlib.h", "string",      "string.h",
      "string_view",   "thread",        "tuple",    "type_traits", "typeinfo",
      "unordered_map", "unordered_set", "utility",  "variant",     "vector"};
  return headers;
}

}  // namespace headshare::cli
