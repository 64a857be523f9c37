#include <cmath>

#include "core/measure.h"
#include "lesson.h"
#include "nn/decoding_cost.h"
#include "tensor/attention.h"
#include "tutorials/support/check.h"

namespace headshare::lesson {
namespace {

// A decoder of the library with these sizes, and a step of it.
Transformer model_of(const DecodingSizes& sizes, Size window = 0) {
  const AttentionMode mode{sizes.heads, sizes.kv_heads, sizes.head_size};
  return Transformer({.vocabulary = sizes.vocabulary,
                      .d_model = sizes.d_model,
                      .d_ff = sizes.d_ff,
                      .layers = sizes.layers,
                      .attention = {mode, local_window(mode, window), mode},
                      .max_length = sizes.source + sizes.target},
                     1);
}
DecodingMeasurement step_of(const DecodingSizes& sizes, Size beam = 1) {
  return {.batch = sizes.batch, .source_length = sizes.source, .target_length = sizes.target, .beam = beam};
}

// One number of each kind, all different.
constexpr DecodingSizes odd{.d_model = 14,
                            .d_ff = 11,
                            .layers = 3,
                            .vocabulary = 29,
                            .heads = 6,
                            .kv_heads = 2,
                            .head_size = 5,
                            .batch = 7,
                            .source = 13,
                            .target = 9};

struct Case {
  Size batch, heads, kv_heads, positions, head_size;
};

// Against the library's attention.
void check_attention(const Case& sizes, std::uint64_t seed, void (*decode)(const Cache&, Size, const float*, float*)) {
  const auto [B, H, G, S, D] = sizes;
  const Tensor query = random_tensor({B, H, D}, seed), keys = random_tensor({B, G, S, D}, seed + 1),
               values = random_tensor({B, G, S, D}, seed + 2), output = full({B, H, D}, 9);
  const Cache cache{B, G, S, D, keys.data<float>(), values.data<float>()};
  decode(cache, H, query.data<float>(), output.data<float>());
  const Tensor expected =
      attention(query.reshape({B, 1, H, D}), keys.transpose(1, 2), values.transpose(1, 2), {}).output;
  check_close(output, expected.reshape({B, H, D}),
              text("output of ", H, " query heads and ", G, " key/value heads, ", S, " positions"), 2e-5);
}

Size fetched_by(const Case& sizes, void (*decode)(const Cache&, Size, const float*, float*)) {
  const auto [B, H, G, S, D] = sizes;
  const Tensor query = random_tensor({B, H, D}, 1), stored = random_tensor({B, G, S, D}, 2), output = zeros({B, H, D});
  std::atomic<Size> fetched = 0;
  const Cache cache{B, G, S, D, stored.data<float>(), stored.data<float>(), &fetched};
  decode(cache, H, query.data<float>(), output.data<float>());
  return fetched;
}

}  // namespace

// ---- Step 1 ---------------------------------------------------------------------------------------------------------

TEST_CASE("13.1 the weights of a decoder, counted by hand") {
  // One layer, everything of size 1, but for two query heads: self-attention has W_Q [1, 2], W_K [1, 1], W_V [1, 1],
  // W_O [2, 1] and 2 + 1 + 1 + 1 biases: 11. Cross-attention has W_Q and W_O: 7. Feed-forward: 4. The table: 1.
  const DecodingSizes one{.d_model = 1,
                          .d_ff = 1,
                          .layers = 1,
                          .vocabulary = 1,
                          .heads = 2,
                          .kv_heads = 1,
                          .head_size = 1,
                          .batch = 3,
                          .source = 1,
                          .target = 1};
  check_close(weights_cost(one).bytes, 4 * (11 + 7 + 4 + 1), "bytes of the smallest decoder's weights");
  check_close(weights_cost(one).flops, 2 * 3 * (11 + 7 + 4 + 1), "operations with them, for three sentences");
}

TEST_CASE("13.1 the weights are those that the library's decoder reads") {
  const Transformer model = model_of(odd);
  const DecodingCost expected = decoding_cost(model, step_of(odd));
  check_close(weights_cost(odd).bytes, expected.weights.bytes, "bytes of the weights");
  check_close(weights_cost(odd).flops, expected.weights.flops, "operations with the weights");
}

TEST_CASE("13.1 the caches, counted by hand") {
  // One layer, one sentence, three source positions and one target position: 4 positions of a key and a value.
  DecodingSizes one{.d_model = 1,
                    .d_ff = 1,
                    .layers = 1,
                    .vocabulary = 1,
                    .heads = 4,
                    .kv_heads = 1,
                    .head_size = 1,
                    .batch = 1,
                    .source = 3,
                    .target = 1};
  check_close(caches_cost(one).bytes, 4 * 4 * 2, "bytes of four positions");
  check_close(caches_cost(one).flops, 2 * 4 * 2 * 4, "operations of four query heads with four positions");
  one.target = 3;  // one, then two, then three positions: two on average
  check_close(caches_cost(one).bytes, 4 * 5 * 2, "bytes of two target positions on average");
}

TEST_CASE("13.1 the caches are those that the library's decoder reads") {
  const Transformer model = model_of(odd);
  const DecodingCost expected = decoding_cost(model, step_of(odd));
  check_close(caches_cost(odd).bytes, expected.cache_bytes(), "bytes of the caches");
  check_close(caches_cost(odd).flops, expected.self_cache.flops + expected.cross_cache.flops,
              "operations with the caches");
}

// ---- Step 2 ---------------------------------------------------------------------------------------------------------

TEST_CASE("13.2 a step takes as long as the slower of reading and computing") {
  const Machine machine{.bytes_per_second = 10, .flops_per_second = 100};
  check_close(roofline_seconds({.bytes = 50, .flops = 200}, machine), 5, "seconds where reading is slower");
  check_close(roofline_seconds({.bytes = 5, .flops = 200}, machine), 2, "seconds where computing is slower");
}

TEST_CASE("13.2 a step waits for arithmetic, or for the larger part of its bytes") {
  const Machine machine{.bytes_per_second = 10, .flops_per_second = 100};
  const auto verdict = [&](const Cost& weights, const Cost& caches) {
    return name_of(bound_of(weights, caches, machine));
  };
  check_equal(verdict({50, 10}, {20, 10}), "weights", "7 s of reading, mostly weights");
  check_equal(verdict({20, 10}, {50, 10}), "caches", "7 s of reading, mostly caches");
  check_equal(verdict({50, 400}, {20, 500}), "compute", "7 s of reading, 9 s of computing");
}

// ---- Step 3 ---------------------------------------------------------------------------------------------------------

TEST_CASE("13.3 two positions, by hand") {
  // D is 4, so scores are halved: the query 2 ln 3 and keys 1 and 0 give the weights 3/4 and 1/4.
  const float query[4] = {2 * std::log(3.0f), 0, 0, 0}, keys[8] = {1, 0, 0, 0, 0, 0, 0, 0},
              values[8] = {4, 0, 0, 8, 0, 4, 0, 8};
  float output[4] = {};
  decode_per_group({1, 1, 2, 4, keys, values}, 1, query, output);
  check_close(std::vector<float>(output, output + 4), std::vector<float>{3, 1, 0, 8}, "the output");
}

TEST_CASE("13.3 per group computes what the library's attention computes") {
  for (const Case& sizes : {Case{3, 6, 2, 37, 16}, Case{1, 4, 4, 5, 7}, Case{2, 8, 1, 129, 33}})
    check_attention(sizes, 10, decode_per_group);
}

TEST_CASE("13.3 each key and each value is fetched once per group") {
  const Case sizes{2, 6, 2, 5, 4};
  check_equal(fetched_by(sizes, decode_per_head), 2 * 2 * 6 * 5, "keys and values fetched per head");
  check_equal(fetched_by(sizes, decode_per_group), 2 * 2 * 2 * 5, "keys and values fetched per group");
}

TEST_CASE("13.3 reading once is faster") {
  const auto [B, H, G, S, D] = Case{32, 8, 1, 4096, 64};  // 64 MiB: more than the caches of most processors hold
  const Tensor query = random_tensor({B, H, D}, 1), output = zeros({B, H, D}), keys = zeros({B, G, S, D}),
               values = full({B, G, S, D}, 1);
  const Cache cache{B, G, S, D, keys.data<float>(), values.data<float>()};
  const auto run = [&, heads = H](auto decode) {
    return [&, heads, decode] {
      return seconds_of([&] { decode(cache, heads, query.data<float>(), output.data<float>()); });
    };
  };
  std::vector<double> naive, yours;
  for (int turn = 0; turn < 6; ++turn) {
    naive.push_back(run(decode_per_head)());
    yours.push_back(run(decode_per_group)());
    check_close(output.at({B - 1, H - 1, D - 1}), 1, "the mean of values that are all 1", 1e-3);
  }
  award("time of the per-head version over yours", median(naive) / median(yours), 2);
}

// ---- Step 4 ---------------------------------------------------------------------------------------------------------

TEST_CASE("13.4 candidates take turns") {
  std::vector<int> order;
  medians_in_turns({[&] { return order.push_back(0), 1.0; }, [&] { return order.push_back(1), 1.0; },
                    [&] { return order.push_back(2), 1.0; }},
                   2);
  check_equal(order, {0, 1, 2, 0, 1, 2, 0, 1, 2}, "the order of the runs");
}

TEST_CASE("13.4 the first turn does not count, and the median forgives an accident") {
  Size run = 0;
  const std::vector<double> seconds = {100, 3, 1, 50, 2, 4};  // a warm-up, an accident
  check_close(medians_in_turns({[&] { return seconds[static_cast<std::size_t>(run++)]; }}, 5), std::vector<double>{3},
              "median of 3, 1, 50, 2 and 4");
  run = 0;
  check_close(medians_in_turns({[&] { return seconds[static_cast<std::size_t>(run++)]; }}, 4), std::vector<double>{2.5},
              "median of 3, 1, 50 and 2");
}

// ---- Step 5 ---------------------------------------------------------------------------------------------------------

TEST_CASE("13.5 how far a query looks back") {
  check_close(positions_seen(4, 0), 2.5, "positions seen while writing 4 tokens");
  check_close(positions_seen(4, 2), 1.75, "1, 2, 2 and 2 positions on average");
  check_close(positions_seen(3, 100), 2, "a window longer than the text");
  check_close(positions_seen(128, 32), (32.0 * 33 / 2 + 96 * 32) / 128, "Shazeer's window of 32 of 128");
}

TEST_CASE("13.5 the caches of a beam are those that the library's decoder reads") {
  for (const Size window : {0, 4})
    for (const Size beam : {1, 3}) {
      const Transformer model = model_of(odd, window);
      const DecodingCost expected = decoding_cost(model, step_of(odd, beam));
      const Cost got = beam_caches_cost(odd, beam, window);
      const std::string what = text(" with beam ", beam, ", window ", window);
      check_close(got.bytes, expected.cache_bytes(), "bytes" + what);
      check_close(got.flops, expected.self_cache.flops + expected.cross_cache.flops, "operations" + what);
    }
}

}  // namespace headshare::lesson
