#include "lesson.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {

// ---- Step 1: one formula --------------------------------------------------------------------------------------------

// [show kv_head]
Size kv_head(Size h, Size heads, Size kv_heads) {
  if (kv_heads < 1 || heads % kv_heads != 0)
    fail("attention: ", heads, " query heads cannot share ", kv_heads, " key/value heads evenly");
  // [step 1] Say which key/value head query head h reads: neighbours share one.
  // [hint] With 8 query heads and 2 key/value heads, heads 0 1 2 3 read head 0 and heads 4 5 6 7 read head 1.
  // [hint] How many query heads are there in a group?
  return h / (heads / kv_heads);
  // [end]
}
// [end show]

// Replaces scores by their softmax.
static void softmax_in_place(std::vector<float>& scores) {
  const float largest = *std::max_element(scores.begin(), scores.end());
  float sum = 0;
  for (float& score : scores) sum += score = std::exp(score - largest);
  for (float& score : scores) score /= sum;
}

// [show shared_attention]
Tensor shared_attention(const Tensor& query, const Tensor& key, const Tensor& value) {
  const Size B = query.extent(0), T = query.extent(1), H = query.extent(2), D = query.extent(3);
  const Size S = key.extent(1), G = key.extent(2);
  const float* queries = query.data<float>();  // [B, T, H, D]
  const float* keys = key.data<float>();       // [B, S, G, D]
  const float* values = value.data<float>();   // [B, S, G, D]
  Tensor result = zeros({B, T, H, D});
  float* results = result.data<float>();
  // [step 1] Attention where query head h reads the keys and values of head kv_head(h, H, G).
  // softmax_in_place(scores), above, turns a std::vector<float> of scores into weights.
  // [hint] Element (b, t, h, d) of the queries is queries[((b * T + t) * H + h) * D + d]. And (b, s, g, d) of the keys?
  // [hint] The keys have G heads, not H: their strides are other ones.
  // [hint] For each b, t, h: S scores, divided by sqrt(D); softmax_in_place; then the weighted sum of the values.
  std::vector<float> weights(static_cast<std::size_t>(S));
  for (Size b = 0; b < B; ++b)
    for (Size t = 0; t < T; ++t)
      for (Size h = 0; h < H; ++h) {
        const Size g = kv_head(h, H, G), here = ((b * T + t) * H + h) * D;
        for (Size s = 0; s < S; ++s) {
          float dot = 0;
          for (Size d = 0; d < D; ++d) dot += queries[here + d] * keys[((b * S + s) * G + g) * D + d];
          weights[static_cast<std::size_t>(s)] = dot / std::sqrt(static_cast<float>(D));
        }
        softmax_in_place(weights);
        for (Size s = 0; s < S; ++s)
          for (Size d = 0; d < D; ++d)
            results[here + d] += weights[static_cast<std::size_t>(s)] * values[((b * S + s) * G + g) * D + d];
      }
  // [end]
  return result;
}
// [end show]

// ---- Step 2: parameters ---------------------------------------------------------------------------------------------

// [show projection_sizes]
ProjectionSizes projection_sizes(const AttentionMode& mode, Size d_model) {
  const Size C = d_model, H = mode.heads, G = mode.kv_heads, D = head_size(mode, d_model);
  // [step 2] Count the numbers in the four matrices, and in the four biases.
  // [hint] Queries and output know H heads, keys and values G heads.
  // [hint] The matrices are [C, H D], [C, G D], [C, G D] and [H D, C]. The last bias has C numbers.
  return {.weights = 2 * C * H * D + 2 * C * G * D, .biases = H * D + 2 * G * D + C};
  // [end]
}
// [end show]

// [show equal_d_ff]
Size equal_d_ff(const AttentionMode& mode, const AttentionMode& baseline, Size baseline_d_ff, Size d_model,
                const LayerCounts& counts) {
  // [step 2] Spend what the attentions save on wider feed-forward layers.
  // [hint] Saved: the difference of projection_sizes(...).weights, times the number of attentions.
  // [hint] One more unit of F costs a column of [C, F] and a row of [F, C], in every feed-forward layer.
  const Size saved =
      counts.attentions * (projection_sizes(baseline, d_model).weights - projection_sizes(mode, d_model).weights);
  return baseline_d_ff + saved / (counts.feed_forwards * 2 * d_model);
  // [end]
}
// [end show]

// ---- Step 3: bytes of a cache ---------------------------------------------------------------------------------------

// [show cache_arithmetic]
Size token_bytes(const CacheShape& shape) {
  // [step 3] Bytes that one position takes in the caches of one kind of attention, in all layers.
  // [hint] Keys and values: twice. Query heads do not occur.
  return 2 * shape.layers * shape.kv_heads * shape.head_size * shape.bytes_per_number;
  // [end]
}

Size sentence_bytes(const CacheShape& shape, Size targets, Size sources) {
  // [step 3] Bytes of one sentence: its target positions in one kind of cache, its source positions in the other.
  // [hint] Both kinds have as many layers and heads here, so a position takes as much in either.
  return (targets + sources) * token_bytes(shape);
  // [end]
}

Size largest_batch(const CacheShape& shape, Size targets, Size sources, Size memory, Size weights) {
  // [step 3] Count the whole sentences that fit beside the weights.
  // [hint] Weights are there once, however many sentences there are. And what if they alone are too large?
  return std::max(Size{0}, memory - weights) / sentence_bytes(shape, targets, sources);
  // [end]
}
// [end show]

// ---- Step 4: bytes that are read ------------------------------------------------------------------------------------

CountedCache::CountedCache(const Tensor& key, const Tensor& value)
    : key_(key.contiguous()), value_(value.contiguous()) {
  if (!(key.shape() == value.shape()) || key.rank() != 4)
    fail("counted cache: key ", key.shape(), " and value ", value.shape(), ", needed the same [B, G, S, D]");
}

// [show load]
void CountedCache::load(const Tensor& from, Size b, Size g, Size s, float* to) const {
  const Size D = head_size();
  const float* first = from.data<float>() + ((b * kv_heads() + g) * length() + s) * D;
  std::copy(first, first + D, to);
  *bytes_read_ += D * static_cast<Size>(sizeof(float));
}
// [end show]

static float dot(const float* a, const float* b, Size count) {
  float sum = 0;
  for (Size i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// [show attend_per_head]
Tensor attend_per_head(const Tensor& query, const CountedCache& cache) {
  const Size B = query.extent(0), H = query.extent(1), D = query.extent(2), S = cache.length();
  const float* queries = query.data<float>();
  Tensor result = zeros({B, H, D});
  float* results = result.data<float>();
  std::vector<float> loaded(static_cast<std::size_t>(D)), weights(static_cast<std::size_t>(S));
  for (Size b = 0; b < B; ++b)
    for (Size h = 0; h < H; ++h) {
      const Size g = kv_head(h, H, cache.kv_heads()), here = (b * H + h) * D;
      for (Size s = 0; s < S; ++s) {
        cache.load_key(b, g, s, loaded.data());
        weights[static_cast<std::size_t>(s)] = dot(queries + here, loaded.data(), D) / std::sqrt(static_cast<float>(D));
      }
      softmax_in_place(weights);
      for (Size s = 0; s < S; ++s) {
        cache.load_value(b, g, s, loaded.data());
        for (Size d = 0; d < D; ++d)
          results[here + d] += weights[static_cast<std::size_t>(s)] * loaded[static_cast<std::size_t>(d)];
      }
    }
  return result;
}
// [end show]

// [show attend_per_group]
Tensor attend_per_group(const Tensor& query, const CountedCache& cache) {
  // [step 4] Read every key and value once, for all query heads of its group.
  // What you find here is right and reads too much. The test counts.
  // [hint] Loops over b and g outside. Load key s once, then all H / G heads of the group take their product with it.
  // [hint] That takes H / G rows of weights at the same time: std::vector<std::vector<float>>. One softmax for each.
  // [hint] The query heads of group g are g * (H / G) up to, and without, (g + 1) * (H / G).
  const Size B = query.extent(0), H = query.extent(1), D = query.extent(2), S = cache.length();
  const Size G = cache.kv_heads(), sharing = H / G;
  const float* queries = query.data<float>();
  Tensor result = zeros({B, H, D});
  float* results = result.data<float>();
  std::vector<float> loaded(static_cast<std::size_t>(D));
  std::vector<std::vector<float>> weights(static_cast<std::size_t>(sharing),
                                          std::vector<float>(static_cast<std::size_t>(S)));
  for (Size b = 0; b < B; ++b)
    for (Size g = 0; g < G; ++g) {
      const Size first = (b * H + g * sharing) * D;  // the first query head of the group
      for (Size s = 0; s < S; ++s) {
        cache.load_key(b, g, s, loaded.data());
        for (Size i = 0; i < sharing; ++i)
          weights[static_cast<std::size_t>(i)][static_cast<std::size_t>(s)] =
              dot(queries + first + i * D, loaded.data(), D) / std::sqrt(static_cast<float>(D));
      }
      for (std::vector<float>& row : weights) softmax_in_place(row);
      for (Size s = 0; s < S; ++s) {
        cache.load_value(b, g, s, loaded.data());
        for (Size i = 0; i < sharing; ++i)
          for (Size d = 0; d < D; ++d)
            results[first + i * D + d] +=
                weights[static_cast<std::size_t>(i)][static_cast<std::size_t>(s)] * loaded[static_cast<std::size_t>(d)];
      }
    }
  return result;
  // [stub]
  // return attend_per_head(query, cache);
  // [end]
}
// [end show]

// ---- Step 5: the constructor argument -------------------------------------------------------------------------------

// [show cache_bytes]
Size cache_bytes(const Transformer& model, Size batch, Size capacity, Size source_length) {
  const Size bytes_per_number = bytes_of(model.options().type);
  Size bytes = 0;
  // [step 5] Add up the caches of all layers: self-attention has `capacity` positions, cross-attention source_length.
  // layer.self.mode.kv_heads is G, layer.self.head_size() is D; layer.cross has its own.
  // [hint] for (const DecoderLayer& layer : model.decoder())
  // [hint] With CacheShape{1, G, D, bytes_per_number}, token_bytes gives the bytes of one position in one layer.
  const auto position = [&](const Attention& attention) {
    return token_bytes({1, attention.mode.kv_heads, attention.head_size(), bytes_per_number});
  };
  for (const DecoderLayer& layer : model.decoder())
    bytes += batch * (capacity * position(layer.self) + source_length * position(layer.cross));
  // [end]
  return bytes;
}
// [end show]

// [show speed_limit]
double speed_limit(const Transformer& model, const Transformer& baseline, Size batch, Size targets,
                   Size source_length) {
  // [step 5] Divide the bytes that a step of the baseline reads by those of the model.
  // [hint] Weights are read once a step, whatever the batch is; caches once a step for every sentence.
  // [hint] A cache with exactly `targets` positions has the bytes that are read: cache_bytes(...). Divide as double.
  const auto bytes = [&](const Transformer& one) {
    return static_cast<double>(Decoder(one).weight_bytes() + cache_bytes(one, batch, targets, source_length));
  };
  return bytes(baseline) / bytes(model);
  // [end]
}
// [end show]

}  // namespace headshare::lesson
