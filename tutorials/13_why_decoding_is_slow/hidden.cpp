#include <cmath>

#include "lesson.h"
#include "nn/decoding_cost.h"
#include "tensor/attention.h"
#include "tutorials/support/check.h"

namespace headshare::lesson {
namespace {

std::uint64_t fresh(std::uint64_t seed) { return 1000 * grading_seed() + seed; }
Size drawn(Size from, Size to, std::uint64_t seed) { return from + Generator(fresh(seed)).below(to - from + 1); }

DecodingSizes drawn_sizes(std::uint64_t seed) {
  const Size kv_heads = drawn(1, 3, seed);
  return {.d_model = 2 * drawn(3, 20, seed + 1),
          .d_ff = drawn(5, 50, seed + 2),
          .layers = drawn(1, 3, seed + 3),
          .vocabulary = drawn(10, 90, seed + 4),
          .heads = kv_heads * drawn(1, 4, seed + 5),
          .kv_heads = kv_heads,
          .head_size = drawn(2, 9, seed + 6),
          .batch = drawn(2, 9, seed + 7),
          .source = drawn(3, 30, seed + 8),
          .target = drawn(3, 30, seed + 9)};
}

DecodingCost library_cost(const DecodingSizes& sizes, Size beam, Size window) {
  const AttentionMode mode{sizes.heads, sizes.kv_heads, sizes.head_size};
  const Transformer model({.vocabulary = sizes.vocabulary,
                           .d_model = sizes.d_model,
                           .d_ff = sizes.d_ff,
                           .layers = sizes.layers,
                           .attention = {mode, local_window(mode, window), mode},
                           .max_length = sizes.source + sizes.target},
                          1);
  return decoding_cost(
      model, {.batch = sizes.batch, .source_length = sizes.source, .target_length = sizes.target, .beam = beam});
}

}  // namespace

TEST_CASE("13.1 models of unseen sizes") {
  for (const std::uint64_t seed : {0, 20, 40}) {
    const DecodingSizes sizes = drawn_sizes(seed);
    const DecodingCost expected = library_cost(sizes, 1, 0);
    check_close(weights_cost(sizes).bytes, expected.weights.bytes, "bytes of the weights");
    check_close(weights_cost(sizes).flops, expected.weights.flops, "operations with the weights");
    check_close(caches_cost(sizes).bytes, expected.cache_bytes(), "bytes of the caches");
    check_close(caches_cost(sizes).flops, expected.self_cache.flops + expected.cross_cache.flops,
                "operations with the caches");
  }
}

TEST_CASE("13.2 unseen machines") {
  Generator generator(fresh(60));
  for (int i = 0; i < 20; ++i) {
    const auto draw = [&] { return 1 + 9 * generator.uniform(); };
    const Machine machine{draw(), draw()};
    const Cost weights{draw(), draw()}, caches{draw(), draw()};
    const double reading = (weights.bytes + caches.bytes) / machine.bytes_per_second;
    const double computing = (weights.flops + caches.flops) / machine.flops_per_second;
    check_close(roofline_seconds(weights + caches, machine), reading > computing ? reading : computing, "seconds");
    const std::string expected = computing > reading ? "compute" : weights.bytes > caches.bytes ? "weights" : "caches";
    check_equal(name_of(bound_of(weights, caches, machine)), expected, "what the step waits for");
  }
}

TEST_CASE("13.3 caches of unseen sizes, each row fetched once") {
  for (const std::uint64_t seed : {70, 80}) {
    const Size B = drawn(1, 4, seed), G = drawn(1, 3, seed + 1), H = G * drawn(2, 5, seed + 2),
               S = drawn(30, 90, seed + 3), D = drawn(5, 40, seed + 4);
    const Tensor query = random_tensor({B, H, D}, fresh(seed)), keys = random_tensor({B, G, S, D}, fresh(seed + 5)),
                 values = random_tensor({B, G, S, D}, fresh(seed + 6)), output = full({B, H, D}, 5);
    std::atomic<Size> fetched = 0;
    decode_per_group({B, G, S, D, keys.data<float>(), values.data<float>(), &fetched}, H, query.data<float>(),
                     output.data<float>());
    check_equal(fetched, 2 * B * G * S, "keys and values fetched");
    const Tensor expected =
        attention(query.reshape({B, 1, H, D}), keys.transpose(1, 2), values.transpose(1, 2), {}).output;
    check_close(output, expected.reshape({B, H, D}), "output", 2e-5);
  }
}

TEST_CASE("13.4 medians of unseen times") {
  Generator generator(fresh(90));
  const Size turns = 2 * drawn(2, 5, 91) + 1;
  std::vector<std::vector<double>> given(3);
  std::vector<std::function<double()>> candidates;
  std::vector<std::size_t> next(3, 0);
  std::vector<double> expected;
  for (std::size_t i = 0; i < 3; ++i) {
    for (Size turn = 0; turn <= turns; ++turn) given[i].push_back(generator.uniform());
    std::vector<double> sorted(given[i].begin() + 1, given[i].end());
    std::sort(sorted.begin(), sorted.end());
    expected.push_back(sorted[static_cast<std::size_t>(turns / 2)]);
    candidates.push_back([&, i] { return given[i].at(next[i]++); });
  }
  check_close(medians_in_turns(candidates, turns), expected, "medians");
}

TEST_CASE("13.5 beams and windows of unseen sizes") {
  for (const std::uint64_t seed : {100, 120}) {
    const DecodingSizes sizes = drawn_sizes(seed);
    for (const Size window : {Size{0}, drawn(1, 12, seed + 11)})
      for (const Size beam : {Size{1}, drawn(2, 6, seed + 12)}) {
        const DecodingCost expected = library_cost(sizes, beam, window);
        const Cost got = beam_caches_cost(sizes, beam, window);
        const std::string what = text(" with beam ", beam, ", window ", window);
        check_close(got.bytes, expected.cache_bytes(), "bytes" + what);
        check_close(got.flops, expected.self_cache.flops + expected.cross_cache.flops, "operations" + what);
      }
  }
}

}  // namespace headshare::lesson
