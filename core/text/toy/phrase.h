#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

// The smallest pieces of the toy language: the same words in both languages.
namespace headshare::toy {

// An entry of a word list.
struct Word {
  std::string_view english, german;
};

// A phrase made at run time; empty where a sentence has none.
struct Bilingual {
  std::string english, german;

  bool empty() const { return english.empty(); }
};

inline Bilingual bilingual(const Word& word) { return {std::string(word.english), std::string(word.german)}; }

// The parts with one space between them; empty parts leave no trace.
inline std::string join(std::initializer_list<std::string_view> parts) {
  std::string joined;
  for (const std::string_view part : parts) {
    if (part.empty()) continue;
    if (!joined.empty()) joined += ' ';
    joined += part;
  }
  return joined;
}

}  // namespace headshare::toy
