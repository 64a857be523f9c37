#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/report/table.h"

namespace headshare {

// A piece of an HTML page. A type of its own, so that a text becomes one only through html_text, which escapes it: a
// sentence that holds "<script>" is shown, never run.
//
//   Html list;
//   for (const std::string& finding : findings) list += html_element("li", {}, html_text(finding));
//   write_file("page.html", html_page("Findings", style, html_element("ul", {}, list)).markup);
struct Html {
  std::string markup;

  Html& operator+=(const Html& next) {
    markup += next.markup;
    return *this;
  }
};

using HtmlAttributes = std::vector<std::pair<std::string, std::string>>;  // names and values; values are escaped

// Text as it is, every sign: & < > " ' are escaped. A byte that is no UTF-8, and a control character that HTML does not
// allow, becomes U+FFFD, the replacement character.
Html html_text(std::string_view text);

// <name attribute="value">content</name>. Fails when the name or that of an attribute is not made of small letters,
// digits and dashes, and when an element that has no content by definition (img, meta, br) gets some.
Html html_element(const std::string& name, const HtmlAttributes& attributes, const Html& content = {});

// Header and rows. Cells of a column that is aligned to the right have the class "number", and those with more than 40
// characters the class "long": they are sentences, which should be broken into lines. Fails when a row does not fit.
Html html_table(const std::vector<TableColumn>& columns, const std::vector<std::vector<std::string>>& rows);

// A picture inside the page itself (a data URI), with its size, so that the text does not jump when it appears.
// `description` is for those who cannot see it. Fails when the bytes are not a PNG.
Html html_picture(std::string_view png, const std::string& description);

// A whole page in English that stands alone: it may load nothing and run nothing, and tells the browser so.
Html html_page(const std::string& title, std::string_view style, const Html& body);

// Base64 with padding (RFC 4648, section 4).
std::string base64(std::string_view bytes);

}  // namespace headshare
