#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/size.h"

namespace headshare {

// UTF-8, leniently: any bytes can be decoded, and encoding gives exactly those bytes back. A byte that belongs to no
// valid sequence (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF) becomes a code point of its own,
// U+DC00 + byte, which no valid text contains. (Python calls this "surrogateescape", PEP 383.)
struct CodePoint {
  char32_t value;
  Size bytes;  // how many bytes of the text it takes, at least 1
};

CodePoint code_point_at(std::string_view text, Size position);  // 0 <= position < text.size()
std::u32string decode_utf8(std::string_view text);
std::string encode_utf8(std::u32string_view code_points);  // what is no code point at all is written as U+FFFD

// Does this code point stand for a byte of broken UTF-8?
constexpr bool is_invalid_byte(char32_t c) { return c >= 0xDC80 && c <= 0xDCFF; }

// Unicode white space as Python's str.split() knows it, because the scores of bleu.h and chrf.h are defined by it.
constexpr bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

// The parts of `text` without white space at the end, without it at both ends, and between it. All are views: they live
// as long as the text does.
std::string_view strip_right(std::string_view text);
std::string_view strip(std::string_view text);
std::vector<std::string_view> split_white_space(std::string_view text);

// Lower case for the letters of ASCII, of Latin-1 and of German (with the capital sharp s). Every other letter stays as
// it is: the full Unicode table would be longer than the rest of this folder.
std::string lower_cased(std::string_view text);

}  // namespace headshare
