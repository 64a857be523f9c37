#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"

// A strict reader of the HTML that this project writes: enough to see that a page is well-formed, and to get its parts.
namespace headshare::test {

struct HtmlTag {
  std::string name;
  std::map<std::string, std::string> attributes{};
};

struct ReadPage {
  std::vector<HtmlTag> tags{};                              // opening ones, in order
  std::map<std::string, std::vector<std::string>> texts{};  // by element: the text inside, in order of their ends
  std::string style{};

  bool has(const std::string& element, const std::string& text) const {
    const auto found = texts.find(element);
    return found != texts.end() && std::count(found->second.begin(), found->second.end(), text) > 0;
  }
  std::vector<HtmlTag> named(const std::string& name) const {
    std::vector<HtmlTag> found;
    for (const HtmlTag& tag : tags)
      if (tag.name == name) found.push_back(tag);
    return found;
  }
};

// Text with its references (&lt; and the like) replaced. Fails on any sign that should have been one.
inline std::string unescaped(const std::string& markup) {
  static const std::map<std::string, char> references = {
      {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&#39;", '\''}};
  std::string text;
  for (std::size_t i = 0; i < markup.size(); ++i) {
    if (std::string("<>\"'").find(markup[i]) != std::string::npos) fail("a bare ", markup[i], " in: ", markup);
    if (markup[i] != '&') {
      text += markup[i];
      continue;
    }
    const std::size_t end = markup.find(';', i);
    const auto found = references.find(end == std::string::npos ? "" : markup.substr(i, end + 1 - i));
    if (found == references.end()) fail("a bare & in: ", markup);
    text += found->second;
    i = end;
  }
  return text;
}

// The inside of <...>: a name, then attributes in double quotes.
inline HtmlTag read_tag(const std::string& inside) {
  HtmlTag tag{inside.substr(0, inside.find(' '))};
  std::size_t at = tag.name.size();
  while (at < inside.size()) {
    const std::size_t equals = inside.find("=\"", at), end = inside.find('"', equals + 2);
    if (inside[at] != ' ' || equals == std::string::npos || end == std::string::npos) fail("broken tag: ", inside);
    const std::string name = inside.substr(at + 1, equals - at - 1);
    if (!tag.attributes.emplace(name, unescaped(inside.substr(equals + 2, end - equals - 2))).second)
      fail("attribute ", name, " twice: ", inside);
    at = end + 1;
  }
  return tag;
}

// Fails on the first thing that is wrong: a tag without its other half, a sign that is not escaped, ...
inline ReadPage read_html(const std::string& html) {
  const std::string doctype = "<!DOCTYPE html>\n";
  if (!html.starts_with(doctype)) fail("no doctype");
  ReadPage page;
  struct Open {
    std::string name, text;
  };
  std::vector<Open> open;
  for (std::size_t at = doctype.size(); at < html.size();) {
    if (html[at] != '<') {
      const std::size_t end = std::min(html.find('<', at), html.size());
      const std::string text = unescaped(html.substr(at, end - at));
      if (open.empty() && text != "\n") fail("text outside of all elements: ", text);
      for (Open& element : open) element.text += text;
      at = end;
      continue;
    }
    const std::size_t end = html.find('>', at);
    if (end == std::string::npos) fail("a tag that does not end");
    const std::string inside = html.substr(at + 1, end - at - 1);
    at = end + 1;
    if (inside.starts_with('/')) {
      if (open.empty() || open.back().name != inside.substr(1)) fail("<", inside, "> closes nothing");
      page.texts[open.back().name].push_back(open.back().text);
      open.pop_back();
      continue;
    }
    page.tags.push_back(read_tag(inside));
    const std::string name = page.tags.back().name;
    if (name == "style") {
      const std::size_t close = html.find("</style>", at);
      if (close == std::string::npos) fail("a style that does not end");
      page.style += html.substr(at, close - at);
      at = close;
    }
    if (name != "img" && name != "meta" && name != "br") open.push_back({name, ""});
  }
  if (!open.empty()) fail("<", open.back().name, "> is not closed");
  return page;
}

// What a page that stands alone must not do, and what everybody needs to read it. Fails like read_html.
inline void check_page(const ReadPage& page) {
  std::set<std::string> ids;
  for (const HtmlTag& tag : page.tags)
    if (tag.attributes.contains("id") && !ids.insert(tag.attributes.at("id")).second)
      fail("two elements have the id ", tag.attributes.at("id"));
  char level = '0';
  for (const HtmlTag& tag : page.tags) {
    if (std::set<std::string>{"script", "iframe", "object", "embed", "link", "base", "form"}.contains(tag.name))
      fail("there is a ", tag.name);
    for (const auto& [name, value] : tag.attributes) {
      if (name.starts_with("on")) fail("the attribute ", name, " would run a script");
      if (name == "src" && !value.starts_with("data:image/png;base64,")) fail("loads ", value.substr(0, 60));
      if (name == "href" && !(value.starts_with('#') && ids.contains(value.substr(1)))) fail("leads to ", value);
      if (name == "aria-labelledby" && !ids.contains(value)) fail("is labelled by nothing: ", value);
    }
    if (tag.name == "img")
      for (const char* needed : {"src", "alt", "width", "height"})
        if (!tag.attributes.contains(needed) || tag.attributes.at(needed).empty()) fail("a picture without ", needed);
    if (tag.name.size() == 2 && tag.name[0] == 'h' && tag.name[1] >= '1' && tag.name[1] <= '6') {
      if (tag.name[1] > level + 1) fail("a heading h", tag.name[1], " after h", level);
      level = tag.name[1];
    }
  }
  if (page.style.find("url(") != std::string::npos || page.style.find("@import") != std::string::npos)
    fail("the style loads something");
  if (page.named("html").size() != 1 || !page.named("html")[0].attributes.contains("lang")) fail("no language");
  const std::vector<HtmlTag> metas = page.named("meta");
  if (std::none_of(metas.begin(), metas.end(), [](const HtmlTag& meta) {
        const auto name = meta.attributes.find("name");
        return name != meta.attributes.end() && name->second == "viewport";
      }))
    fail("no viewport");
}

}  // namespace headshare::test
