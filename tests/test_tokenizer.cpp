#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/random.h"
#include "core/text/tokenizer.h"
#include "tests/test_tools.h"

using namespace headshare;

namespace {

using test::contains;
using test::error_of;

using Ids = std::vector<std::int32_t>;

std::int32_t byte_id(char byte) { return first_byte_id + static_cast<unsigned char>(byte); }

Corpus small_corpus() {
  return {{{"the cat sees the other cat", "die Katze sieht die andere Katze"},
           {"the dog sees the cat", "der Hund sieht die Katze"},
           {"15 dogs, 115 cats: aaaa aaaaa!", "15 Hunde, 115 Katzen: aaaa aaaaa!"},
           {"over there", "über Äpfel über Äpfeln"}}};
}

// Learning done plainly: count all pairs of all words again for every merge.
std::vector<Merge> learn_plainly(const Corpus& corpus, Size merges) {
  std::vector<Ids> words;
  for (const SentencePair& pair : corpus.pairs) {
    for (const std::string& sentence : {pair.source, pair.target}) {
      for (const std::string_view word : split_words(sentence)) {
        Ids symbols;
        for (const char byte : word) symbols.push_back(byte_id(byte));
        words.push_back(symbols);
      }
    }
  }
  std::vector<Merge> learned;
  while (static_cast<Size>(learned.size()) < merges) {
    std::map<std::pair<std::int32_t, std::int32_t>, Size> counts;  // ordered: the first maximum has the smallest ids
    for (const Ids& word : words) {
      for (std::size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
    }
    const auto best = std::max_element(counts.begin(), counts.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    if (best == counts.end() || best->second < minimum_pair_frequency) break;
    const Merge merge = {best->first.first, best->first.second};
    for (Ids& word : words) apply_merge(word, merge, static_cast<std::int32_t>(first_merge_id + learned.size()));
    learned.push_back(merge);
  }
  return learned;
}

// Encoding done plainly: every merge in turn over the whole word.
Ids encode_plainly(const Tokenizer& tokenizer, const std::string& sentence) {
  Ids all;
  for (const std::string_view word : split_words(sentence)) {
    Ids symbols;
    for (const char byte : word) symbols.push_back(byte_id(byte));
    std::int32_t id = first_merge_id;
    for (const Merge& merge : tokenizer.merges()) apply_merge(symbols, merge, id++);
    all.insert(all.end(), symbols.begin(), symbols.end());
  }
  return all;
}

std::string random_bytes(Generator& generator, Size length, std::string_view alphabet) {
  std::string bytes;
  for (Size i = 0; i < length; ++i) {
    bytes += alphabet.empty() ? static_cast<char>(generator.below(256))
                              : alphabet[generator.below(static_cast<Size>(alphabet.size()))];
  }
  return bytes;
}

struct TemporaryFile {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / text("headshare_test_tokenizer_", ::getpid(), ".txt");
  TemporaryFile() = default;
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::filesystem::remove(path); }
};

}  // namespace

TEST_CASE("a word is a run of one kind of signs with at most one space before it") {
  using Words = std::vector<std::string_view>;
  CHECK(split_words("Zwei Hunde,  12.") == Words{"Zwei", " Hunde", ",", " ", " 12", "."});
  CHECK(split_words("It's 3rd") == Words{"It", "'", "s", " 3", "rd"});
  CHECK(split_words(" Grüße\t\n x ") == Words{" Grüße", "\t\n", " x", " "});
  CHECK(split_words("a\tb") == Words{"a", "\t", "b"});
  CHECK(split_words("") == Words{});
  CHECK(split_words("   ") == Words{"   "});
  const Words long_words = split_words(std::string(300, 'a'));
  REQUIRE(long_words.size() == 3);
  CHECK(static_cast<Size>(long_words[0].size()) == longest_word);
}

TEST_CASE("a merge is applied from left to right without overlap") {
  Ids symbols = {5, 5, 5, 6, 5, 5};
  CHECK(apply_merge(symbols, {5, 5}, 300));
  CHECK(symbols == Ids{300, 5, 6, 300});
  CHECK_FALSE(apply_merge(symbols, {6, 5}, 301));
  CHECK(symbols == Ids{300, 5, 6, 300});
}

TEST_CASE("without merges each byte is its own token") {
  const Tokenizer tokenizer;
  CHECK(tokenizer.size() == 259);
  CHECK(tokenizer.encode("aä") == Ids{3 + 'a', 3 + 0xC3, 3 + 0xA4});
}

TEST_CASE("learning finds the merges of a corpus small enough to count by hand") {
  // Words: "ab" 3 times, "abc" twice, "bc" once. Pairs: ab 5, bc 3; then with X = ab: Xc 2, bc 1.
  const Corpus corpus = {{{"ab", "ab"}, {"ab", "abc"}, {"abc", "bc"}}};
  const Tokenizer tokenizer = learn_byte_pairs(corpus, {.merges = 10});
  REQUIRE(tokenizer.merges().size() == 2);  // a pair seen once is never merged
  CHECK(tokenizer.size() == 261);
  CHECK(tokenizer.piece(259) == "ab");
  CHECK(tokenizer.piece(260) == "abc");
  CHECK(tokenizer.encode("abcbc") == Ids{260, byte_id('b'), byte_id('c')});
}

TEST_CASE("of equally frequent pairs the one with the smaller ids is merged first") {
  const Tokenizer tokenizer = learn_byte_pairs({{{"zy", "zy"}, {"ax", "ax"}, {"ab", "ab"}}}, {.merges = 3});
  REQUIRE(tokenizer.merges().size() == 3);
  CHECK(tokenizer.piece(259) == "ab");
  CHECK(tokenizer.piece(260) == "ax");
  CHECK(tokenizer.piece(261) == "zy");
}

TEST_CASE("fast learning gives the same merges as counting everything again each time") {
  Generator generator(7);
  std::vector<Corpus> corpora = {small_corpus()};
  for (int i = 0; i < 20; ++i) {
    Corpus corpus;
    for (int line = 0; line < 10; ++line)
      corpus.pairs.push_back({random_bytes(generator, 33, "aab  "), random_bytes(generator, 33, "abcd \xC3")});
    corpora.push_back(corpus);
  }
  for (const Corpus& corpus : corpora) {
    const std::vector<Merge> expected = learn_plainly(corpus, 97);
    const std::vector<Merge> learned = learn_byte_pairs(corpus, {.merges = 97}).merges();
    REQUIRE(learned.size() == expected.size());
    for (std::size_t i = 0; i < learned.size(); ++i) {
      REQUIRE(learned[i].left == expected[i].left);
      REQUIRE(learned[i].right == expected[i].right);
    }
  }
}

TEST_CASE("encoding applies the merges in the order they were learned") {
  const Tokenizer tokenizer = learn_byte_pairs(small_corpus(), {.merges = 60});
  Generator generator(8);
  std::vector<std::string> sentences = {"the cats see another dog", "die Katzen sehen", "aaaaaaaaaaa", ""};
  for (int i = 0; i < 200; ++i) sentences.push_back(random_bytes(generator, 50, "theca diKzs "));
  const std::vector<Ids> together = tokenizer.encode(sentences);
  REQUIRE(together.size() == sentences.size());
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    const Ids expected = encode_plainly(tokenizer, sentences[i]);
    REQUIRE(tokenizer.encode(sentences[i]) == expected);
    REQUIRE(together[i] == expected);
  }
  CHECK(tokenizer.encode("the cat").size() < std::string("the cat").size());
}

TEST_CASE("decoding what was encoded gives back any bytes") {
  const Tokenizer tokenizer = learn_byte_pairs(small_corpus(), {.merges = 100});
  Generator generator(9);
  for (const std::string_view alphabet : {"", " \t\n\r", "ab ,1\xC3\xA4 ", "the cat sieht die Katze  "}) {
    for (int round = 0; round < 500; ++round) {
      const std::string bytes = random_bytes(generator, generator.below(98), alphabet);
      REQUIRE(tokenizer.decode(tokenizer.encode(bytes)) == bytes);
    }
  }
  const std::string endless(10000, 'a');
  CHECK(tokenizer.decode(tokenizer.encode(endless)) == endless);
}

TEST_CASE("decoding skips the special tokens and refuses ids outside the vocabulary") {
  const Tokenizer tokenizer;
  CHECK(tokenizer.decode(Ids{begin_id, byte_id('H'), byte_id('i'), end_id, padding_id, padding_id}) == "Hi");
  CHECK(
      contains(error_of([&] { (void)tokenizer.decode(Ids{259}); }), "token 259 is outside the vocabulary of 0 to 258"));
  CHECK(contains(error_of([&] { (void)tokenizer.decode(Ids{-1}); }), "token -1 is outside"));
  CHECK(contains(error_of([&] { (void)tokenizer.piece(-1); }), "token -1 is outside"));
}

TEST_CASE("pieces can be printed whatever their bytes") {
  const Tokenizer tokenizer({{byte_id(' '), byte_id('a')}, {byte_id('\xC3'), byte_id('\xA4')}});
  CHECK(tokenizer.piece(padding_id) == "<padding>");
  CHECK(tokenizer.piece(begin_id) == "<begin>");
  CHECK(tokenizer.piece(end_id) == "<end>");
  CHECK(tokenizer.piece(259) == "▁a");
  CHECK(tokenizer.piece(260) == "ä");
  CHECK(tokenizer.piece(byte_id('\xC3')) == "\\xC3");
  CHECK(tokenizer.piece(byte_id('\n')) == "\\x0A");
}

TEST_CASE("learning refuses a negative number of merges and takes none from nothing") {
  CHECK(contains(error_of([] { learn_byte_pairs({}, {.merges = -1}); }), "-1 merges asked for"));
  CHECK(learn_byte_pairs({}, {.merges = 10}).size() == 259);
  CHECK(learn_byte_pairs(small_corpus(), {.merges = 0}).size() == 259);
  CHECK(learn_byte_pairs(small_corpus(), {.merges = 7}).size() == 266);
}

TEST_CASE("a saved tokenizer loads as the same tokenizer") {
  const TemporaryFile file;
  const Tokenizer tokenizer = learn_byte_pairs(small_corpus(), {.merges = 100});
  tokenizer.save(file.path);
  const Tokenizer loaded = Tokenizer::load(file.path);
  CHECK(loaded.size() == tokenizer.size());
  CHECK(loaded.fingerprint() == tokenizer.fingerprint());
  const std::string sentence = "the cat sieht über 115 Äpfel";
  CHECK(loaded.encode(sentence) == tokenizer.encode(sentence));

  std::string windows;  // as a version control system may check it out
  for (const char c : read_file(file.path)) windows += c == '\n' ? "\r\n" : std::string(1, c);
  write_file(file.path, windows);
  CHECK(Tokenizer::load(file.path).fingerprint() == tokenizer.fingerprint());
}

TEST_CASE("the fingerprint is the same everywhere and differs between tokenizers") {
  // FNV-1a of "headshare-tokenizer version=1 merges=0 vocabulary=259\n", computed independently.
  CHECK(Tokenizer().fingerprint() == "96f4c1f4dfd444bd");
  const Tokenizer a({{byte_id('a'), byte_id('b')}});
  const Tokenizer b({{byte_id('b'), byte_id('a')}});
  CHECK(a.fingerprint() != b.fingerprint());
}

TEST_CASE("a tokenizer file with any bad line is refused with the number of the line") {
  const TemporaryFile file;
  const auto error_for = [&](const std::string& bytes) {
    write_file(file.path, bytes);
    return error_of([&] { Tokenizer::load(file.path); });
  };
  const std::string header = "headshare-tokenizer version=1 merges=2 vocabulary=261\n";
  const std::string first = "259 100 101 ab\n";
  REQUIRE(error_for(header + first + "260 259 102 abc\n") == "no error");
  CHECK(error_for(header + first + "260 259 102 abc") == "no error");

  for (const std::string& bad :
       {std::string(), std::string("some text\n"),
        std::string("headshare-tokenizer version=2 merges=0 vocabulary=259\n"),
        std::string("headshare-tokenizer version=1 merges=-1 vocabulary=258\n"),
        std::string("headshare-tokenizer version=1 merges=2 vocabulary=260\n"),
        std::string("headshare-tokenizer version=1 merges=99999999999999999999\n"),
        std::string("headshare-tokenizer version=1 merges=9223372036854775807 vocabulary=1\n")})
    CHECK(contains(error_for(bad), "line 1 must read"));

  CHECK(contains(error_for(header + first), "promises 2 merges, but 1 lines follow"));
  CHECK(contains(error_for(header + first + "260 259\n"), "line 3: \"260▁259\" does not begin with three"));
  CHECK(contains(error_for(header + first + "260 259 10x abc\n"), "line 3: "));
  CHECK(contains(error_for(header + first + "\n"), "line 3: \"\" does not begin with three token numbers"));
  CHECK(contains(error_for(header + first + "261 259 102 abc\n"), "line 3: token 261 stands where token 260 belongs"));
  CHECK(contains(error_for(header + first + "260 260 102 abc\n"),
                 "line 3: tokenizer: token 260 cannot be made of token 260"));
  CHECK(contains(error_for(header + first + "260 2 102 c\n"), "cannot be made of token 2, only of 3 to 259"));
  CHECK(contains(error_for(header + first + "260 100 101 ab\n"),
                 "line 3: tokenizer: tokens 100 and 101 are merged twice"));
  CHECK(
      contains(error_for(header + first + "260 259 102 abd\n"), "line 3: token 260 should read \"abc\", not \"abd\""));
}

TEST_CASE("a file in which each merge doubles the last is refused before it fills the memory") {
  std::vector<Merge> merges = {{byte_id('a'), byte_id('a')}};
  for (std::int32_t id = first_merge_id; id < first_merge_id + 60; ++id) merges.push_back({id, id});
  CHECK(contains(error_of([&] { Tokenizer tokenizer(merges); }), "would have 256 bytes, but a word has at most 128"));
}

TEST_CASE("loading survives any damage to a file") {
  const TemporaryFile file;
  const Tokenizer tokenizer = learn_byte_pairs(small_corpus(), {.merges = 20});
  tokenizer.save(file.path);
  const std::string whole = read_file(file.path);
  Generator generator(10);
  for (int round = 0; round < 300; ++round) {
    std::string damaged = whole;
    const auto position = generator.below(static_cast<Size>(damaged.size()));
    const auto byte = static_cast<char>(generator.below(256));
    if (damaged[position] == byte) continue;
    damaged[position] = byte;
    write_file(file.path, damaged);
    REQUIRE(error_of([&] { Tokenizer::load(file.path); }) != "no error");
  }
}
