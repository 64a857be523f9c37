#include "nn/beam_search.h"

#include "tests/decoding_helpers.h"

// Beam search a step at a time. What it finds, tests/test_decoding.cpp asks.

using namespace headshare;
using namespace headshare::test;

TEST_CASE(
    "step by step, beam search finds what decode_beam finds; without an end token all sentences go to the limit") {
  const std::vector<TokenIds> sources = random_sources({5, 2, 7, 3}, 22);
  const Size limit = 9;
  const std::vector<Size> limits(sources.size(), limit);
  Size shorter = 0;
  for (const std::uint64_t seed : {21, 22, 23, 24, 25, 26}) {
    const Transformer model = lively_model(tiny_config(11, grouped_query(4, 2)), seed);
    const EncodedBatch batch = encoded(model, sources);
    const Decoder decoder(model);
    const auto search = [&](Size beam, SentenceEnd end) {
      BeamSearch all(decoder, decoder.start(batch.memory, batch.lengths, {limit, beam}), limits, {.beam = beam}, end);
      Size steps = 0;
      for (; !all.done(); ++steps) all.advance(all.next_logits());
      CHECK(steps <= limit);
      return all.targets();
    };
    for (const Size beam : {1, 3}) {
      for (const TokenIds& target : search(beam, SentenceEnd::token_or_limit))
        shorter += static_cast<Size>(target.size()) < limit ? 1 : 0;
      for (const TokenIds& target : search(beam, SentenceEnd::limit)) CHECK(static_cast<Size>(target.size()) == limit);
    }
    // Twice as many as source tokens, the end token among them, and ten more; the model knows 24 positions.
    BeamSearch steps(decoder, decoder.start(batch.memory, batch.lengths, {24, 3}), {22, 16, 24, 18}, {.beam = 3});
    while (!steps.done()) steps.step();
    CHECK(steps.targets() == decode_beam(decoder, sources, {.beam = 3}));
  }
  CHECK(shorter > 0);  // otherwise ending at the limit is no difference
}
