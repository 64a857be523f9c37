#pragma once

#include <bit>
#include <cstring>
#include <type_traits>

#include "kernels/attention_tile.h"

// Attention of very few query rows over many keys, as in decoding: one new query per head against a cache. Every key
// and value is used once or twice, so the time is that of reading them from memory. Nothing is copied or transposed,
// and what will be read soon is asked for in time: the processor's own guesses end at every page of 4 KiB.
namespace headshare::kernels::attention_tile {

constexpr Size few_rows_weighed = 8;  // up to here; of few_queries, also the scores

// ---- Numbers of one head, as vectors --------------------------------------------------------------------------------
//
// Vector v of a head is the head's numbers v * lanes .. (v + 1) * lanes - 1. Of narrow numbers, two lie in each 32-bit
// word; taking apart the words of a whole register gives every other number and the rest, so vectors v and v + 1 are
// the even and the odd ones of twice as many. Queries are put into the same order, and outputs back into theirs.

template <class T>
inline Vector<T> load_vector(const T* head, int v) {
  return load(head + v * lanes<T>);
}
inline Vector<float> load_vector(const BFloat16* head, int v) {
  typedef std::uint32_t Words __attribute__((vector_size(vector_bytes)));
  Words words;
  std::memcpy(&words, head + v / 2 * 2 * lanes<float>, sizeof(words));
  return std::bit_cast<Vector<float>>(v % 2 == 0 ? words << 16 : words & 0xffff0000u);
}

// A query in the order of the keys it meets.                                                to: [vectors * lanes]
template <class Stored, int vectors, class T>
inline void order_query(const T* query, T* to) {
  constexpr Size depth = vectors * lanes<T>;
  if constexpr (std::is_same_v<T, Stored>) {
    std::copy_n(query, depth, to);
  } else {
    for (Size d = 0; d < depth; ++d) to[(d / (2 * lanes<T>)*2 + d % 2) * lanes<T> + d % (2 * lanes<T>) / 2] = query[d];
  }
}

// The way back, for the sums over values.
template <class Stored, int vectors, class T>
inline void store_in_order(Vector<T> (&sums)[vectors], T* to) {
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
    if constexpr (std::is_same_v<T, Stored>) {
      store(to + v * lanes<T>, sums[v]);
    } else if (v % 2 == 0) {
      constexpr auto all = std::make_index_sequence<static_cast<std::size_t>(lanes<T>)>{};
      store(to + v * lanes<T>, zip<0, T>(sums[v], sums[v + 1], all));
      store(to + (v + 1) * lanes<T>, zip<lanes<T> / 2, T>(sums[v], sums[v + 1], all));
    }
  }
}

// ---- Scores ---------------------------------------------------------------------------------------------------------

// scores[row, s] = queries[row] . keys[s], D = vectors * lanes: products of whole vectors along D for as many keys as a
// vector has lanes, then all their sums at once. The row of scores is padded to whole vectors with the last key's.
template <int vectors, class T, class Stored>
void score_few_rows(Size rows, const T* queries, const Stored* keys, Size key_stride, Size sources, T* scores,
                    Size width) {
  constexpr Size depth = vectors * lanes<T>;
  alignas(64) T ordered[few_queries * depth];
  for (Size row = 0; row < rows; ++row) order_query<Stored, vectors>(queries + row * depth, ordered + row * depth);
  const auto score_block = [&](Size s, const auto& key_at) {
    for (Size row = 0; row < rows; ++row) {
      Vector<T> query[vectors], products[lanes<T>];
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) query[v] = load(ordered + row * depth + v * lanes<T>);
#pragma GCC unroll 16
      for (Size i = 0; i < lanes<T>; ++i) {
        const Stored* key = key_at(i);
        products[i] = query[0] * load_vector(key, 0);
#pragma GCC unroll 8
        for (int v = 1; v < vectors; ++v) products[i] += query[v] * load_vector(key, v);
      }
      store(scores + row * width + s, sums_of_each<T>(products));
    }
  };
  Size s = 0;
  for (; s + lanes<T> <= sources; s += lanes<T>) {
    const Stored* first = keys + s * key_stride;
    ask_ahead(first, lanes<T> * key_stride * static_cast<Size>(sizeof(Stored)));
    score_block(s, [&](Size i) { return first + i * key_stride; });
  }
  if (s < sources) score_block(s, [&](Size i) { return keys + std::min(s + i, sources - 1) * key_stride; });
}

// ---- Outputs --------------------------------------------------------------------------------------------------------

// outputs[row] = sum_s weights[row, s] values[s] for `rows` rows together. Enough sums run side by side that no
// addition waits for the one before it.
template <int rows, int vectors, class T, class Stored>
void weigh_rows(const T* weights, Size width, const Stored* values, Size value_stride, Size sources, T* outputs) {
  constexpr int chains = rows * vectors >= 8 ? 1 : 8 / (rows * vectors);
  Vector<T> sums[chains][rows][vectors] = {};
  const auto add = [&](int chain, Size s) {
    const Stored* value = values + s * value_stride;
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      const Vector<T> x = load_vector(value, v);
#pragma GCC unroll 8
      for (int row = 0; row < rows; ++row) sums[chain][row][v] += weights[row * width + s] * x;
    }
  };
  Size s = 0;
  for (; s + chains <= sources; s += chains) {
    ask_ahead(values + s * value_stride, chains * value_stride * static_cast<Size>(sizeof(Stored)));
#pragma GCC unroll 8
    for (int chain = 0; chain < chains; ++chain) add(chain, s + chain);
  }
  for (; s < sources; ++s) add(0, s);
#pragma GCC unroll 8
  for (int row = 0; row < rows; ++row) {
#pragma GCC unroll 8
    for (int chain = 1; chain < chains; ++chain)
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sums[0][row][v] += sums[chain][row][v];
    store_in_order<Stored, vectors>(sums[0][row], outputs + row * vectors * lanes<T>);
  }
}

template <int vectors, class T, class Stored>
void weigh_few_rows(Size rows, const T* weights, Size width, const Stored* values, Size value_stride, Size sources,
                    T* outputs) {
  constexpr Size depth = vectors * lanes<T>;
  for (Size row = 0; row < rows;) {
    const auto together = [&]<int count>() {
      weigh_rows<count, vectors>(weights + row * width, width, values, value_stride, sources, outputs + row * depth);
      row += count;
    };
    if (rows - row >= 8 && vectors <= 2)
      together.template operator()<8>();
    else if (rows - row >= 4 && vectors <= 4)
      together.template operator()<4>();
    else if (rows - row >= 2)
      together.template operator()<2>();
    else
      together.template operator()<1>();
  }
}

// Calls work.operator()<vectors>() where a head is 1, 2, 4 or 8 whole vectors; says whether it did.
template <class T, class Stored, class Work>
bool with_vectors(Size depth, const Work& work) {
  if (depth % lanes<T> != 0) return false;
  switch (depth / lanes<T>) {
    case 1:
      if constexpr (std::is_same_v<T, Stored>) work.template operator()<1>();
      return std::is_same_v<T, Stored>;
    case 2:
      work.template operator()<2>();
      return true;
    case 4:
      work.template operator()<4>();
      return true;
    case 8:
      work.template operator()<8>();
      return true;
    default:
      return false;
  }
}

}  // namespace headshare::kernels::attention_tile
