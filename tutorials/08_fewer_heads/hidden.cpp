#include <cmath>

#include "lesson.h"
#include "tutorials/support/check.h"

// The same questions with numbers that are new in every grading.

using namespace headshare;
using namespace headshare::lesson;

namespace {

Generator dice(std::uint64_t stream) { return Generator(grading_seed(), stream); }

struct Sizes {
  Size B, T, S, G, H, D;
};
Sizes random_sizes(Generator& generator) {
  const Size G = 1 + generator.below(4);
  return {1 + generator.below(3),       1 + generator.below(4), 1 + generator.below(12), G,
          G * (1 + generator.below(5)), 1 + generator.below(9)};
}
std::string shown(const Sizes& sizes) {
  return text("B ", sizes.B, ", S ", sizes.S, ", H ", sizes.H, ", G ", sizes.G, ", D ", sizes.D);
}

}  // namespace

TEST_CASE("8.1 groups are neighbours of equal size") {
  Generator generator = dice(81);
  for (int trial = 0; trial < 10; ++trial) {
    const Size G = 1 + generator.below(9), sharing = 1 + generator.below(9), H = G * sharing;
    Size h = 0;
    for (Size g = 0; g < G; ++g)
      for (Size i = 0; i < sharing; ++i, ++h)
        check_equal(kv_head(h, H, G), g, text("the key/value head of query head ", h, " of ", H, ", G = ", G));
    check_fails([&] { kv_head(0, H, H + 1); }, "evenly", "more key/value heads than query heads");
  }
}

TEST_CASE("8.1 attention with shared heads for any sizes") {
  Generator generator = dice(82);
  for (std::uint64_t trial = 0; trial < 8; ++trial) {
    const Sizes sizes = random_sizes(generator);
    const auto& [B, T, S, G, H, D] = sizes;
    const Tensor query = random_tensor({B, T, H, D}, grading_seed() + 10 * trial),
                 key = random_tensor({B, S, G, D}, grading_seed() + 10 * trial + 1),
                 value = random_tensor({B, S, G, D}, grading_seed() + 10 * trial + 2);
    check_close(shared_attention(query, key, value), attention(query, key, value, {}).output, shown(sizes), 1e-4);
  }
}

TEST_CASE("8.2 projections of any size") {
  Generator generator = dice(83);
  for (int trial = 0; trial < 6; ++trial) {
    const Size G = 1 + generator.below(3), H = G * (1 + generator.below(3)), D = 1 + generator.below(8),
               C = 1 + generator.below(40);
    const AttentionMode mode = with_head_size(grouped_query(H, G), D);
    Size weights = 0, biases = 0;
    Attention(C, mode, generator, {}).visit("", [&](const std::string&, const Parameter& parameter) {
      (parameter.value().rank() == 2 ? weights : biases) += parameter.value().count();
    });
    check_equal(projection_sizes(mode, C).weights, weights, text("weights of ", name(mode), ", d_model ", C));
    check_equal(projection_sizes(mode, C).biases, biases, text("biases of ", name(mode), ", d_model ", C));
  }
}

TEST_CASE("8.2 the feed-forward widths of Shazeer's language model, and any others") {
  // Billion-word LM: a decoder alone, so one attention for each feed-forward layer; d_model 1024, d_ff 8192.
  const LayerCounts layers{6, 6};
  check_equal(equal_d_ff(multi_query(8), multi_head(8), 8192, 1024, layers), 9088, "multi-query");
  check_equal(equal_d_ff(with_head_size(multi_head(2), 64), multi_head(8), 8192, 1024, layers), 9984, "2 heads of 64");
  Generator generator = dice(84);
  const Size groups = 1 << generator.below(4), attentions = 2 + generator.below(20), C = 8 * (5 + generator.below(60));
  const Size got = equal_d_ff(grouped_query(8, groups), multi_head(8), 777, C, {attentions, 3});
  const double saved = static_cast<double>(attentions * 2 * C * (8 - groups) * (C / 8));
  check_equal(got, 777 + static_cast<Size>(std::floor(saved / static_cast<double>(6 * C))),
              text("G = ", groups, " of 8, d_model ", C, ", ", attentions, " attentions"));
}

TEST_CASE("8.3 cache arithmetic for any model") {
  Generator generator = dice(85);
  for (int trial = 0; trial < 10; ++trial) {
    const CacheShape shape{1 + generator.below(90), 1 + generator.below(64), 1 + generator.below(256),
                           Size{1} << generator.below(4)};
    const Size targets = 1 + generator.below(5000), sources = generator.below(5000);
    Size bytes = 0;
    for (Size layer = 0; layer < shape.layers; ++layer)
      bytes += 2 * shape.kv_heads * shape.head_size * shape.bytes_per_number;
    check_equal(token_bytes(shape), bytes, "bytes of a position");
    check_equal(sentence_bytes(shape, targets, sources), bytes * targets + bytes * sources, "bytes of a sentence");
    const Size count = generator.below(100), weights = generator.below(1'000'000'000);
    const Size exact = weights + count * bytes * (targets + sources);
    check_equal(largest_batch(shape, targets, sources, exact, weights), count, "memory for exactly so many");
    if (count > 0) check_equal(largest_batch(shape, targets, sources, exact - 1, weights), count - 1, "one byte less");
  }
  check_equal(largest_batch({1, 1, 1, 4}, 1, 0, 10, 1000), 0, "weights that do not fit");
}

TEST_CASE("8.4 per group is right and reads once for any sizes") {
  Generator generator = dice(86);
  for (std::uint64_t trial = 0; trial < 8; ++trial) {
    const Sizes sizes = random_sizes(generator);
    const auto& [B, T, S, G, H, D] = sizes;
    const Tensor query = random_tensor({B, H, D}, grading_seed() + 10 * trial + 5),
                 key = random_tensor({B, S, G, D}, grading_seed() + 10 * trial + 6),
                 value = random_tensor({B, S, G, D}, grading_seed() + 10 * trial + 7);
    const CountedCache cache(key.transpose(1, 2), value.transpose(1, 2));
    check_close(attend_per_group(query, cache),
                attention(query.reshape({B, 1, H, D}), key, value, {}).output.reshape({B, H, D}), shown(sizes), 1e-4);
    check_equal(cache.bytes_read(), 2 * B * G * S * D * 4, "bytes read, " + shown(sizes));
  }
  const Tensor query = random_tensor({2, 16, 8}, 1), key = random_tensor({2, 2, 33, 8}, 2);
  const CountedCache per_head(key, key), per_group(key, key);
  attend_per_head(query, per_head);
  attend_per_group(query, per_group);
  award("8.4 bytes of keys and values",
        static_cast<double>(per_head.bytes_read()) / static_cast<double>(per_group.bytes_read()), 8);
}

TEST_CASE("8.5 caches and speed limits of any model") {
  Generator generator = dice(87);
  for (int trial = 0; trial < 4; ++trial) {
    const auto mode = [&] {
      const Size G = 1 + generator.below(3);
      return with_head_size(grouped_query(G * (1 + generator.below(3)), G), 2 + generator.below(5));
    };
    TransformerConfig config{.vocabulary = 9, .d_model = 12, .d_ff = 10, .layers = 2, .max_length = 64, .dropout = 0};
    config.attention_per_layer = {AttentionSites(mode(), mode(), mode()), AttentionSites(mode(), mode(), mode())};
    const Transformer model(config, 1);
    config.attention_per_layer = {};
    config.attention = multi_head(4);
    const Transformer baseline(config, 1);
    const Size batch = 1 + generator.below(6), capacity = 1 + generator.below(30), source = 1 + generator.below(30);
    const auto measured = [&](const Transformer& one) {
      return Decoder(one)
          .start(Variable(random_tensor({batch, source, 12}, 3)),
                 full({batch}, static_cast<double>(source), {ElementType::int32}), {.capacity = capacity})
          .bytes();
    };
    check_equal(cache_bytes(model, batch, capacity, source), measured(model), "bytes of all caches");
    const auto read = [&](const Transformer& one) {
      return static_cast<double>(Decoder(one).weight_bytes() + measured(one));
    };
    check_close(speed_limit(model, baseline, batch, capacity, source), read(baseline) / read(model), "speed limit");
  }
}
