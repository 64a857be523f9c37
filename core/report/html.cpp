#include "core/report/html.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/report/text_width.h"
#include "core/size.h"
#include "core/text/utf8.h"

namespace headshare {
namespace {

// Elements that consist of their attributes alone; a closing tag would be an error.
constexpr std::array<std::string_view, 3> void_elements = {"img", "meta", "br"};

// Elements inside a line: a line break after one would be shown as a space.
constexpr std::array<std::string_view, 5> inline_elements = {"a", "code", "mark", "span", "strong"};

template <std::size_t n>
bool is_one_of(const std::array<std::string_view, n>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_name(std::string_view name) {
  const auto allowed = [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '-';
  };
  return !name.empty() && std::all_of(name.begin(), name.end(), allowed);
}

// HTML's standard allows white space of ASCII, and no other control character, not even as a character reference.
bool is_forbidden(char32_t c) {
  const bool control = (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || (c >= 0x7F && c <= 0x9F);
  return control || is_invalid_byte(c);
}

// For both places where text can stand: between tags, and between the quotes of an attribute's value.
std::string escaped(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (Size position = 0; position < static_cast<Size>(text.size());) {
    const CodePoint c = code_point_at(text, position);
    if (c.value == '&')
      result += "&amp;";
    else if (c.value == '<')
      result += "&lt;";
    else if (c.value == '>')
      result += "&gt;";
    else if (c.value == '"')
      result += "&quot;";
    else if (c.value == '\'')
      result += "&#39;";
    else if (is_forbidden(c.value))
      result += "\xEF\xBF\xBD";  // U+FFFD
    else
      result += text.substr(position, c.bytes);
    position += c.bytes;
  }
  return result;
}

Size big_endian_number(std::string_view four_bytes) {
  Size number = 0;
  for (const char byte : four_bytes) number = 256 * number + static_cast<unsigned char>(byte);
  return number;
}

}  // namespace

Html html_text(std::string_view text) { return {escaped(text)}; }

Html html_element(const std::string& name, const HtmlAttributes& attributes, const Html& content) {
  if (!is_name(name)) fail("html: \"", name, "\" is not the name of an element");
  std::string markup = "<" + name;
  for (const auto& [attribute, value] : attributes) {
    if (!is_name(attribute)) fail("html: \"", attribute, "\" is not the name of an attribute");
    markup += " " + attribute + "=\"" + escaped(value) + "\"";
  }
  markup += ">";
  if (is_one_of(void_elements, name)) {
    if (!content.markup.empty()) fail("html: the element ", name, " cannot have content");
    return {markup + "\n"};
  }
  return {markup + content.markup + "</" + name + (is_one_of(inline_elements, name) ? ">" : ">\n")};
}

Html html_table(const std::vector<TableColumn>& columns, const std::vector<std::vector<std::string>>& rows) {
  const auto row_of = [&](const std::vector<std::string>& cells, const std::string& kind, HtmlAttributes common) {
    Html row;
    for (std::size_t c = 0; c < columns.size(); ++c) {
      HtmlAttributes attributes = common;
      if (columns[c].alignment == Alignment::right)
        attributes.push_back({"class", "number"});
      else if (text_width(cells[c]) > 40)
        attributes.push_back({"class", "long"});
      row += html_element(kind, attributes, html_text(cells[c]));
    }
    return html_element("tr", {}, row);
  };
  std::vector<std::string> headers;
  for (const TableColumn& column : columns) headers.push_back(column.header);
  Html body;
  for (const auto& row : rows) {
    if (row.size() != columns.size())
      fail("html: a row of ", row.size(), " cells does not fit the table's ", columns.size(), " columns");
    body += row_of(row, "td", {});
  }
  Html table = html_element("thead", {}, row_of(headers, "th", {{"scope", "col"}}));
  table += html_element("tbody", {}, body);
  return html_element("table", {}, table);
}

Html html_picture(std::string_view png, const std::string& description) {
  // A PNG begins with eight fixed bytes, then the chunk IHDR: its length, its name, width, height
  // (https://www.w3.org/TR/png-3, sections 5.2 and 11.2.1).
  if (png.size() < 24 || png.substr(0, 8) != "\x89PNG\r\n\x1A\n" || png.substr(12, 4) != "IHDR")
    fail("html: what should be a PNG picture is none");
  return html_element("img", {{"src", "data:image/png;base64," + base64(png)},
                              {"width", text(big_endian_number(png.substr(16, 4)))},
                              {"height", text(big_endian_number(png.substr(20, 4)))},
                              {"alt", description}});
}

Html html_page(const std::string& title, std::string_view style, const Html& body) {
  Html head = html_element("meta", {{"charset", "utf-8"}});
  // Should a text ever get past the escaping: a browser that reads this runs no script and asks nobody for anything.
  head += html_element("meta", {{"http-equiv", "Content-Security-Policy"},
                                {"content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'"}});
  head += html_element("meta", {{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}});
  head += html_element("meta", {{"name", "color-scheme"}, {"content", "light dark"}});
  head += html_element("title", {}, html_text(title));
  head += html_element("style", {}, {std::string(style)});  // not escaped: HTML reads no references inside it
  Html page = html_element("head", {}, head);
  page += html_element("body", {}, body);
  return {"<!DOCTYPE html>\n" + html_element("html", {{"lang", "en"}}, page).markup};
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto byte = [&](std::size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u; };
  std::string encoded;
  encoded.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {  // three bytes are four digits of six bits
    const unsigned bits = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    for (int shift = 18; shift >= 0; shift -= 6) encoded += digits[bits >> shift & 63];
  }
  const std::size_t missing = (3 - bytes.size() % 3) % 3;
  std::fill_n(encoded.rbegin(), missing, '=');
  return encoded;
}

}  // namespace headshare
