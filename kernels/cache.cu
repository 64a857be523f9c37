#include "kernels/cache.h"

#include <cmath>
#include <cstdint>

#include "kernels/warp.cuh"

namespace headshare::kernels {
namespace {

constexpr int threads = 256;

// ---- Copying heads --------------------------------------------------------------------------------------------------

struct HeadCounts {
  Size batch, positions, heads, head_size;
};

// Keys and values.
template <class T, class Stored>
struct HeadCopies {
  HeadsView<const T> from[2];
  HeadsView<Stored> to[2];
};

// The numbers of one head, copied by a warp: its lanes read and write neighbouring numbers.
template <class T, class Stored>
__device__ inline void copy_head(const T* from, Size head_size, Stored* to, float*) {
  for (Size d = threadIdx.x % warp_size; d < head_size; d += warp_size) to[d] = static_cast<Stored>(from[d]);
}

template <class T>
__device__ inline void copy_head(const T* from, Size head_size, std::int8_t* to, float* scale) {
  constexpr float most = 127;
  const int lane = threadIdx.x % warp_size;
  float largest = 0;
  for (Size d = lane; d < head_size; d += warp_size) largest = larger(largest, std::abs(static_cast<float>(from[d])));
  const float step = warp_max(largest) / most;
  if (lane == 0) *scale = step;
  for (Size d = lane; d < head_size; d += warp_size) {
    const float steps = std::rint(static_cast<float>(from[d]) / step);
    // A comparison with NaN is false: 0 / 0 of a vector of zeros becomes 0. The bound: a step that is hardly above
    // the smallest number there is has lost digits.
    to[d] = static_cast<std::int8_t>(steps >= most ? most : steps > -most ? steps : steps <= -most ? -most : 0);
  }
}

// A warp per head. blockIdx.y: keys or values.
template <class T, class Stored>
__global__ void copy_heads_kernel(HeadCounts counts, HeadCopies<T, Stored> copies, RingPosition place) {
  const HeadsView<const T>& x = copies.from[blockIdx.y];
  const HeadsView<Stored>& y = copies.to[blockIdx.y];
  const Size all = counts.batch * counts.positions * counts.heads;
  for (Size i = global_thread() / warp_size; i < all; i += all_threads() / warp_size) {
    const Size head = i % counts.heads, outer = i / counts.heads;
    const Size position = outer % counts.positions, b = outer / counts.positions;
    Stored* const to = head_at(y, b, place.of(position), head);
    copy_head(head_at(x, b, position, head), counts.head_size, to,
              y.scales != nullptr ? y.scales + (to - y.data) / counts.head_size : nullptr);
  }
}

// ---- Moving rows ----------------------------------------------------------------------------------------------------

// Moves that may happen side by side; they travel with the launch, so that nothing waits for a copy of them.
struct MoveList {
  static constexpr int most = 64;
  int count = 0;
  RowMove moves[most];
};

// No row of the list is read and written, or written twice.
bool independent(const MoveList& list, const RowMove& move) {
  for (int i = 0; i < list.count; ++i) {
    const RowMove& other = list.moves[i];
    if (move.from == other.to || move.to == other.from || move.to == other.to) return false;
  }
  return true;
}

// A block copies one slice of one piece of one row. Word: what a thread copies at a time.
template <class Word>
__global__ void move_rows_kernel(MoveList list, Size pieces, Size piece_size, Size used, unsigned slices, Word* x) {
  const RowMove move = list.moves[blockIdx.y];
  const Size piece = blockIdx.x / slices;
  const Word* const from = x + (move.from * pieces + piece) * piece_size;
  Word* const to = x + (move.to * pieces + piece) * piece_size;
  for (Size i = Size{blockIdx.x % slices} * blockDim.x + threadIdx.x; i < used; i += Size{slices} * blockDim.x)
    to[i] = from[i];
}

template <class Word>
void move_in_words(Cuda device, std::span<const RowMove> moves, Size pieces, Size piece_size, Size used, Word* x) {
  constexpr Size words_per_thread = 4;
  const unsigned slices = groups_of(used, threads * words_per_thread);
  MoveList list;
  const auto run = [&] {
    launch(move_rows_kernel<Word>, dim3(static_cast<unsigned>(pieces) * slices, static_cast<unsigned>(list.count)),
           threads, 0, device.stream, list, pieces, piece_size, used, slices, x);
    list.count = 0;
  };
  for (const RowMove& move : moves) {
    if (move.from == move.to) continue;
    if (list.count == MoveList::most || !independent(list, move)) run();
    list.moves[list.count++] = move;
  }
  run();
}

}  // namespace

template <class T, class Stored>
void copy_keys_values(Cuda device, Size batch, Size positions, Size heads, Size head_size, HeadsView<const T> key,
                      HeadsView<Stored> key_cache, HeadsView<const T> value, HeadsView<Stored> value_cache,
                      RingPosition place) {
  const unsigned blocks = loop_blocks(batch * positions * heads * warp_size, threads);
  launch(copy_heads_kernel<T, Stored>, dim3(blocks, 2), threads, 0, device.stream,
         HeadCounts{batch, positions, heads, head_size}, HeadCopies<T, Stored>{{key, value}, {key_cache, value_cache}},
         place);
}

template <class Stored>
void move_rows(Cuda device, std::span<const RowMove> moves, Size pieces, Size piece_size, Size used, Stored* x) {
  // Sixteen bytes at a time where every piece starts and ends on such a word: far fewer instructions.
  constexpr Size numbers = sizeof(uint4) / sizeof(Stored);
  const bool whole_words =
      reinterpret_cast<std::uintptr_t>(x) % sizeof(uint4) == 0 && piece_size % numbers == 0 && used % numbers == 0;
  if (whole_words)
    move_in_words(device, moves, pieces, piece_size / numbers, used / numbers, reinterpret_cast<uint4*>(x));
  else
    move_in_words(device, moves, pieces, piece_size, used, x);
}

template void copy_keys_values(Cuda, Size, Size, Size, Size, HeadsView<const float>, HeadsView<float>,
                               HeadsView<const float>, HeadsView<float>, RingPosition);
template void copy_keys_values(Cuda, Size, Size, Size, Size, HeadsView<const double>, HeadsView<double>,
                               HeadsView<const double>, HeadsView<double>, RingPosition);
template void copy_keys_values(Cuda, Size, Size, Size, Size, HeadsView<const float>, HeadsView<BFloat16>,
                               HeadsView<const float>, HeadsView<BFloat16>, RingPosition);
template void copy_keys_values(Cuda, Size, Size, Size, Size, HeadsView<const BFloat16>, HeadsView<BFloat16>,
                               HeadsView<const BFloat16>, HeadsView<BFloat16>, RingPosition);
template void copy_keys_values(Cuda, Size, Size, Size, Size, HeadsView<const float>, HeadsView<std::int8_t>,
                               HeadsView<const float>, HeadsView<std::int8_t>, RingPosition);
template void copy_keys_values(Cuda, Size, Size, Size, Size, HeadsView<const BFloat16>, HeadsView<std::int8_t>,
                               HeadsView<const BFloat16>, HeadsView<std::int8_t>, RingPosition);
template void move_rows(Cuda, std::span<const RowMove>, Size, Size, Size, float*);
template void move_rows(Cuda, std::span<const RowMove>, Size, Size, Size, double*);
template void move_rows(Cuda, std::span<const RowMove>, Size, Size, Size, BFloat16*);
template void move_rows(Cuda, std::span<const RowMove>, Size, Size, Size, std::int8_t*);

}  // namespace headshare::kernels
