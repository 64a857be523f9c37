#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/size.h"
#include "core/text/corpus.h"

namespace headshare {

// Byte-pair encoding (Sennrich, Haddow, Birch 2016, "Neural machine translation of rare words with subword units") over
// bytes (Radford et al. 2019). The vocabulary begins with all 256 bytes, so there is no unknown token, and
// decode(encode(x)) == x for any bytes x whatever. Source and target share one vocabulary.
//
//   id 0 padding, 1 begin, 2 end | 3 .. 258 the bytes 0 .. 255 | 259 .. the merges, in the order they were learned
constexpr std::int32_t padding_id = 0;
constexpr std::int32_t begin_id = 1;
constexpr std::int32_t end_id = 2;
constexpr std::int32_t first_byte_id = 3;
constexpr std::int32_t first_merge_id = first_byte_id + 256;

// No word, and so no token, has more bytes than this: one endless run of letters cannot make encoding slow.
constexpr Size longest_word = 128;

// The words within which tokens are formed; no token crosses from one into the next. A word is a run of letters (any
// byte above 127 counts as one), of digits, or of other signs, together with one space before it if there is one. What
// white space is left forms words of its own. The words, one after the other, are the text.
//   "Zwei Hunde,  12." -> "Zwei" " Hunde" "," " " " 12" "."
std::vector<std::string_view> split_words(std::string_view text);

// "left followed by right becomes one new token."
struct Merge {
  std::int32_t left;
  std::int32_t right;
};

// Reads `symbols` from left to right and replaces each `merge.left, merge.right` by `id`. True if there was any.
bool apply_merge(std::vector<std::int32_t>& symbols, Merge merge, std::int32_t id);

// A value that never changes after it is made: any number of threads may use one at the same time.
class Tokenizer {
 public:
  Tokenizer() : Tokenizer(std::vector<Merge>{}) {}       // each byte is its own token
  explicit Tokenizer(const std::vector<Merge>& merges);  // merge i makes token first_merge_id + i; fails on a bad one

  // The tokens of a text, without begin and end. Applies the merges to each word in the order they were learned.
  std::vector<std::int32_t> encode(std::string_view text) const;
  // The same for many texts, faster: every different word is encoded once.
  std::vector<std::vector<std::int32_t>> encode(std::span<const std::string> texts) const;

  // The bytes of the tokens; padding, begin and end are skipped. Fails on an id outside the vocabulary.
  std::string decode(std::span<const std::int32_t> ids) const;

  Size size() const { return static_cast<Size>(bytes_.size()); }  // V, with the special tokens
  const std::vector<Merge>& merges() const { return merges_; }

  // The token for the eye, as in axis labels: a space is shown as U+2581 (a low line), control characters and bytes of
  // broken UTF-8 as \xNN, the special tokens as <padding>, <begin>, <end>. Not unique: use ids to tell tokens apart.
  std::string piece(std::int32_t id) const;

  // A text file (tokenizer.txt in a run's folder): a line that says what it is, then for each merge a line with its id,
  // its left and right id, and its piece. Loading checks every field of every line and names the first bad line.
  void save(const std::filesystem::path& path) const;
  static Tokenizer load(const std::filesystem::path& path);

  // 16 hexadecimal digits, equal for equal tokenizers (64-bit FNV-1a of the saved text). A checkpoint keeps it, to
  // notice that it was given a tokenizer that is not its own.
  std::string fingerprint() const;

 private:
  void add(Merge merge);
  void check_id(std::int32_t id) const;
  std::vector<std::int32_t> encode_word(std::string_view word) const;
  std::string saved_text() const;

  std::vector<Merge> merges_;
  std::unordered_map<std::uint64_t, std::int32_t> merge_ids_;  // left and right in one number -> the id they become
  std::vector<std::string> bytes_;                             // id -> what it stands for; empty for special tokens
};

// Learning stops early when no pair occurs this often: a token seen once teaches a model nothing.
constexpr Size minimum_pair_frequency = 2;

struct BytePairOptions {
  Size merges = 2000;  // at most; the vocabulary gets first_merge_id + this many tokens
};

// Starts with bytes, and again and again makes the most frequent pair of neighbours one token, counted over the sources
// and targets of the corpus together. Of equally frequent pairs, the one with the smaller ids: the same corpus always
// gives the same tokenizer. 8,000 merges of the 29,000 pairs of Multi30k take well under a second on one core.
Tokenizer learn_byte_pairs(const Corpus& corpus, const BytePairOptions& options = {});

}  // namespace headshare
