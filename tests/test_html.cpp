#include "core/report/html.h"

#include <doctest/doctest.h>

#include "core/report/canvas.h"
#include "tests/html_reader.h"
#include "tests/test_tools.h"

using namespace headshare;
using test::check_page;
using test::contains;
using test::error_of;
using test::read_html;

namespace {

Html paragraph(const std::string& sentence) { return html_element("p", {}, html_text(sentence)); }

}  // namespace

TEST_CASE("base64 gives the test vectors of RFC 4648, section 10, and all 64 digits") {
  CHECK(base64("") == "");
  CHECK(base64("f") == "Zg==");
  CHECK(base64("fo") == "Zm8=");
  CHECK(base64("foo") == "Zm9v");
  CHECK(base64("foob") == "Zm9vYg==");
  CHECK(base64("fooba") == "Zm9vYmE=");
  CHECK(base64("foobar") == "Zm9vYmFy");
  // 0 1 2 ... 63 in six bits each: 0x00 10 83 10 51 87 20 92 8B ...
  std::string bytes;
  for (unsigned i = 0; i < 64; i += 4) {
    const unsigned bits = i << 18 | (i + 1) << 12 | (i + 2) << 6 | (i + 3);
    for (const unsigned shift : {16u, 8u, 0u}) bytes += static_cast<char>(bits >> shift & 0xFF);
  }
  CHECK(base64(bytes) == "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
  CHECK(base64(std::string(3, '\xFF')) == "////");
  CHECK(base64(std::string("\0\0", 2)) == "AAA=");
}

TEST_CASE("a text is shown as it is, whatever it holds") {
  CHECK(html_text("a < b && b > c").markup == "a &lt; b &amp;&amp; b &gt; c");
  CHECK(html_text("&lt;").markup == "&amp;lt;");
  CHECK(html_text("say \"it's\"").markup == "say &quot;it&#39;s&quot;");
  CHECK(html_text("Mädchen 漢字 🙂").markup == "Mädchen 漢字 🙂");
  const std::string unknown = "\xEF\xBF\xBD";
  CHECK(html_text("a\xFFz").markup == "a" + unknown + "z");
  CHECK(html_text("\xC3").markup == unknown);                              // a sequence that is cut off
  CHECK(html_text("\xC0\xBC").markup == unknown + unknown);                // an overlong <, which must not become one
  CHECK(html_text("\xED\xA0\x80").markup == unknown + unknown + unknown);  // half a surrogate pair
  CHECK(html_text(std::string("a\0b", 3)).markup == "a" + unknown + "b");
  CHECK(html_text("\x1B[31m\tred\n").markup == unknown + "[31m\tred\n");
}

TEST_CASE("no sentence becomes markup, in a text or in an attribute") {
  for (const std::string sentence :
       {"<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onclick='alert(1)", "</p></body></html>",
        "<!-- ", "]]>", "&#60;script&#62;", "</style><script>", "\xC0\xBCscript\xC0\xBE", "--><svg/onload=alert(1)>"}) {
    INFO(sentence);
    Html body = paragraph(sentence);
    body += html_element("a", {{"title", sentence}}, html_text(sentence));
    body += html_table({{sentence}}, {{sentence}});
    const test::ReadPage page = read_html(html_page(sentence, "p { margin: 0 }", body).markup);
    check_page(page);
    CHECK(page.named("p").size() == 1);
    CHECK(page.named("a")[0].attributes.size() == 1);
    if (!contains(sentence, "\xC0")) {
      CHECK(page.has("p", sentence));
      CHECK(page.has("title", sentence));
      CHECK(page.has("td", sentence));
      CHECK(page.named("a")[0].attributes.at("title") == sentence);
    }
  }
}

TEST_CASE("elements refuse what no element is") {
  CHECK(html_element("p", {{"class", "a&b"}}, html_text("x")).markup == "<p class=\"a&amp;b\">x</p>\n");
  CHECK(html_element("mark", {}, html_text("x")).markup == "<mark>x</mark>");
  CHECK(html_element("br", {}).markup == "<br>\n");
  CHECK(contains(error_of([] { html_element("p onclick", {}); }), "not the name of an element"));
  CHECK(contains(error_of([] { html_element("", {}); }), "not the name of an element"));
  CHECK(contains(error_of([] { html_element("p", {{"a b", "c"}}); }), "not the name of an attribute"));
  CHECK(contains(error_of([] { html_element("img", {}, html_text("x")); }), "cannot have content"));
}

TEST_CASE("a table has a header, aligns numbers and breaks sentences") {
  const std::string sentence = "cache-bound: the keys and values of 512 positions take two thirds";
  const Html table = html_table({{"row"}, {"ms", Alignment::right}}, {{"a", "1.5"}, {sentence, "2"}});
  CHECK(contains(table.markup, "<th scope=\"col\">row</th>"));
  CHECK(contains(table.markup, "<th scope=\"col\" class=\"number\">ms</th>"));
  CHECK(contains(table.markup, "<td>a</td>"));
  CHECK(contains(table.markup, "<td class=\"number\">1.5</td>"));
  CHECK(contains(table.markup, "<td class=\"long\">" + sentence + "</td>"));
  CHECK(contains(error_of([] { html_table({{"a"}, {"b"}}, {{"1"}}); }), "a row of 1 cells does not fit"));
}

TEST_CASE("a picture stands in the page with its size and its description") {
  const std::string png = Canvas(33, 97).encode_png();
  const Html picture = html_picture(png, "a \"white\" rectangle");
  const test::ReadPage page = read_html(html_page("x", "", picture).markup);
  check_page(page);
  const auto image = page.named("img").at(0).attributes;
  CHECK(image.at("src") == "data:image/png;base64," + base64(png));
  CHECK(image.at("width") == "33");
  CHECK(image.at("height") == "97");
  CHECK(image.at("alt") == "a \"white\" rectangle");
  CHECK(contains(error_of([&] { html_picture(png.substr(0, 20), "cut"); }), "none"));
  CHECK(contains(error_of([] { html_picture("<svg xmlns='x' onload='alert(1)'></svg>", "svg"); }), "none"));
}

TEST_CASE("the reader of these tests notices a page that is wrong") {
  const auto wrong = [](const std::string& body) {
    return error_of([&] { check_page(read_html(html_page("x", "", {body}).markup)); });
  };
  CHECK(wrong("<p>fine</p>") == "no error");
  CHECK(contains(wrong("<p>"), "closes nothing"));
  CHECK(contains(wrong("</p>"), "closes nothing"));
  CHECK(contains(wrong("<b><i></b></i>"), "closes nothing"));
  CHECK(contains(wrong("a & b"), "bare &"));
  CHECK(contains(wrong("a > b"), "bare >"));
  CHECK(contains(wrong("<p class=x></p>"), "broken tag"));
  CHECK(contains(wrong("<p id=\"a\" id=\"b\"></p>"), "twice"));
  CHECK(contains(wrong("<p id=\"a\"></p><p id=\"a\"></p>"), "two elements"));
  CHECK(contains(wrong("<script></script>"), "there is a script"));
  CHECK(contains(wrong("<p onclick=\"x\"></p>"), "would run"));
  CHECK(contains(wrong("<img src=\"http://example.org/a.png\">"), "loads http"));
  CHECK(contains(wrong("<a href=\"#nowhere\"></a>"), "leads to #nowhere"));
  CHECK(contains(wrong("<a href=\"javascript:alert(1)\"></a>"), "leads to javascript"));
  CHECK(contains(wrong("<h1></h1><h3></h3>"), "a heading h3 after h1"));
  CHECK(contains(wrong("<img src=\"data:image/png;base64,\" width=\"1\" height=\"1\">"), "without alt"));
  CHECK(contains(error_of([] { check_page(read_html(html_page("x", "a { b: url(c) }", {}).markup)); }), "style loads"));
  CHECK(contains(error_of([] { read_html("<p></p>"); }), "no doctype"));
}
