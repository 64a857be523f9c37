#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "core/size.h"

// Lesson 13: why decoding is slow. Letters: B batch, T target positions, S source positions, C d_model, H query heads,
// G key/value heads, D numbers of a head, F d_ff, V vocabulary. All numbers are float32: 4 bytes.
namespace headshare::lesson {

// ---- Step 1: count one step -----------------------------------------------------------------------------------------

// What decides the cost of a decoding step: one new token for each of B sentences.
struct DecodingSizes {
  Size d_model, d_ff, layers, vocabulary;  // C, F, decoder layers, V
  Size heads, kv_heads, head_size;         // H, G, D
  Size batch, source, target;              // B, S, T: the text that is written has T tokens
};

// What a step reads from memory, and floating-point operations; a multiply-add is two.
struct Cost {
  double bytes = 0;
  double flops = 0;
};
inline Cost operator+(const Cost& a, const Cost& b) { return {a.bytes + b.bytes, a.flops + b.flops}; }

// All weights and biases that a decoding step multiplies with: every one is read once, for all sentences together, and
// multiplied with every sentence's row. The layer normalisations and the encoder do not count; see the text.
Cost weights_cost(const DecodingSizes& sizes);

// Keys and values. Self-attention reads those of the target positions so far, (T + 1) / 2 on average; cross-attention
// those of all S source positions. Each sentence has its own.
Cost caches_cost(const DecodingSizes& sizes);

// ---- Step 2: the roofline -------------------------------------------------------------------------------------------

struct Machine {
  double bytes_per_second;
  double flops_per_second;
};

// The least time that this much work takes on this machine, when it reads and computes at the same time (Williams et
// al. 2009).
double roofline_seconds(const Cost& cost, const Machine& machine);

// What a step waits for: arithmetic, or the larger part of its bytes.
enum class Bound { compute, weights, caches };
Bound bound_of(const Cost& weights, const Cost& caches, const Machine& machine);
std::string name_of(Bound bound);

// ---- Step 3: attention of one step ----------------------------------------------------------------------------------

// The keys and values of one layer, [B, G, S, D] each.
struct Cache {
  Size batch, kv_heads, positions, head_size;  // B, G, S, D
  const float* keys;
  const float* values;
  std::atomic<Size>* fetched = nullptr;  // where given, counts the keys and values that were asked for

  // The D numbers of one position. To compute with a key or value twice, keep the pointer: each call counts as a fetch.
  const float* key(Size b, Size g, Size s) const { return row(keys, b, g, s); }
  const float* value(Size b, Size g, Size s) const { return row(values, b, g, s); }

 private:
  const float* row(const float* all, Size b, Size g, Size s) const {
    if (fetched != nullptr) ++*fetched;
    return all + ((b * kv_heads + g) * positions + s) * head_size;
  }
};

// One query per sentence and query head against its cache, softmax(q k / sqrt(D)) v. Query head h reads key/value head
// h / (H / G).                                                                             query, output: [B, H, D]
void decode_per_head(const Cache& cache, Size heads, const float* query, float* output);   // one query head at a time
void decode_per_group(const Cache& cache, Size heads, const float* query, float* output);  // fetches each row once

// ---- Step 4: measuring ----------------------------------------------------------------------------------------------

// Each candidate does its work once and returns how many seconds that took. They are run in turns: all of them, in
// order, then all of them again ... The first turn warms up and does not count. The result is the median of the other
// `turns` for each candidate (of an even number, the mean of the middle two).
std::vector<double> medians_in_turns(const std::vector<std::function<double()>>& candidates, Size turns);

// ---- Step 5: beams and windows --------------------------------------------------------------------------------------

// How many positions a query sees on average while T tokens are written, when it sees its own position and those before
// it, and of these only the last `window` (0: all of them).
double positions_seen(Size target, Size window);

// The caches in beam search, which keeps `beam` texts per sentence. Each text has its own self-attention cache; all
// texts of a sentence read the same source. After a step, texts change places: each is replaced by another with
// probability (beam - 1) / beam, and then its self-attention cache is read and written once more. With beam 1 and
// window 0 the same as caches_cost.
Cost beam_caches_cost(const DecodingSizes& sizes, Size beam, Size window);

}  // namespace headshare::lesson
