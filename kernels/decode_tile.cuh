#pragma once

#include <cstdint>

#include "kernels/decode_split.cuh"

// How a warp of decode_attention.cu reads a cache: which lane loads which part of which key or value, and how lanes add
// up what they got.
namespace headshare::kernels::decoding {

// What a lane loads of a key at a time: 16 bytes, of int8 only 8, because a lane sums up each number on its own.
template <class Stored>
using Part = Chunk<Stored, sizeof(Stored) == 1 ? 8 : Chunk<Stored>::size>;

// Who holds what in a warp. A key is read by `lanes` lanes, each a part or several; where that takes fewer than 32
// lanes, the warp reads several keys side by side.
template <class T, class Stored, int depth, int rows>
struct Layout {
  static constexpr int numbers = Part<Stored>::size;
  static constexpr int lanes = depth / numbers < warp_size ? depth / numbers : warp_size;
  static constexpr int chunks = depth / numbers / lanes;  // of a key, per lane
  static constexpr int side_by_side = warp_size / lanes;
  static constexpr int own = chunks * numbers;  // numbers of a key, per lane
  // Keys that a lane asks for before it uses the first; fewer where sums take most of the registers.
  static constexpr int batch = rows * own <= 32 && chunks == 1 && lanes >= 8 ? 8 : 4;
  // That a multiprocessor should hold at least, for enough loads under way: as many as it has registers for, with what
  // a lane needs for its sums, the keys it has asked for, and all else.
  static constexpr int registers = (sizeof(Stored) == 1   ? 120
                                    : sizeof(Stored) == 2 ? 92
                                                          : 60) +
                                   (rows * (own + 2) + batch) * static_cast<int>(sizeof(T)) / 4 +
                                   batch * chunks * static_cast<int>(sizeof(Part<Stored>)) / 4;
  static constexpr int blocks = registers <= 128 ? 4 : registers <= 168 ? 3 : 2;

  // In shared memory, queries and sums lie as the lanes load them, chunk by chunk of 16 bytes: number d of a head.
  static constexpr int wide = Chunk<T>::size;
  __device__ static int place(int d) {
    const int part = d / (lanes * numbers) * (numbers / wide) + d % numbers / wide;
    return (part * lanes + d / numbers % lanes) * wide + d % wide;
  }

  // The weights of one key for all rows lie side by side. An odd number of chunks: no two of eight keys share a bank.
  static constexpr int weight_stride = rows < wide ? rows : (rows / wide | 1) * wide;

  static constexpr int query_numbers = rows * depth;
  static constexpr int weight_numbers = warps * keys_per_step * weight_stride;
  static constexpr int sum_numbers = warps * rows * depth;  // lie over the two above in the end
  static constexpr int larger_part =
      query_numbers + weight_numbers > sum_numbers ? query_numbers + weight_numbers : sum_numbers;
  static constexpr std::size_t shared_bytes = sizeof(T) * (larger_part + 2 * warps * rows);
};

// One key/value head of one sentence, as a warp reads it.
template <class Stored>
struct Source {
  const Stored* data;
  Size stride;
  int end;  // nobody sees the keys from here on
  int head_size;
  enum class Load { numbers, parts } load;  // parts: all of them lie in memory as a lane can load them
  KeyScales scales;                         // of int8; sums of products with a key are multiplied with its scale, once
};

template <class Stored>
__device__ inline Source<Stored> source_of(HeadsView<const Stored> view, const RowTile& tile, int end, int head_size,
                                           typename Source<Stored>::Load load) {
  const Stored* const head = head_at(view, tile.b, 0, tile.g);
  return {head, view.position_stride, end, head_size, load, scales_of(view, head, head_size)};
}

template <class Stored>
typename Source<Stored>::Load load_of(HeadsView<const Stored> view, Size head_size) {
  constexpr Size numbers = Part<Stored>::size;
  const bool aligned = reinterpret_cast<std::uintptr_t>(view.data) % sizeof(Part<Stored>) == 0 &&
                       view.batch_stride % numbers == 0 && view.position_stride % numbers == 0 &&
                       view.head_stride % numbers == 0;
  return aligned && head_size % numbers == 0 ? Source<Stored>::Load::parts : Source<Stored>::Load::numbers;
}

// Loads a batch of keys or values, the first of them `first`; 0 where there is none. Nothing waits in between.
template <class L, class Stored>
__device__ inline void load_batch(const Source<Stored>& source, int first, Part<Stored> (&to)[L::batch][L::chunks]) {
  const int lane = threadIdx.x % warp_size, column = lane % L::lanes * L::numbers;
  first += lane / L::lanes;
  if (source.load == Source<Stored>::Load::parts) {
    for (int i = 0; i < L::batch; ++i)
      for (int c = 0; c < L::chunks; ++c) {
        const int key = first + i * L::side_by_side, d = column + c * L::lanes * L::numbers;
        to[i][c] = {};
        if (key < source.end && d < source.head_size)
          to[i][c] = *reinterpret_cast<const Part<Stored>*>(source.data + key * source.stride + d);
      }
  } else {
    for (int i = 0; i < L::batch; ++i)
      for (int c = 0; c < L::chunks; ++c)
        for (int e = 0; e < L::numbers; ++e) {
          const int key = first + i * L::side_by_side, d = column + c * L::lanes * L::numbers + e;
          to[i][c].values[e] = {};
          if (key < source.end && d < source.head_size) to[i][c].values[e] = source.data[key * source.stride + d];
        }
  }
}

// The sums of n values each over `lanes` neighbouring lanes, in log2(lanes) steps: in each, a lane gives half of its
// values away and gets the other half of its partner's, so that n sums cost n shuffles and few more, not n times log2.
// Value i ends up in the lanes with lane % lanes / (lanes / n) = i.
template <int n, int lanes, class T>
__device__ inline T scattered_sum(T (&values)[n]) {
  static_assert(n <= lanes);
  const int lane = threadIdx.x % warp_size;
  int step = lanes / 2;
  for (int half = n / 2; half > 0; half /= 2, step /= 2) {
    const bool upper = (lane & step) != 0;
    for (int i = 0; i < half; ++i) {
      const T given = upper ? values[i] : values[i + half], kept = upper ? values[i + half] : values[i];
      values[i] = kept + __shfl_xor_sync(all_lanes, given, step);
    }
  }
  for (; step > 0; step /= 2) values[0] += __shfl_xor_sync(all_lanes, values[0], step);
  return values[0];
}

// Rows of a key's weights in shared memory.
template <int rows, class T>
__device__ inline void load_weights(const T* from, T (&to)[rows]) {
  constexpr int wide = rows < Chunk<T>::size ? 1 : Chunk<T>::size;
  for (int row = 0; row < rows; row += wide) {
    if constexpr (wide == 1) {
      to[row] = from[row];
    } else {
      const Chunk<T> chunk = chunk_at(from + row);
      for (int i = 0; i < wide; ++i) to[row + i] = chunk[i];
    }
  }
}

template <int rows, class T>
__device__ inline void store_weights(const T (&from)[rows], T* to) {
  constexpr int wide = rows < Chunk<T>::size ? 1 : Chunk<T>::size;
  for (int row = 0; row < rows; row += wide) {
    if constexpr (wide == 1) {
      to[row] = from[row];
    } else {
      Chunk<T> chunk;
      for (int i = 0; i < wide; ++i) chunk.values[i] = from[row + i];
      *reinterpret_cast<Chunk<T>*>(to + row) = chunk;
    }
  }
}

}  // namespace headshare::kernels::decoding
