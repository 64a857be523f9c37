#include "core/text/utf8.h"

#include <optional>

namespace headshare {
namespace {

constexpr char32_t replacement_character = 0xFFFD;

unsigned byte_at(std::string_view text, Size position) { return static_cast<unsigned char>(text[position]); }

// How the first byte of a sequence of several bytes says how long it is, and the smallest value worth that length.
struct SequenceKind {
  Size bytes;
  char32_t first_bits;
  char32_t smallest;
};

std::optional<SequenceKind> kind_of_sequence(unsigned first) {
  if ((first & 0xE0) == 0xC0) return SequenceKind{2, first & 0x1F, 0x80};
  if ((first & 0xF0) == 0xE0) return SequenceKind{3, first & 0x0F, 0x800};
  if ((first & 0xF8) == 0xF0) return SequenceKind{4, first & 0x07, 0x10000};
  return std::nullopt;
}

bool is_surrogate(char32_t c) { return c >= 0xD800 && c <= 0xDFFF; }

char32_t lower_cased(char32_t c) {
  if (c >= 'A' && c <= 'Z') return c + 0x20;
  if (c >= 0xC0 && c <= 0xDE && c != 0xD7) return c + 0x20;  // 0xD7 is the multiplication sign
  if (c == 0x1E9E) return 0xDF;                              // capital sharp s
  return c;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  const auto put_continuation = [&put](char32_t bits) { put(0x80 | (bits & 0x3F)); };
  if (is_invalid_byte(c)) return put(c - 0xDC00);
  if (is_surrogate(c) || c > 0x10FFFF) c = replacement_character;
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | (c >> 6));
  } else {
    if (c < 0x10000) {
      put(0xE0 | (c >> 12));
    } else {
      put(0xF0 | (c >> 18));
      put_continuation(c >> 12);
    }
    put_continuation(c >> 6);
  }
  put_continuation(c);
}

}  // namespace

CodePoint code_point_at(std::string_view text, Size position) {
  const unsigned first = byte_at(text, position);
  if (first < 0x80) return {first, 1};
  const CodePoint invalid = {0xDC00 + first, 1};

  const std::optional<SequenceKind> kind = kind_of_sequence(first);
  if (!kind || position + kind->bytes > static_cast<Size>(text.size())) return invalid;
  char32_t value = kind->first_bits;
  for (Size i = 1; i < kind->bytes; ++i) {
    const unsigned continuation = byte_at(text, position + i);
    if ((continuation & 0xC0) != 0x80) return invalid;
    value = (value << 6) | (continuation & 0x3F);
  }
  if (value < kind->smallest || is_surrogate(value) || value > 0x10FFFF) return invalid;
  return {value, kind->bytes};
}

std::u32string decode_utf8(std::string_view text) {
  std::u32string code_points;
  code_points.reserve(text.size());
  for (Size position = 0; position < static_cast<Size>(text.size());) {
    const CodePoint c = code_point_at(text, position);
    code_points.push_back(c.value);
    position += c.bytes;
  }
  return code_points;
}

std::string encode_utf8(std::u32string_view code_points) {
  std::string text;
  text.reserve(code_points.size());
  for (const char32_t c : code_points) append_utf8(text, c);
  return text;
}

std::string_view strip_right(std::string_view text) {
  Size end = 0;  // after the last code point that is no white space
  for (Size position = 0; position < static_cast<Size>(text.size());) {
    const CodePoint c = code_point_at(text, position);
    position += c.bytes;
    if (!is_white_space(c.value)) end = position;
  }
  return text.substr(0, end);
}

std::string_view strip(std::string_view text) {
  text = strip_right(text);
  Size begin = 0;
  while (begin < static_cast<Size>(text.size())) {
    const CodePoint c = code_point_at(text, begin);
    if (!is_white_space(c.value)) break;
    begin += c.bytes;
  }
  return text.substr(begin);
}

std::vector<std::string_view> split_white_space(std::string_view text) {
  std::vector<std::string_view> words;
  Size word = 0;  // where the current word begins
  Size position = 0;
  while (position < static_cast<Size>(text.size())) {
    const CodePoint c = code_point_at(text, position);
    if (is_white_space(c.value)) {
      if (position > word) words.push_back(text.substr(word, position - word));
      word = position + c.bytes;
    }
    position += c.bytes;
  }
  if (position > word) words.push_back(text.substr(word));
  return words;
}

std::string lower_cased(std::string_view text) {
  std::u32string code_points = decode_utf8(text);
  for (char32_t& c : code_points) c = lower_cased(c);
  return encode_utf8(code_points);
}

}  // namespace headshare
