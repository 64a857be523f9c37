#include "kernels/cache.h"

#include <cstdint>

#include "kernels/warp.cuh"

namespace headshare::kernels {
namespace {

constexpr int threads = 256;

// ---- Copying heads --------------------------------------------------------------------------------------------------

struct HeadCounts {
  Size batch, positions, heads, head_size;
};

// A warp per head: its lanes read and write neighbouring numbers.
template <class T, class Stored>
__global__ void copy_heads_kernel(HeadCounts counts, HeadsView<const T> x, HeadsView<Stored> y, RingPosition place) {
  const Size first = place.first != nullptr ? *place.first : 0;
  const Size all = counts.batch * counts.positions * counts.heads;
  const int lane = threadIdx.x % warp_size;
  for (Size i = global_thread() / warp_size; i < all; i += all_threads() / warp_size) {
    const Size head = i % counts.heads, outer = i / counts.heads;
    const Size position = outer % counts.positions, b = outer / counts.positions;
    const T* const from = x.data + b * x.batch_stride + position * x.position_stride + head * x.head_stride;
    const Size in_ring = (first + position) % place.capacity;
    Stored* const to = y.data + b * y.batch_stride + in_ring * y.position_stride + head * y.head_stride;
    for (Size d = lane; d < counts.head_size; d += warp_size) to[d] = static_cast<Stored>(from[d]);
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
void copy_heads(Cuda device, Size batch, Size positions, Size heads, Size head_size, HeadsView<const T> x,
                HeadsView<Stored> y, RingPosition place) {
  launch(copy_heads_kernel<T, Stored>, loop_blocks(batch * positions * heads * warp_size, threads), threads, 0,
         device.stream, HeadCounts{batch, positions, heads, head_size}, x, y, place);
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

template void copy_heads(Cuda, Size, Size, Size, Size, HeadsView<const float>, HeadsView<float>, RingPosition);
template void copy_heads(Cuda, Size, Size, Size, Size, HeadsView<const double>, HeadsView<double>, RingPosition);
template void copy_heads(Cuda, Size, Size, Size, Size, HeadsView<const float>, HeadsView<BFloat16>, RingPosition);
template void move_rows(Cuda, std::span<const RowMove>, Size, Size, Size, float*);
template void move_rows(Cuda, std::span<const RowMove>, Size, Size, Size, double*);
template void move_rows(Cuda, std::span<const RowMove>, Size, Size, Size, BFloat16*);

}  // namespace headshare::kernels
