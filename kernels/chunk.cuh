#pragma once

#include <bit>
#include <type_traits>

#include "kernels/warp.cuh"
#include "kernels/wide.h"

// A lane moves up to 16 bytes with one instruction. Kernels that do little but move memory have to: at two or four
// bytes a lane, a GPU runs out of instructions and of places for requests under way before it runs out of bandwidth.
namespace headshare::kernels {

constexpr int chunk_bytes = 16;

// Numbers that lie next to each other; by default the 16 bytes of one instruction: two doubles, four floats or eight
// bfloat16. Of more than that, in registers, each 16 bytes are an instruction of their own.
template <class T, int count = chunk_bytes / static_cast<int>(sizeof(T))>
struct alignas(count * sizeof(T) < chunk_bytes ? count * sizeof(T) : chunk_bytes) Chunk {
  static constexpr int size = count;
  T values[count];

  __device__ T operator[](int i) const { return values[i]; }
  __device__ T& operator[](int i) { return values[i]; }
};

template <class T>
__device__ inline Chunk<T> chunk_at(const T* aligned) {
  return *reinterpret_cast<const Chunk<T>*>(aligned);
}

// How many numbers of type T one instruction moves when `count` are wanted.
template <int count, class T>
constexpr int piece_of = count < Chunk<T>::size ? count : Chunk<T>::size;

// `count` numbers, in the type of computation. `from` lies on whole count * sizeof(T) bytes; 16 suffice.
template <int count, class T>
__device__ inline Chunk<Wide<T>, count> load_chunk(const T* from) {
  constexpr int piece = piece_of<count, T>;
  Chunk<Wide<T>, count> x;
  for (int first = 0; first < count; first += piece) {
    const auto part = *reinterpret_cast<const Chunk<T, piece>*>(from + first);
    if constexpr (std::is_same_v<T, BFloat16> && piece > 1) {
      const auto pairs = std::bit_cast<Chunk<std::uint32_t, piece / 2>>(part);
      for (int i = 0; i < piece; ++i)  // the upper half of a float; in two instructions per pair, not in four
        x[first + i] = std::bit_cast<float>(i % 2 == 0 ? pairs[i / 2] << 16 : pairs[i / 2] & 0xffff0000u);
    } else {
      for (int i = 0; i < piece; ++i) x[first + i] = static_cast<Wide<T>>(part[i]);
    }
  }
  return x;
}

// The way back: rounded where T is narrower. `to` as `from` above.
template <int count, class T>
__device__ inline void store_chunk(const Chunk<Wide<T>, count>& x, T* to) {
  constexpr int piece = piece_of<count, T>;
  for (int first = 0; first < count; first += piece) {
    Chunk<T, piece> part;
    if constexpr (std::is_same_v<T, BFloat16> && piece > 1) {
      Chunk<std::uint32_t, piece / 2> pairs;  // the GPU has an instruction that rounds two at a time
      for (int i = 0; i < piece; i += 2) pairs[i / 2] = bfloat16_pair(x[first + i], x[first + i + 1]);
      part = std::bit_cast<Chunk<T, piece>>(pairs);
    } else {
      for (int i = 0; i < piece; ++i) part[i] = static_cast<T>(x[first + i]);
    }
    *reinterpret_cast<Chunk<T, piece>*>(to + first) = part;
  }
}

// ---- Loops ----------------------------------------------------------------------------------------------------------

// As many as 16 bytes hold of the widest of the types, so that no lane skips over what its neighbours read.
template <class... T>
constexpr int width_of = [] {
  std::size_t widest = 1;
  ((widest = sizeof(T) > widest ? sizeof(T) : widest), ...);
  return chunk_bytes / static_cast<int>(widest);
}();

// Elements 0 .. n - 1 of one or more arrays. From `first` on chunks of `width` elements begin on whole chunks in all
// arrays; the elements before, and those behind the last whole chunk, are taken one at a time.
template <int width>
struct Chunks {
  Size n, first;

  // Calls body(i, count) for elements i .. i + count - 1, count a std::integral_constant, `width` or 1. Member `member`
  // of `members` gets its share; each element belongs to one of them, whatever body does with it.
  template <class Body>
  __device__ void for_each(Size member, Size members, Body body) const {
    for (Size i = first + member * width; i + width <= n; i += members * width)
      body(i, std::integral_constant<int, width>{});
    const Size whole = (n - first) / width * width, single = n - whole;
    for (Size i = member; i < single; i += members) body(i < first ? i : whole + i, std::integral_constant<int, 1>{});
  }
};

// For arrays that lie differently between two borders of chunks there is none that suits all: `first` is then n.
template <class... T>
__device__ inline Chunks<width_of<T...>> chunks_of(Size n, const T*... arrays) {
  constexpr std::uintptr_t width = width_of<T...>;
  const std::uintptr_t behind[] = {reinterpret_cast<std::uintptr_t>(arrays) / sizeof(T) % width...};
  const Size first = static_cast<Size>((width - behind[0]) % width);
  bool alike = first < n;
  for (const std::uintptr_t of_array : behind) alike = alike && of_array == behind[0];
  return {n, alike ? first : n};
}

// Blocks of `threads` threads for such a loop: a thread per chunk.
template <class... T>
constexpr unsigned chunk_blocks(Size n, int threads) {
  return loop_blocks((n + width_of<T...> - 1) / width_of<T...>, threads);
}

// For the host: may kernels take rows of n elements, one after the other, in chunks of `width`? null: an operand that
// is not there.
template <int width, class... T>
bool in_chunks(Size n, const T*... arrays) {
  const auto begins_chunk = [](const auto* array) {
    constexpr std::uintptr_t bytes = width * sizeof *array;
    return reinterpret_cast<std::uintptr_t>(array) % (bytes < chunk_bytes ? bytes : chunk_bytes) == 0;
  };
  return n % width == 0 && (begins_chunk(arrays) && ...);
}

}  // namespace headshare::kernels
