#pragma once

#include <bit>
#include <cstdint>

#include "kernels/attention_mma.cuh"
#include "kernels/decode_split.cuh"

// How the cache gets to the tensor cores in decode_tensor_core.cu: from memory to shared memory, from there to
// fragments, and what is done to numbers that are not bfloat16.
namespace headshare::kernels::decoding {

// ---- Numbers for tensor cores ---------------------------------------------------------------------------------------

// Tensor cores multiply bfloat16, eight significant bits. A float is the sum of three such numbers: the products with
// each are added up, and the cache's numbers count with all bits that queries and weights have. Beside int8, which was
// rounded far more, two suffice. Queries that were bfloat16 are one; so could weights be whose sums become bfloat16,
// but with two their roundings stay below that of the output.
template <class T, class Stored>
constexpr int query_parts = std::is_same_v<T, BFloat16> ? 1
                            : sizeof(Stored) == 1       ? 2
                                                        : 3;
template <class T, class Stored>
constexpr int weight_parts = std::is_same_v<T, BFloat16> || sizeof(Stored) == 1 ? 2 : 3;

// Two numbers as sums of pairs of bfloat16: each part is what the parts before left, rounded.
template <int parts>
__device__ inline void split_pair(float low, float high, std::uint32_t (&pairs)[parts]) {
  for (int part = 0; part < parts; ++part) {
    pairs[part] = bfloat16_pair(low, high);
    low -= std::bit_cast<float>(pairs[part] << 16);
    high -= std::bit_cast<float>(pairs[part] & 0xffff0000u);
  }
}

// ---- From the cache to fragments ------------------------------------------------------------------------------------

template <class Stored, int depth>
struct RingTile {
  static constexpr int numbers = static_cast<int>(sizeof(BFloat16) / sizeof(Stored));  // in two bytes
  using Tile = MmaTile<depth / numbers>;  // of two bytes each; int8 lies in them in pairs
  static constexpr int bytes = mma_tile_bytes<keys_per_step, Tile::depth>;
};

// What a warp keeps in shared memory: tiles of 32 keys or 32 values, those of step n in tiles 2n and 2n + 1, which lie
// in a ring of `stages`.
enum class Content { keys, values };

template <class Stored, int depth, int stages>
class Ring {
 public:
  using Tile = typename RingTile<Stored, depth>::Tile;

  // data: of this warp, [stages, 32, depth]. The keys and values of a head are head_at(key, ...) and head_at(value,
  // ...); this warp's are those from `first` on, 32 at a time of keys_of_block, and there are none from `end` on.
  __device__ Ring(unsigned char* data, const Stored* keys, Size key_stride, const Stored* values, Size value_stride,
                  int head_size, int first, int end)
      : data_(data),
        keys_(source_of(keys, key_stride, head_size, first)),
        values_(source_of(values, value_stride, head_size, first)),
        second_column_(place_of(1, head_size) - place_of(0, head_size)),
        last_(end - 1 - first) {
    static_assert(columns <= 2);
    for (int number = 0; number < stages - 1; ++number) number % 2 == 0 ? ask<Content::keys>() : ask<Content::values>();
  }

  // Waits for the keys or values of the next step. The tile before makes room for one more.
  template <Content content>
  __device__ Tile await() {
    wait_for_copies<stages - 2>();
    __syncwarp();  // everybody's copies have arrived, and everybody is done with the tile before
    ask<static_cast<Content>((static_cast<int>(content) + stages - 1) % 2)>();
    return tile();  // behind the one that was just asked for in the ring lies the oldest
  }

 private:
  static constexpr int beside = Tile::period, below = warp_size / beside;  // the pieces that a warp copies at a time
  static constexpr int columns = Tile::pieces / beside;                    // of them, in a row

  // Keys or values still to be asked for. Addresses are most of the work here, so there is one multiplication of 32
  // bits for each.
  struct Source {
    const unsigned char* next;  // this lane's first piece of the next tile's first row
    unsigned stride;            // from a row to the next, in bytes
  };

  // Where this lane's pieces of a row begin; behind the head's last piece, there.
  __device__ static int place_of(int column, int head_size) {
    const int piece = static_cast<int>(threadIdx.x) % beside + column * beside,
              last = head_size / Chunk<Stored>::size - 1;
    return (piece < last ? piece : last) * chunk_bytes;
  }
  __device__ static Source source_of(const Stored* head, Size stride, int head_size, int first) {
    return {reinterpret_cast<const unsigned char*>(head + first * stride) + place_of(0, head_size),
            static_cast<unsigned>(stride) * static_cast<unsigned>(sizeof(Stored))};
  }

  // Asks for the next tile, keys and values in turn, if there is one. Each call makes one group of copies. Behind the
  // last key and the last piece of a head it repeats those: what is multiplied with them is 0, and to copy less would
  // take more instructions.
  template <Content content>
  __device__ void ask() {
    if (last_ >= 0) {
      Source& source = content == Content::keys ? keys_ : values_;
      for (int i = 0; i < keys_per_step / below; ++i) {
        const int row = static_cast<int>(threadIdx.x) % warp_size / beside + i * below;
        const Size offset = Size{source.stride} * static_cast<unsigned>(row < last_ ? row : last_);
        BFloat16* const to = tile().piece(row, threadIdx.x % beside);
        copy_async(to, source.next + offset);
        if constexpr (columns == 2) copy_async(to + beside * piece_numbers, source.next + offset + second_column_);
      }
      source.next += Size{source.stride} * keys_of_block;
      if (content == Content::values) last_ -= keys_of_block;
    }
    close_copy_group();
    constexpr int bytes = RingTile<Stored, depth>::bytes;
    place_ = place_ + bytes < stages * bytes ? place_ + bytes : 0;
  }

  __device__ Tile tile() const { return {reinterpret_cast<BFloat16*>(data_ + place_)}; }

  unsigned char* data_;
  int place_ = 0;  // in the ring
  Source keys_, values_;
  int second_column_;  // from a lane's first piece of a row to its second, in bytes
  int last_;           // the last row to copy, counted from the next tile's first; negative: none
};

// What products with keys, and weights of values, are multiplied with: in an int8 cache also the scales, of each step
// one for each lane, loaded a step ahead.
template <class Stored>
class Factors {
 public:
  // keys, values: of a head; first, end: this warp's, as above.
  __device__ Factors(const KeyScales& keys, const KeyScales& values, int first, int end) {
    if constexpr (sizeof(Stored) == 1) {
      const int own = first + static_cast<int>(threadIdx.x) % warp_size;
      next_key_ = keys.first + own * keys.stride, key_stride_ = static_cast<int>(keys.stride);
      next_value_ = values.first + own * values.stride, value_stride_ = static_cast<int>(values.stride);
      left_ = end - own;
      load();
    }
  }

  // Those of keys 8 i + r of the next step, for lanes 4 r + c; those of keys times `scale`.
  __device__ void take(float scale, float (&of_keys)[4], float (&of_values)[4]) {
    const int r = threadIdx.x % warp_size / 4;
    for (int i = 0; i < 4; ++i) {
      of_keys[i] = scale, of_values[i] = 1;
      if constexpr (sizeof(Stored) == 1) {
        of_keys[i] *= __shfl_sync(all_lanes, key_, 8 * i + r);
        of_values[i] = __shfl_sync(all_lanes, value_, 8 * i + r);
      }
    }
    if constexpr (sizeof(Stored) == 1) load();
  }

 private:
  __device__ void load() {
    key_ = value_ = 0;  // where there is no key, whose weight is 0 too
    if (left_ > 0) key_ = *next_key_, value_ = *next_value_;
    next_key_ += Size{key_stride_} * keys_of_block;
    next_value_ += Size{value_stride_} * keys_of_block;
    left_ -= keys_of_block;
  }

  float key_ = 0, value_ = 0;
  const float *next_key_ = nullptr, *next_value_ = nullptr;
  int key_stride_ = 0, value_stride_ = 0, left_ = 0;
};

// ---- From shared memory to fragments --------------------------------------------------------------------------------

// The left sides of two products. Of an int8 cache, what load_matrices takes for a number is a pair of them, so that
// fragments come with the numbers of a pair in different places; which ones is said below.
struct TwoFragments {
  LeftFragment left[2];
};

// Keys 16 m ... 16 m + 15, columns 32 k ... 32 k + 31.
template <class Stored, class Tile>
__device__ inline TwoFragments keys_of(Tile tile, int m, int k) {
  if constexpr (sizeof(Stored) == 2) {
    return {{left_of(tile, 16 * m, 32 * k), left_of(tile, 16 * m, 32 * k + 16)}};
  } else {
    TwoFragments f;
    const LeftFragment bytes = left_of(tile, 16 * m, 16 * k);
    for (int i = 0; i < 4; ++i) {
      f.left[i / 2].words[i % 2] = bfloat16_of_even_bytes(bytes.words[i]);
      f.left[i / 2].words[i % 2 + 2] = bfloat16_of_even_bytes(bytes.words[i] >> 8);
    }
    return f;
  }
}

// The number of a head in column `column` of the fragments of keys.
template <class Stored>
__device__ inline int number_in_column(int column) {
  if (sizeof(Stored) == 2) return column;
  const int in_square = column % 16;  // bytes 4c, 4c + 2 in columns 2c, 2c + 1; bytes 4c + 1, 4c + 3 in 2c + 8, 2c + 9
  return column - in_square + in_square % 8 / 2 * 4 + in_square % 2 * 2 + in_square / 8;
}

// Values 16 m ... 16 m + 15 transposed: columns 32 k ... 32 k + 31 become rows.
template <class Stored, class Tile>
__device__ inline TwoFragments values_of(Tile tile, int m, int k) {
  if constexpr (sizeof(Stored) == 2) {
    return {{left_of_transposed(tile, 16 * m, 32 * k), left_of_transposed(tile, 16 * m, 32 * k + 16)}};
  } else {
    TwoFragments f;
    const int lane = threadIdx.x % warp_size;
    std::uint32_t words[4];  // of eight values 16 columns, the next eight; of both the next 16 columns
    load_matrices_transposed(words, tile.piece(16 * m + lane % 16, 2 * k + lane / 16));
    for (int i = 0; i < 4; ++i) {
      f.left[i / 2].words[i % 2 * 2] = bfloat16_of_even_bytes(words[i]);
      f.left[i / 2].words[i % 2 * 2 + 1] = bfloat16_of_even_bytes(words[i] >> 8);
    }
    return f;
  }
}

// The number of a head in row `row` of the fragments of values.
template <class Stored>
__device__ inline int number_in_row(int row) {
  if (sizeof(Stored) == 2) return row;
  const int in_square = row % 16;  // bytes 2r in row r, bytes 2r + 1 in row r + 8
  return row - in_square + in_square % 8 * 2 + in_square / 8;
}

}  // namespace headshare::kernels::decoding
