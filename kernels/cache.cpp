#include "kernels/cache.h"

#include <algorithm>

#include "kernels/parallel.h"

namespace headshare::kernels {

template <class T, class Stored>
void copy_keys_values(Cpu, Size batch, Size positions, Size heads, Size head_size, HeadsView<const T> key,
                      HeadsView<Stored> key_cache, HeadsView<const T> value, HeadsView<Stored> value_cache,
                      RingPosition place) {
  const auto copy = [&](HeadsView<const T> x, HeadsView<Stored> y) {
    parallel_rows(batch, 2 * positions * heads * head_size, [&](Size b) {
      for (Size position = 0; position < positions; ++position)
        for (Size head = 0; head < heads; ++head) {
          const T* const from = head_at(x, b, position, head);
          Stored* const to = head_at(y, b, place.of(position), head);
          for (Size d = 0; d < head_size; ++d) to[d] = static_cast<Stored>(from[d]);
        }
    });
  };
  copy(key, key_cache);
  copy(value, value_cache);
}

template <class Stored>
void move_rows(Cpu, std::span<const RowMove> moves, Size pieces, Size piece_size, Size used, Stored* x) {
  // The order matters only within a piece: pieces are independent of each other.
  parallel_rows(pieces, static_cast<Size>(moves.size()) * used, [&](Size piece) {
    for (const RowMove& move : moves)
      std::copy_n(x + (move.from * pieces + piece) * piece_size, used, x + (move.to * pieces + piece) * piece_size);
  });
}

template void copy_keys_values(Cpu, Size, Size, Size, Size, HeadsView<const float>, HeadsView<float>,
                               HeadsView<const float>, HeadsView<float>, RingPosition);
template void copy_keys_values(Cpu, Size, Size, Size, Size, HeadsView<const double>, HeadsView<double>,
                               HeadsView<const double>, HeadsView<double>, RingPosition);
template void copy_keys_values(Cpu, Size, Size, Size, Size, HeadsView<const float>, HeadsView<BFloat16>,
                               HeadsView<const float>, HeadsView<BFloat16>, RingPosition);
template void move_rows(Cpu, std::span<const RowMove>, Size, Size, Size, float*);
template void move_rows(Cpu, std::span<const RowMove>, Size, Size, Size, double*);
template void move_rows(Cpu, std::span<const RowMove>, Size, Size, Size, BFloat16*);
template void move_rows(Cpu, std::span<const RowMove>, Size, Size, Size, std::int8_t*);

}  // namespace headshare::kernels
