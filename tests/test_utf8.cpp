#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/random.h"
#include "core/text/utf8.h"

using namespace headshare;

TEST_CASE("UTF-8 sequences of one to four bytes decode to their code points") {
  CHECK(decode_utf8("aß€😀") == U"aß€😀");
  CHECK(encode_utf8(U"aß€😀") == "aß€😀");
  // The first and last code point of each length.
  for (const char32_t c : {0x0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF}) {
    CAPTURE(static_cast<unsigned>(c));
    const std::string bytes = encode_utf8(std::u32string(1, c));
    CHECK(bytes.size() == (c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4));
    CHECK(decode_utf8(bytes) == std::u32string(1, c));
  }
}

TEST_CASE("every byte of broken UTF-8 becomes one marked code point and comes back") {
  const std::vector<std::string> broken = {
      "\xC0\x80",          // overlong NUL
      "\xE0\x9F\xBF",      // overlong three bytes
      "\xF0\x8F\xBF\xBF",  // overlong four bytes
      "\xED\xA0\x80",      // a surrogate
      "\xF4\x90\x80\x80",  // above U+10FFFF
      "\xE2\x82",          // cut at the end of the text
      "\xFF\xFE",          // never in UTF-8
      "\x80",              // a continuation that continues nothing
  };
  for (const std::string& bytes : broken) {
    CAPTURE(bytes);
    const std::u32string code_points = decode_utf8(bytes);
    CHECK(code_points.size() == bytes.size());
    for (const char32_t c : code_points) CHECK(is_invalid_byte(c));
    CHECK(encode_utf8(code_points) == bytes);
  }
  CHECK(decode_utf8("\xE2\x82"
                    "a") == std::u32string{0xDCE2, 0xDC82, U'a'});
}

TEST_CASE("decoding and encoding any bytes gives them back") {
  Generator generator(1);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (Size i = generator.below(40); i > 0; --i) bytes += static_cast<char>(generator.below(256));
    REQUIRE(encode_utf8(decode_utf8(bytes)) == bytes);
  }
}

TEST_CASE("what is no code point is written as the replacement character") {
  CHECK(encode_utf8(std::u32string{0xD800, 0x110000}) == "\uFFFD\uFFFD");
}

TEST_CASE("white space is exactly the twenty-nine code points that Python splits on") {
  int count = 0;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) count += is_white_space(c) ? 1 : 0;
  CHECK(count == 29);
  for (const char32_t c :
       {0x09, 0x0D, 0x1C, 0x1F, 0x20, 0x85, 0xA0, 0x1680, 0x2000, 0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000})
    CHECK(is_white_space(c));
  for (const char32_t c : {0x08, 0x0E, 0x1B, 0x21, 0x200B, 0x180E, 0xFEFF}) CHECK_FALSE(is_white_space(c));
}

TEST_CASE("stripping and splitting see white space outside ASCII, but not a raw byte that looks like it") {
  CHECK(strip_right(" a\u00A0\u3000\n") == " a");
  CHECK(strip("\u2003 a b\u0085") == "a b");
  CHECK(strip(" \t ") == "");
  CHECK(strip("a\xA0") == "a\xA0");  // Latin-1's no-break space is no UTF-8
  CHECK(split_white_space("  ein\u00A0Mann\t\tf\u00E4hrt ") == std::vector<std::string_view>{"ein", "Mann", "fährt"});
  CHECK(split_white_space(" \n").empty());
  CHECK(split_white_space("").empty());
}

TEST_CASE("lower case knows ASCII, Latin-1 and German and leaves the rest alone") {
  CHECK(lower_cased("ÄÖÜẞ AZ az É × ÷ ß Þ") == "äöüß az az é × ÷ ß þ");
  CHECK(lower_cased("[@`{ Σ 5 \xC4") == "[@`{ Σ 5 \xC4");
}
