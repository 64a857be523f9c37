#pragma once

#include <vector>

#include "core/size.h"
#include "kernels/cuda.h"

// Lesson 12: attention that never stores a score. Two files to fill: lesson.cpp (steps 1, 2 and 6, plain C++) and
// lesson.cu (steps 3, 4 and 5, kernels).
//
// Letters: B batch, T targets (queries), S sources (keys and values), H query heads, G key/value heads, D head size.
namespace headshare::lesson {

// [show sizes]
constexpr int depth = 16;       // D of the kernels: small and fixed, so that a thread holds a whole row in registers
constexpr int block_rows = 64;  // rows that stay with a block, one for each of its 64 threads
constexpr int tile_rows = 32;   // rows that pass by at a time, in shared memory

enum class Order { any, causal };  // causal: target t sees the sources up to t + S - T, the last target sees all

struct Sizes {
  int batch;     // B
  int heads;     // H
  int kv_heads;  // G; divides H
  int targets;   // T
  int sources;   // S; with causal order at least T
  Order order = Order::any;
  int head_size = depth;  // D; anything in step 1, `depth` for the kernels
};
// [end show]

// ---- Step 1: predictions (lesson.cpp) ----

// Every number is a float of 4 bytes; the order is `any`. Both ways give 64 queries of one head to a block, which reads
// its queries once, and each key and value of its key/value head once: other blocks read them again.
//
// Plain attention is three kernels: q k^T writes all scores; the softmax reads them and writes the weights; weights
// times values reads the weights. Bytes read and written by all three.
Size plain_bytes(const Sizes& sizes);
// Fused attention is one kernel: reads queries, keys, values; writes outputs and one log-sum-exp for each query.
Size fused_bytes(const Sizes& sizes);

// ---- Step 2: the online softmax, on the processor (lesson.cpp) ----

// What is known of one query's softmax when only some of its keys have passed by. While no key has, or only masked
// ones, max is minus infinity, sum 0, and output all zeros.
struct OnlineSoftmax {
  double max;                  // the largest score so far
  double sum;                  // of exp(score - max)
  std::vector<double> output;  // of exp(score - max) value, not yet divided by sum                     [D]
};
OnlineSoftmax nothing_seen(int head_size);
// Takes in the next n keys, at least one. A score of minus infinity is a masked key; all of them may be masked.
//                                                                                    scores: [n], values: [n, D]
void add_tile(OnlineSoftmax& softmax, const std::vector<double>& scores, const std::vector<double>& values);
std::vector<double> attention_of(const OnlineSoftmax& softmax);  // softmax(all scores) values: [D]; zeros if none seen
double log_sum_exp(const OnlineSoftmax& softmax);                // log(sum of exp(score)) over all keys so far

// Given (lesson.cpp): throws Error where heads cannot be shared, D is not `depth`, a size is 0, or causal order has
// more targets than sources.
void check_sizes(const char* who, const Sizes& sizes);

// ---- Steps 3 to 5: kernels (lesson.cu), for T = float and double ----

// All pointers are device memory.       query, output: [B, H, T, D]   key, value: [B, G, S, D]   log_sum_exp: [B, H, T]
//   scores[b,h,t,s] = q[b,h,t,:] . k[b,g,s,:] / sqrt(D),  g = h / (H / G);   weights = softmax over the visible s
//   output[b,h,t,:] = sum_s weights[b,h,t,s] v[b,g,s,:];   log_sum_exp = log(sum over the visible s of exp(scores))
// Throws Error where check_sizes does.
template <class T>
void attention_forward(kernels::Cuda device, const Sizes& sizes, const T* query, const T* key, const T* value,
                       T* output, T* log_sum_exp);
// The same with stored scores, three kernels; given, for float.                                   scores: [B, H, T, S]
template <class T>
void attention_plain(kernels::Cuda device, const Sizes& sizes, const T* query, const T* key, const T* value, T* scores,
                     T* output);

// Step 4: how many keys all blocks of one query head read together; what no query of a block sees, it does not read.
Size keys_read(const Sizes& sizes);

// Step 5: the gradients, each the shape of what it is the gradient of. Writes every element. `delta`: workspace for
// sum_d d_output output of each query.                                                               delta: [B, H, T]
template <class T>
void attention_backward(kernels::Cuda device, const Sizes& sizes, const T* query, const T* key, const T* value,
                        const T* output, const T* log_sum_exp, const T* d_output, T* delta, T* d_query, T* d_key,
                        T* d_value);

// ---- Step 6: predictions for your kernels, masks and groups included (lesson.cpp) ----

Size forward_bytes(const Sizes& sizes);
Size backward_bytes(const Sizes& sizes);

}  // namespace headshare::lesson
