#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "nn/decoder.h"
#include "tensor/attention.h"
#include "tests/attention_problem.h"
#include "tests/decoding_helpers.h"

// Keys in tiles, in which a decoder keeps those of a long source: in the kernel, and through the whole decoder.

using namespace headshare;
using namespace headshare::kernels;
using namespace headshare::kernels::attention_test;

namespace {

// The output with keys in tiles, which are all written.
template <class Stored, class T>
Array<T> with_tiles(const Problem<T>& p, const Heads<Stored>& value) {
  const auto [B, T_, S, H, G, D] = p.sizes;
  const Size head = (S + key_tile_sources - 1) / key_tile_sources * key_tile_sources * D;
  Array<Stored> tiles(static_cast<std::size_t>(B * G * head), Stored(7.0f));
  lay_out_keys(Cpu{}, p.sizes, p.key.view(), KeyTiles<Stored>{tiles.data(), G * head, head});
  Result<T> result = empty_result(p);
  attention<T, Stored>(Cpu{}, p.sizes, p.mask(), p.query.view(), KeyTiles<const Stored>{tiles.data(), G * head, head},
                       value.view(), result.output.view());
  return result.output.data;
}

}  // namespace

TEST_CASE("attention to keys in tiles agrees with plain loops; with many queries it has the bits of keys in a row" *
          doctest::skip(test::test_device() == Device::cuda)) {
  for (const Size D : {1, 8, 24, 32, 130})
    for (const Size S : {1, 15, 31, 32, 33, 97, 257})
      for (const auto& [T, H, G] :
           std::vector<std::array<Size, 3>>{{1, 2, 2}, {1, 3, 1}, {1, 8, 1}, {3, 4, 2}, {40, 4, 1}, {33, 2, 1}}) {
        const Array<std::int32_t> lengths{static_cast<std::int32_t>(S), static_cast<std::int32_t>(S / 2)};
        const Problem<double> p = make_problem({2, T, S, H, G, D}, Order::any, lengths, Layout::joint_projection);
        CAPTURE(describe(p));
        const Result<double> expected = plain(p);
        CHECK(largest_difference(with_tiles(p, p.value), expected.output.data) < 1e-13);

        const Problem<float> f = to_float(p);
        const Array<float> tiled = with_tiles(f, f.value), in_a_row = run(f).output.data;
        const double rounding = 2 * largest_difference(plain(f).output.data, expected.output.data) + 5e-7;
        CHECK(largest_difference(tiled, expected.output.data) <= rounding);
        // Targets are worked on in tiles of 64 rows; what is left in the last tile may be few.
        const Size group = H / G, last_rows = ((T - 1) % (64 / group) + 1) * group;
        if (last_rows > few_queries) CHECK(largest_difference(tiled, in_a_row) == 0);

        Problem<double> exact = p;
        for (Heads<double>* heads : {&exact.key, &exact.value}) round_to_bfloat16(*heads);
        const Problem<float> narrow = to_float(exact);
        const Result<double> expected_narrow = plain(exact);
        CHECK(largest_difference(with_tiles(narrow, converted<BFloat16>(narrow.value)), expected_narrow.output.data) <=
              2 * largest_difference(plain(narrow).output.data, expected_narrow.output.data) + 5e-7);
      }
}

TEST_CASE("keys in tiles that do not fit, or not on the processor, are refused") {
  const TensorOptions cpu{ElementType::float32, Device::cpu};
  const Size B = 2, S = 40, G = 2, H = 4, D = 8;
  const Tensor key = zeros({B, S, G, D}, cpu), value = zeros({B, S, G, D}, cpu), query = zeros({B, 3, H, D}, cpu),
               output = empty_like(query), tiles = zeros({B, G, 2, D, 32}, cpu);
  lay_out_keys_into(key, tiles);
  attention_into(query, tiles, value, {{}, any_order}, output);
  const auto refused = [&](const Tensor& q, const Tensor& t, const Tensor& v, const Mask& mask, const char* message) {
    CHECK_THROWS_WITH_AS(attention_into(q, t, v, mask, output), message, Error);
  };
  refused(query, tiles, value, {{}, causal}, "attention: keys in tiles are for queries that see all of them");
  refused(query, zeros({B, G, 3, D, 32}, cpu), value, {},
          "attention: keys in tiles has shape [2, 2, 3, 8, 32], needed [2, 2, 2, 8, 32]");
  refused(query, zeros({B, G, 2, 16, 32}, cpu).slice(3, 0, 8), value, {},
          "attention: keys in tiles with strides [2048, 1024, 512, 32, 1], needed each head in one piece");
  refused(query, tiles.to(Device::cuda), value.to(Device::cuda), {}, "attention: only device cpu takes keys in tiles");
  refused(query.to(Device::cuda), tiles.to(ElementType::bfloat16), value.to(ElementType::bfloat16), {},
          "attention: the query on device cuda, needed on cpu");
  refused(query, tiles.to(ElementType::bfloat16), value, {}, "attention: element types differ: bfloat16 and float32");
  CHECK_THROWS_WITH_AS(lay_out_keys_into(key.to(Device::cuda), tiles),
                       "lay_out_keys: keys on device cuda, needed on cpu", Error);
  CHECK_THROWS_WITH_AS(lay_out_keys_into(key.slice(1, 0, 20), tiles),
                       "attention: keys in tiles has shape [2, 2, 2, 8, 32], needed [2, 2, 1, 8, 32]", Error);
}

TEST_CASE("decoding a long source with many queries, whose keys are in tiles, gives the logits of the whole sentence" *
          doctest::skip(test::test_device() == Device::cuda)) {
  for (const auto& [kv_heads, beam] : std::vector<std::array<Size, 2>>{{1, 1}, {2, 3}}) {
    CAPTURE(kv_heads);
    TransformerConfig config = test::tiny_config(11, grouped_query(8, kv_heads));
    config.max_length = 160;
    config.layers = 2;
    const Transformer model = test::lively_model(config, 3);
    const test::EncodedBatch batch = test::encoded(model, test::random_sources({150, 20, 131}, 1));
    const Tensor target = from_values(test::random_indices(3 * 4, 11, 2), {3, 4});
    const Tensor expected = test::full_logits(model, target, batch);
    const Decoder decoder(model);
    DecoderState state = decoder.start(batch.memory, batch.lengths, {4, beam});
    REQUIRE(state.layers[0].cross.keys_values().key.value().rank() == 5);
    const auto step = [&](Size t, const std::vector<Size>& sentences) {
      std::vector<std::int32_t> tokens;
      for (const Size sentence : sentences)
        for (Size i = 0; i < beam; ++i)
          tokens.push_back(target.to_vector<std::int32_t>()[static_cast<std::size_t>(sentence * 4 + t)]);
      const Size rows = static_cast<Size>(tokens.size());
      const Tensor logits = decoder.step(from_values(tokens, {rows}), state);
      for (Size row = 0; row < rows; ++row) {
        const Size sentence = sentences[static_cast<std::size_t>(row / beam)];
        CHECK(test::difference(
                  logits.slice(0, row, row + 1),
                  expected.slice(0, sentence, sentence + 1).slice(1, t, t + 1).contiguous().reshape({1, 11})) < 1e-5);
      }
    };
    step(0, {0, 1, 2});
    step(1, {0, 1, 2});
    std::vector<std::int32_t> kept;  // sentence 0 leaves, the others change places
    for (const Size sentence : {2, 1})
      for (Size i = 0; i < beam; ++i) kept.push_back(static_cast<std::int32_t>(sentence * beam + i));
    state.select(kept);
    step(2, {2, 1});
    step(3, {2, 1});
  }
}
