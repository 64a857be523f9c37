#include "nn/decoder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "nn/decoding_speed.h"
#include "nn/evaluation.h"
#include "tensor/reduce.h"
#include "tests/decoding_helpers.h"

// The decoder of one position at a time: caches, packed weights and kept memory change nothing but the speed.

using namespace headshare;
using namespace headshare::test;

TEST_CASE("one cached step after the other gives the logits of the whole sentence at once") {
  const std::vector<TokenIds> sources = random_sources({5, 2, 7}, 1);  // padded by different amounts
  const Tensor target = from_values(random_indices(3 * 6, 11, 2), {3, 6});
  for (const Size kv_heads : {1, 2, 4})
    for (const NormPlacement norm : {NormPlacement::post, NormPlacement::pre})
      for (const Positions positions : {Positions::sinusoidal, Positions::learned}) {
        TransformerConfig config = tiny_config(11, grouped_query(4, kv_heads));
        config.layers = 2;
        config.norm = norm;
        config.positions = positions;
        CAPTURE(to_metadata(config).at("model.attention"));
        const Transformer model = lively_model(config, 3);
        const EncodedBatch batch = encoded(model, sources);
        const Tensor expected = full_logits(model, target, batch);
        const Decoder decoder(model);
        DecoderState state = decoder.start(batch.memory, batch.lengths, {6});
        // Key and value, 2 layers, 3 sentences, heads of 4 numbers: 6 target and 8 source positions, in float32.
        CHECK(state.bytes() == 2 * 2 * 3 * kv_heads * 4 * (6 + 8) * 4);
        for (Size t = 0; t < 6; ++t) {
          const Tensor logits = decoder.step(column(target, t), state);
          CHECK(difference(logits, expected.slice(1, t, t + 1).contiguous().reshape({3, 11})) < 1e-5);
        }
        CHECK(state.length == 6);
        CHECK_THROWS_WITH_AS(decoder.step(column(target, 0), state), "key/value cache: position 6 does not fit into 6",
                             Error);
      }
}

TEST_CASE("with a window and heads of any size, too, cached steps give the logits of the whole sentence") {
  const std::vector<TokenIds> sources = random_sources({5, 2, 7}, 1);
  const Tensor target = from_values(random_indices(3 * 9, 11, 2), {3, 9});
  const auto check = [&](const AttentionSites& first, const AttentionSites& second, NormPlacement norm) {
    TransformerConfig config = tiny_config(11, first);
    config.layers = 2;
    config.norm = norm;
    config.attention_per_layer = {first, second};
    CAPTURE(to_metadata(config).at("model.attention.0"));
    CAPTURE(to_metadata(config).at("model.attention.1"));
    const Transformer model = lively_model(config, 3);
    const EncodedBatch batch = encoded(model, sources);
    const Tensor expected = full_logits(model, target, batch);
    const Decoder decoder(model);
    DecoderState wide = decoder.start(batch.memory, batch.lengths, {9}),
                 narrow = decoder.start(batch.memory, batch.lengths, {9, 1, ElementType::bfloat16});
    Size elements = 0;  // key and value: min(capacity, window) target and 8 source positions, 3 sentences
    for (const AttentionSites& sites : {first, second}) {
      const AttentionMode &self = sites.decoder_self, &cross = sites.cross;
      const Size places = self.window == 0 ? 9 : std::min(self.window, Size{9});
      elements += 2 * 3 * (self.kv_heads * head_size(self, 16) * places + cross.kv_heads * head_size(cross, 16) * 8);
    }
    CHECK(wide.bytes() == elements * 4);
    CHECK(narrow.bytes() == elements * 2);
    const double scale = std::sqrt(sum_of_squares(expected) / static_cast<double>(expected.count()));
    for (Size t = 0; t < 9; ++t) {
      const Tensor wanted = expected.slice(1, t, t + 1).contiguous().reshape({3, 11});
      CHECK(difference(decoder.step(column(target, t), wide), wanted) < 1e-5);
      const double rounding = difference(decoder.step(column(target, t), narrow), wanted);
      CHECK(rounding > 0);
      CHECK(rounding < 0.05 * scale);  // numbers of 8 bits: 2^-9 each, some layers deep
    }
    CHECK_THROWS_WITH_AS(decoder.step(column(target, 0), wide), "key/value cache: position 9 does not fit into 9",
                         Error);
  };
  const AttentionMode shared = grouped_query(4, 2), wide = with_head_size(multi_head(2), 12),
                      thin = with_head_size(multi_query(3), 2);
  for (const Size window : {1, 3, 8, 20})
    check(with_decoder_window(shared, window), shared, window == 3 ? NormPlacement::pre : NormPlacement::post);
  check(with_decoder_window(multi_query(4), 4), with_decoder_window(multi_head(4), 2), NormPlacement::post);
  check(wide, thin, NormPlacement::pre);
  check({thin, local_window(wide, 3), thin}, {wide, local_window(thin, 5), wide}, NormPlacement::post);
}

TEST_CASE("a model with a window is another model than one without") {
  const Transformer local = lively_model(tiny_config(11, with_decoder_window(multi_head(4), 3)), 3);
  const Transformer global = lively_model(tiny_config(11, multi_head(4)), 3);
  const EncodedBatch batch = encoded(local, random_sources({5}, 1));
  const Tensor target = from_values(random_indices(6, 11, 2), {1, 6});
  const Tensor a = full_logits(local, target, batch), b = full_logits(global, target, batch);
  CHECK(difference(a.slice(1, 0, 3), b.slice(1, 0, 3)) < 1e-5);  // up to there all of the sentence is in the window
  CHECK(difference(a.slice(1, 3, 4), b.slice(1, 3, 4)) > 1e-3);
}

TEST_CASE("select keeps, drops, repeats and reorders the sentences of a batch") {
  for (const Size window : {0, 1, 2, 3}) {
    const Transformer model = lively_model(tiny_config(11, with_decoder_window(grouped_query(4, 2), window)), 4);
    const std::vector<TokenIds> sources = random_sources({5, 2, 7}, 5);
    const Tensor target = from_values(random_indices(3 * 4, 11, 6), {3, 4});
    const EncodedBatch batch = encoded(model, sources);
    const Tensor expected = full_logits(model, target, batch);
    const Decoder decoder(model);
    DecoderState state = decoder.start(batch.memory, batch.lengths, {4});
    for (Size t = 0; t < 2; ++t) decoder.step(column(target, t), state);
    const std::vector<std::int32_t> rows = {2, 0, 2, 1};
    state.select(rows);
    CHECK(state.rows() == 4);
    CHECK(state.source_lengths.to_vector<std::int32_t>() == std::vector<std::int32_t>{8, 6, 8, 3});
    for (Size t = 2; t < 4; ++t) {
      std::vector<std::int32_t> tokens;
      for (const std::int32_t row : rows)
        tokens.push_back(column(target, t).to_vector<std::int32_t>()[static_cast<std::size_t>(row)]);
      const Tensor logits = decoder.step(from_values(tokens, {4}), state);
      for (Size i = 0; i < 4; ++i) {
        const Size row = rows[static_cast<std::size_t>(i)];
        const Tensor wanted = expected.slice(0, row, row + 1).slice(1, t, t + 1).contiguous().reshape({11});
        CHECK(difference(logits.slice(0, i, i + 1).contiguous().reshape({11}), wanted) < 1e-5);
      }
    }
  }
}

TEST_CASE("the hypotheses of a beam share their sentence's keys and values, and change places freely") {
  const std::vector<TokenIds> sources = random_sources({5, 2}, 5);
  for (const Size window : {0, 2, 1}) {
    TransformerConfig config = tiny_config(11, with_decoder_window(grouped_query(4, 2), window));
    config.norm = window == 0 ? NormPlacement::pre : NormPlacement::post;
    const Transformer model = lively_model(config, 14);
    const EncodedBatch batch = encoded(model, sources);
    const Decoder decoder(model);
    DecoderState state = decoder.start(batch.memory, batch.lengths, {.capacity = 5, .beam = 3});
    CHECK(state.rows() == 6);
    // What every row has read so far, its sentence, and whether its logits are those of the whole sentence at once.
    std::vector<TokenIds> read(6);
    std::vector<Size> sentence = {0, 0, 0, 1, 1, 1};
    Generator generator(15);
    const auto step_and_check = [&] {
      std::vector<std::int32_t> tokens;
      for (TokenIds& row : read) {
        row.push_back(static_cast<std::int32_t>(generator.below(11)));
        tokens.push_back(row.back());
      }
      const Size rows = static_cast<Size>(read.size());
      const Tensor logits = decoder.step(from_values(tokens, {rows}), state);
      for (Size row = 0; row < rows; ++row) {
        const TokenIds& input = read[static_cast<std::size_t>(row)];
        const Size T = static_cast<Size>(input.size());
        const EncodedBatch alone =
            encoded(model, {sources[static_cast<std::size_t>(sentence[static_cast<std::size_t>(row)])]});
        const Tensor expected = full_logits(model, from_values(input, {1, T}), alone).slice(1, T - 1, T).contiguous();
        CHECK(difference(logits.slice(0, row, row + 1).contiguous().reshape({11}), expected.reshape({11})) < 1e-5);
      }
    };
    const auto select = [&](const std::vector<std::int32_t>& rows) {
      std::vector<TokenIds> kept;
      std::vector<Size> kept_sentence;
      for (const std::int32_t row : rows) {
        kept.push_back(read[static_cast<std::size_t>(row)]);
        kept_sentence.push_back(sentence[static_cast<std::size_t>(row)]);
      }
      read = kept;
      sentence = kept_sentence;
      state.select(rows);
    };
    step_and_check();
    select({1, 2, 0, 5, 5, 3});
    step_and_check();
    select({2, 2, 1, 3, 4, 5});
    step_and_check();
    CHECK_THROWS_WITH_AS(state.select(std::vector<std::int32_t>{0, 1, 3}), "decoder: rows of two sentences in one beam",
                         Error);
    CHECK_THROWS_WITH_AS(state.select(std::vector<std::int32_t>{0, 1}), "decoder: 2 rows are no whole beams of 3",
                         Error);
    select({5, 3, 4});  // the first sentence is finished
    CHECK(state.sentences() == 1);
    step_and_check();
  }
}

TEST_CASE("a bfloat16 cache changes the logits by roundings only, and serves no float64 model") {
  const std::vector<TokenIds> sources = random_sources({5, 2, 7}, 1);
  TransformerConfig config = tiny_config(11, grouped_query(4, 2));
  config.d_model = 64;  // heads of 16 numbers
  const Transformer model = lively_model(config, 16);
  const EncodedBatch batch = encoded(model, sources);
  const Decoder decoder(model);
  DecoderState wide = decoder.start(batch.memory, batch.lengths, {6}),
               narrow = decoder.start(batch.memory, batch.lengths, {6, 1, ElementType::bfloat16});
  CHECK(2 * narrow.bytes() == wide.bytes());
  const Tensor target = from_values(random_indices(3 * 6, 11, 2), {3, 6});
  double largest = 0, scale = 0;
  for (Size t = 0; t < 6; ++t) {
    const Tensor expected = decoder.step(column(target, t), wide);
    largest = std::max(largest, difference(decoder.step(column(target, t), narrow), expected));
    scale = std::max(scale, std::sqrt(sum_of_squares(expected) / static_cast<double>(expected.count())));
  }
  CHECK(largest > 0);
  CHECK(largest < 0.03 * scale);  // numbers of 8 bits: 2^-9 each, some layers deep

  const EncodedCorpus corpus = random_pairs({3, 5, 2}, 11, 3);
  CHECK(cached_nll(decoder, corpus, ElementType::float32) ==
        doctest::Approx(validation_nll(model, corpus)).epsilon(1e-6));
  CHECK(cached_nll(decoder, corpus, ElementType::bfloat16) ==
        doctest::Approx(validation_nll(model, corpus)).epsilon(0.01));

  const Transformer precise(tiny_config(), 1, {ElementType::float64, default_device()});
  const EncodedBatch encoded_precisely = encoded(precise, sources);
  const std::string refused =
      text("decoder: a cache of bfloat16 does not serve a model that computes in float64 on device ",
           name(default_device()));
  CHECK(error_of([&] {
          Decoder(precise).start(encoded_precisely.memory, encoded_precisely.lengths, {4, 1, ElementType::bfloat16});
        }) == refused);
}

TEST_CASE("measuring decoding reports the cache that grouped heads share") {
  const DecodingMeasurement measurement{.batch = 2, .source_length = 5, .target_length = 4, .repetitions = 1};
  const Transformer mha(tiny_config(11, multi_head(4)), 32), mqa(tiny_config(11, multi_query(4)), 32);
  const DecodingSpeed many = measure_decoding(mha, measurement), one = measure_decoding(mqa, measurement);
  CHECK(many.cache_bytes ==
        2 * 2 * 4 * 4 * (5 + 4) * 4);  // key and value, 2 sentences, 4 heads of 4, 9 positions, 4 bytes
  CHECK(one.cache_bytes * 4 == many.cache_bytes);
  CHECK(cache_bytes_per_token(mha) == 2 * 2 * 4 * 4 * 4);  // key and value, self and cross, 4 heads of 4, 4 bytes
  CHECK(cache_bytes_per_token(mqa) * 4 == cache_bytes_per_token(mha));
  CHECK(many.seconds_per_step > 0);
  CHECK(many.tokens_per_second == doctest::Approx(2 / many.seconds_per_step));
}
