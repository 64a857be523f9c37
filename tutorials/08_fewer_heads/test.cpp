#include <algorithm>
#include <cmath>

#include "lesson.h"
#include "tutorials/support/check.h"

using namespace headshare;
using namespace headshare::lesson;

namespace {

// Every head of x [B, S, G, D] repeated, so that each query head has its own copy.               result: [B, S, H, D]
Tensor repeated_heads(const Tensor& x, Size heads) {
  const Size B = x.extent(0), S = x.extent(1), G = x.extent(2), D = x.extent(3);
  const Tensor result = zeros({B, S, heads, D});
  for (Size h = 0; h < heads; ++h) {
    Size group = 0;  // counted, not computed: the group after every heads / G heads
    for (Size i = 1; i <= h; ++i)
      if (i % (heads / G) == 0) ++group;
    result.slice(2, h, h + 1).copy_from(x.slice(2, group, group + 1));
  }
  return result;
}

Size count_of(const Attention& attention) {
  Size count = 0;
  attention.visit("", [&](const std::string&, const Parameter& parameter) { count += parameter.value().count(); });
  return count;
}

// The same in the layout of a cache: [B, S, G, D] to [B, G, S, D].
CountedCache counted(const Tensor& key, const Tensor& value) {
  return CountedCache(key.transpose(1, 2).contiguous(), value.transpose(1, 2).contiguous());
}

TransformerConfig tiny(AttentionSites attention) {
  return {
      .vocabulary = 11, .d_model = 24, .d_ff = 20, .layers = 2, .attention = attention, .max_length = 32, .dropout = 0};
}

}  // namespace

// ---- Step 1 ---------------------------------------------------------------------------------------------------------

TEST_CASE("8.1 neighbours share: 12 query heads over 12, 4, 3, 2 and 1 key/value heads") {
  const std::vector<std::pair<Size, std::vector<int>>> expected = {{12, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
                                                                   {4, {0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3}},
                                                                   {3, {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2}},
                                                                   {2, {0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1}},
                                                                   {1, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}};
  for (const auto& [G, heads] : expected) {
    std::vector<int> got;
    for (Size h = 0; h < 12; ++h) got.push_back(static_cast<int>(kv_head(h, 12, G)));
    check_equal(got, heads, text("the key/value heads of query heads 0 to 11, G = ", G));
  }
  check_fails([] { kv_head(0, 12, 5); }, "12 query heads cannot share 5 key/value heads evenly", "5 of 12");
}

TEST_CASE("8.1 with as many key/value heads as query heads it is multi-head attention") {
  const Tensor query = random_tensor({2, 3, 4, 5}, 1), key = random_tensor({2, 7, 4, 5}, 2),
               value = random_tensor({2, 7, 4, 5}, 3);
  check_close(shared_attention(query, key, value), attention(query, key, value, {}).output, "G = H = 4");
}

TEST_CASE("8.1 grouped heads are multi-head attention whose keys and values repeat") {
  for (const Size G : {1, 2, 3}) {
    const Tensor query = random_tensor({2, 3, 6, 5}, 4), key = random_tensor({2, 7, G, 5}, 5),
                 value = random_tensor({2, 7, G, 5}, 6);
    const Tensor expected = attention(query, repeated_heads(key, 6), repeated_heads(value, 6), {}).output;
    check_close(shared_attention(query, key, value), expected, text("H = 6, G = ", G));
  }
}

TEST_CASE("8.1 one query head looks at one key/value head only") {
  const Size H = 6, G = 3, D = 4;
  const Tensor query = random_tensor({1, 2, H, D}, 7), key = random_tensor({1, 5, G, D}, 8),
               value = random_tensor({1, 5, G, D}, 9);
  const Tensor before = shared_attention(query, key, value);
  const Tensor other = value.clone();
  other.slice(2, 1, 2).copy_from(random_tensor({1, 5, 1, D}, 10));  // the values of head 1 change
  const Tensor after = shared_attention(query, key, other);
  for (Size h = 0; h < H; ++h) {
    const bool changed = std::abs(after.at({0, 0, h, 0}) - before.at({0, 0, h, 0})) > 1e-6;
    check_equal(changed ? "changes" : "stays", h == 2 || h == 3 ? "changes" : "stays",
                text("query head ", h, " when the values of key/value head 1 change"));
  }
}

// ---- Step 2 ---------------------------------------------------------------------------------------------------------

TEST_CASE("8.2 the projections of an attention have as many numbers as those of the library") {
  Generator generator(1);
  for (const AttentionMode& mode : {multi_head(6), grouped_query(6, 3), grouped_query(6, 2), multi_query(6),
                                    with_head_size(grouped_query(4, 2), 5), with_head_size(multi_head(1), 7)}) {
    const ProjectionSizes sizes = projection_sizes(mode, 24);
    check_equal(sizes.weights + sizes.biases, count_of(Attention(24, mode, generator, {})),
                "weights and biases of " + name(mode) + ", d_model 24");
    check_equal(sizes.biases, (mode.heads + 2 * mode.kv_heads) * head_size(mode, 24) + 24,
                "biases of " + name(mode) + ", d_model 24");
  }
}

TEST_CASE("8.2 the feed-forward widths of Shazeer 2019, table 1") {
  const AttentionMode baseline = multi_head(8);  // d_model 1024, so D = 128
  const LayerCounts layers{.attentions = 18,
                           .feed_forwards = 12};  // 6 encoder layers with one, 6 decoder layers with two
  check_equal(equal_d_ff(baseline, baseline, 4096, 1024, layers), 4096, "multi-head, 8 heads");
  check_equal(equal_d_ff(multi_query(8), baseline, 4096, 1024, layers), 5440, "multi-query, 8 heads");
  check_equal(equal_d_ff(with_head_size(multi_head(1), 128), baseline, 4096, 1024, layers), 6784, "1 head of 128");
  check_equal(equal_d_ff(with_head_size(multi_head(4), 32), baseline, 4096, 1024, layers), 6784, "4 heads of 32");
}

// ---- Step 3 ---------------------------------------------------------------------------------------------------------

TEST_CASE("8.3 bytes of a position: keys and values of G heads in all layers") {
  check_equal(token_bytes({.layers = 1, .kv_heads = 1, .head_size = 1, .bytes_per_number = 4}), 8,
              "the least there is");
  check_equal(token_bytes({32, 32, 128, 2}), 524288, "32 layers, 32 heads of 128, 2 bytes");
  check_equal(token_bytes({80, 8, 128, 2}), 327680, "80 layers, 8 key/value heads of 128, 2 bytes");
  check_equal(token_bytes({3, 2, 7, 4}), 336, "3 layers, 2 key/value heads of 7, 4 bytes");
}

TEST_CASE("8.3 a sentence has target positions in one kind of cache and source positions in the other") {
  check_equal(sentence_bytes({3, 2, 7, 4}, 5, 0), 5 * 336, "5 target positions, no encoder");
  check_equal(sentence_bytes({3, 2, 7, 4}, 5, 11), 16 * 336, "5 target and 11 source positions");
  check_equal(sentence_bytes({32, 32, 128, 2}, 4096, 0), 2147483648LL, "32 layers, 32 heads of 128, 4096 positions");
}

TEST_CASE("8.3 as many sentences as fit beside the weights") {
  const CacheShape shape{3, 2, 7, 4};  // a sentence of 5 + 5 takes 3360 bytes
  check_equal(largest_batch(shape, 5, 5, 33599, 0), 9, "memory for 9 sentences and a bit");
  check_equal(largest_batch(shape, 5, 5, 33600, 0), 10, "memory for exactly 10");
  check_equal(largest_batch(shape, 5, 5, 33600, 1), 9, "and one byte of weights");
  check_equal(largest_batch(shape, 5, 5, 1000, 50000), 0, "weights that do not fit");
}

// ---- Step 4 ---------------------------------------------------------------------------------------------------------

TEST_CASE("8.4 per group gives what per head gives, and reads every key and value once") {
  const Size B = 2, H = 6, S = 7, D = 5;
  for (const Size G : {1, 2, 3, 6}) {
    const Tensor query = random_tensor({B, H, D}, 11), key = random_tensor({B, G, S, D}, 12),
                 value = random_tensor({B, G, S, D}, 13);
    const CountedCache per_head(key, value), per_group(key, value);
    const Tensor expected = attend_per_head(query, per_head);
    check_close(attend_per_group(query, per_group), expected, text("H = 6, G = ", G));
    const Size once = 2 * B * G * S * D * 4;  // keys and values, 4 bytes a number
    check_equal(per_group.bytes_read(), once, text("bytes read, G = ", G));
    check_equal(per_head.bytes_read(), once * H / G, text("bytes read head by head, G = ", G));
  }
}

TEST_CASE("8.4 one query against a cache is what shared_attention gives, each key read once") {
  const Size B = 3, H = 8, G = 2, S = 9, D = 4;
  const Tensor query = random_tensor({B, 1, H, D}, 14), key = random_tensor({B, S, G, D}, 15),
               value = random_tensor({B, S, G, D}, 16);
  const CountedCache cache = counted(key, value);
  check_close(attend_per_group(query.reshape({B, H, D}), cache), shared_attention(query, key, value).reshape({B, H, D}),
              "attention over the cache");
  check_equal(cache.bytes_read(), 2 * B * G * S * D * 4, "bytes read");
}

// ---- Step 5 ---------------------------------------------------------------------------------------------------------

TEST_CASE("8.5 the bytes of all caches are those of the library's decoder") {
  const std::vector<AttentionSites> all = {
      multi_head(6), grouped_query(6, 2), multi_query(6),
      AttentionSites(multi_head(6), grouped_query(6, 3), multi_query(6)),
      AttentionSites(multi_head(6), with_head_size(multi_query(4), 5), with_head_size(multi_head(2), 9))};
  for (const AttentionSites& sites : all) {
    const Transformer model(tiny(sites), 1);
    const Size batch = 3, capacity = 13, source_length = 7;
    const DecoderState state = Decoder(model).start(Variable(random_tensor({batch, source_length, 24}, 2)),
                                                    from_values<std::int32_t>({7, 5, 7}, {3}), {.capacity = capacity});
    check_equal(cache_bytes(model, batch, capacity, source_length), state.bytes(), name(sites));
  }
  const Transformer wide(tiny(grouped_query(6, 2)), 1, {ElementType::float64});
  check_equal(cache_bytes(wide, 1, 1, 0), 2 * 2 * 2 * 4 * 8, "float64: 2 layers, keys and values of 2 heads of 4");
}

TEST_CASE("8.5 layers may differ") {
  TransformerConfig config = tiny(multi_head(6));
  config.attention_per_layer = {multi_head(6), multi_query(6)};
  check_equal(cache_bytes(Transformer(config, 1), 1, 10, 0), 10 * 2 * (6 + 1) * 4 * 4, "6 heads below, 1 above");
}

TEST_CASE("8.5 the speed limit is 1 for the same model, and H / G where caches are all there is to read") {
  const Transformer multi(tiny(multi_head(6)), 1), grouped(tiny(grouped_query(6, 2)), 1), one(tiny(multi_query(6)), 1);
  check_close(speed_limit(multi, multi, 8, 10, 10), 1, "a model against itself");
  check_close(speed_limit(grouped, multi, 100'000'000, 10, 10), 3, "G = 2 of 6, an endless batch", 1e-3);
  check_close(speed_limit(one, multi, 100'000'000, 10, 10), 6, "G = 1 of 6, an endless batch", 1e-3);
  const double weights = static_cast<double>(Decoder(multi).weight_bytes());
  const double shared_weights = static_cast<double>(Decoder(one).weight_bytes());
  const double position = 2 * 2 * 24 * 4;  // layers, keys and values, numbers, bytes
  check_close(speed_limit(one, multi, 5, 8, 9),
              (weights + 5 * 17 * position) / (shared_weights + 5 * 17 * position / 6),
              "G = 1 of 6, 5 sentences with 8 target and 9 source positions");
}
