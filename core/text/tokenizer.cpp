#include "core/text/tokenizer.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>

#include "core/error.h"
#include "core/file.h"
#include "core/text/utf8.h"

namespace headshare {
namespace {

constexpr std::string_view special_pieces[] = {"<padding>", "<begin>", "<end>"};
constexpr std::string_view visible_space = "\xE2\x96\x81";  // U+2581

enum class ByteKind { white_space, letter, digit, sign };

ByteKind kind_of(char byte) {
  if (byte == ' ' || (byte >= '\t' && byte <= '\r')) return ByteKind::white_space;
  if (byte >= '0' && byte <= '9') return ByteKind::digit;
  const bool is_ascii = static_cast<unsigned char>(byte) < 0x80;
  if (!is_ascii || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z')) return ByteKind::letter;
  return ByteKind::sign;
}

// The end of the run of one kind of bytes that begins at `begin`.
Size end_of_run(std::string_view text, Size begin) {
  Size end = begin;
  while (end < static_cast<Size>(text.size()) && kind_of(text[end]) == kind_of(text[begin])) ++end;
  return end;
}

std::uint64_t key_of(std::int32_t left, std::int32_t right) {
  return (static_cast<std::uint64_t>(left) << 32) | static_cast<std::uint32_t>(right);
}

std::string escaped(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) {
    char buffer[8];
    std::snprintf(buffer, sizeof buffer, "\\x%02X", static_cast<unsigned>(static_cast<unsigned char>(byte)));
    out += buffer;
  }
  return out;
}

bool is_control(char32_t c) { return c < 0x20 || (c >= 0x7F && c < 0xA0); }

std::string printable(std::string_view bytes) {
  std::string out;
  for (Size position = 0; position < static_cast<Size>(bytes.size());) {
    const CodePoint c = code_point_at(bytes, position);
    const std::string_view sequence = bytes.substr(position, c.bytes);
    if (c.value == ' ')
      out += visible_space;
    else if (is_invalid_byte(c.value) || is_control(c.value) || is_white_space(c.value))
      out += escaped(sequence);
    else
      out += sequence;
    position += c.bytes;
  }
  return out;
}

// A whole number that is all of `field`, or nothing.
template <class Integer>
std::optional<Integer> parse_integer(std::string_view field) {
  Integer value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  if (error != std::errc() || end != field.data() + field.size()) return std::nullopt;
  return value;
}

// Cuts the next field, up to a space, from the front of `line`.
std::string_view take_field(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view field = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return field;
}

constexpr std::string_view header_start = "headshare-tokenizer version=1 merges=";

std::string header(Size merges) { return text(header_start, merges, " vocabulary=", first_merge_id + merges); }

// The number of merges that the first line of a file promises.
std::optional<Size> parse_header(std::string_view line) {
  if (!line.starts_with(header_start)) return std::nullopt;
  std::string_view rest = line.substr(header_start.size());
  const std::optional<Size> merges = parse_integer<Size>(take_field(rest));
  // Bounded before it is used: no file may make `header` overflow.
  if (!merges || *merges < 0 || *merges > INT32_MAX || line != header(*merges)) return std::nullopt;
  return merges;
}

}  // namespace

std::vector<std::string_view> split_words(std::string_view text) {
  const auto size = static_cast<Size>(text.size());
  std::vector<std::string_view> words;
  const auto add = [&](Size begin, Size end) {
    for (; begin < end; begin += longest_word) words.push_back(text.substr(begin, std::min(end - begin, longest_word)));
  };
  Size position = 0;
  while (position < size) {
    if (kind_of(text[position]) == ByteKind::white_space) {
      Size end = end_of_run(text, position);
      if (end < size && text[end - 1] == ' ') --end;  // this one leads the word that follows
      add(position, end);
      position = end;
      if (position == size) break;
    }
    const Size end = end_of_run(text, text[position] == ' ' ? position + 1 : position);
    add(position, end);
    position = end;
  }
  return words;
}

bool apply_merge(std::vector<std::int32_t>& symbols, Merge merge, std::int32_t id) {
  std::size_t written = 0;
  for (std::size_t read = 0; read < symbols.size(); ++read) {
    const bool is_pair = read + 1 < symbols.size() && symbols[read] == merge.left && symbols[read + 1] == merge.right;
    symbols[written++] = is_pair ? id : symbols[read];
    if (is_pair) ++read;
  }
  const bool changed = written < symbols.size();
  symbols.resize(written);
  return changed;
}

Tokenizer::Tokenizer(const std::vector<Merge>& merges) : bytes_(first_merge_id) {
  for (int byte = 0; byte < 256; ++byte) bytes_[first_byte_id + byte] = std::string(1, static_cast<char>(byte));
  for (const Merge& merge : merges) add(merge);
}

void Tokenizer::add(Merge merge) {
  for (const std::int32_t part : {merge.left, merge.right}) {
    if (part < first_byte_id || part >= size())
      fail("tokenizer: token ", size(), " cannot be made of token ", part, ", only of ", first_byte_id, " to ",
           size() - 1);
  }
  const std::string bytes = bytes_[merge.left] + bytes_[merge.right];
  // Also keeps a file in which each merge doubles the last from asking for more memory than there is.
  if (static_cast<Size>(bytes.size()) > longest_word)
    fail("tokenizer: token ", size(), " would have ", bytes.size(), " bytes, but a word has at most ", longest_word);
  const bool is_new = merge_ids_.emplace(key_of(merge.left, merge.right), static_cast<std::int32_t>(size())).second;
  if (!is_new) fail("tokenizer: tokens ", merge.left, " and ", merge.right, " are merged twice");
  merges_.push_back(merge);
  bytes_.push_back(bytes);
}

void Tokenizer::check_id(std::int32_t id) const {
  if (id < 0 || id >= size()) fail("tokenizer: token ", id, " is outside the vocabulary of 0 to ", size() - 1);
}

std::vector<std::int32_t> Tokenizer::encode_word(std::string_view word) const {
  std::vector<std::int32_t> symbols;
  symbols.reserve(word.size());
  for (const char byte : word) symbols.push_back(first_byte_id + static_cast<unsigned char>(byte));
  // The smallest id is the earliest merge. A later merge may need what an earlier one makes, never the reverse, so this
  // gives what learning gave to the same word.
  for (;;) {
    std::int32_t earliest = INT32_MAX;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = merge_ids_.find(key_of(symbols[i], symbols[i + 1]));
      if (found != merge_ids_.end()) earliest = std::min(earliest, found->second);
    }
    if (earliest == INT32_MAX) return symbols;
    apply_merge(symbols, merges_[earliest - first_merge_id], earliest);
  }
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  for (const std::string_view word : split_words(text)) {
    const std::vector<std::int32_t> symbols = encode_word(word);
    ids.insert(ids.end(), symbols.begin(), symbols.end());
  }
  return ids;
}

std::vector<std::vector<std::int32_t>> Tokenizer::encode(std::span<const std::string> texts) const {
  // The keys are views into `texts`, which outlive this call; the cache does not.
  std::unordered_map<std::string_view, std::vector<std::int32_t>> cache;
  std::vector<std::vector<std::int32_t>> all;
  all.reserve(texts.size());
  for (const std::string& text : texts) {
    std::vector<std::int32_t>& ids = all.emplace_back();
    for (const std::string_view word : split_words(text)) {
      const auto [entry, is_new] = cache.try_emplace(word);
      if (is_new) entry->second = encode_word(word);
      ids.insert(ids.end(), entry->second.begin(), entry->second.end());
    }
  }
  return all;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    check_id(id);
    text += bytes_[id];
  }
  return text;
}

std::string Tokenizer::piece(std::int32_t id) const {
  check_id(id);
  return id < first_byte_id ? std::string(special_pieces[id]) : printable(bytes_[id]);
}

std::string Tokenizer::saved_text() const {
  std::string out = header(static_cast<Size>(merges_.size())) + '\n';
  for (std::int32_t id = first_merge_id; id < size(); ++id) {
    const Merge& merge = merges_[id - first_merge_id];
    out += text(id, ' ', merge.left, ' ', merge.right, ' ', piece(id), '\n');
  }
  return out;
}

void Tokenizer::save(const std::filesystem::path& path) const { write_file(path, saved_text()); }

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  const std::vector<std::string> lines = read_lines(path);
  const std::optional<Size> promised = lines.empty() ? std::nullopt : parse_header(lines[0]);
  if (!promised)
    fail(path.string(), " is not a tokenizer of this version: line 1 must read \"", header_start, "N vocabulary=M\"");
  const auto found = static_cast<Size>(lines.size()) - 1;
  if (found != *promised)
    fail(path.string(), ": line 1 promises ", *promised, " merges, but ", found,
         " lines follow; the file was cut or edited");

  Tokenizer tokenizer;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto here = text(path.string(), ": line ", i + 1, ": ");
    std::string_view rest = lines[i];
    const auto id = parse_integer<std::int32_t>(take_field(rest));
    const auto left = parse_integer<std::int32_t>(take_field(rest));
    const auto right = parse_integer<std::int32_t>(take_field(rest));
    if (!id || !left || !right) fail(here, "\"", printable(lines[i]), "\" does not begin with three token numbers");
    if (*id != tokenizer.size()) fail(here, "token ", *id, " stands where token ", tokenizer.size(), " belongs");
    try {
      tokenizer.add({*left, *right});
    } catch (const Error& error) {
      fail(here, error.what());
    }
    if (rest != tokenizer.piece(*id))
      fail(here, "token ", *id, " should read \"", tokenizer.piece(*id), "\", not \"", printable(rest), "\"");
  }
  return tokenizer;
}

std::string Tokenizer::fingerprint() const {
  std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a (Fowler, Noll, Vo)
  for (const char byte : saved_text()) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3u;
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

}  // namespace headshare
