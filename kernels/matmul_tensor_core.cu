#include <cstring>

#include "kernels/matmul_ladder.h"
#include "kernels/matmul_tile.cuh"

// The ladder's fourth rung. From tile to tile it goes as in the third; only what a warp does with a pair of tiles is
// new. One tensor core instruction (cuda_mma.cuh) takes a 16 x 8 words piece of A and an 8 x 8 words piece of B, where
// a word is one tf32 number or two bfloat16 numbers, consecutive along K.
namespace headshare::kernels {
namespace {

struct Tf32 {
  using Element = float;
  using Word = std::uint32_t;
  static constexpr int elements = 1;
  static __device__ Word read(const float* at, Size, int) { return to_tf32(*at); }
  static __device__ void multiply(float (&d)[4], const Word (&a)[4], const Word (&b)[2]) { mma_tf32(d, a, b); }
};

struct BFloat16Pairs {
  using Element = BFloat16;
  using Word = std::uint32_t;
  static constexpr int elements = 2;
  static __device__ Word read(const BFloat16* at, Size k_stride, int k_left) {
    if (k_stride == 1 && k_left > 1 && reinterpret_cast<std::uintptr_t>(at) % sizeof(Word) == 0) {
      Word both;
      std::memcpy(&both, __builtin_assume_aligned(at, sizeof(Word)), sizeof(Word));
      return both;
    }
    const Word low = at[0].bits, high = k_left > 1 ? at[k_stride].bits : 0;
    return high << 16 | low;
  }
  static __device__ void multiply(float (&d)[4], const Word (&a)[4], const Word (&b)[2]) { mma_bf16(d, a, b); }
};

template <class In>
using FormatOf = std::conditional_t<std::is_same_v<In, float>, Tf32, BFloat16Pairs>;

constexpr int piece_rows = 16, piece_columns = 8, piece_words = 8;  // of one instruction

template <class In, int tile>
constexpr Size tensor_core_bytes = 4 * std::max(4 * TileReader<FormatOf<In>, tile>::size,
                                                product_warps* piece_rows* mma_slice_stride<WarpTile<tile>::columns>);

// Of a multiprocessor, at the same time. Pairs of bfloat16 that have to be put together take a few registers more than
// two large blocks leave them.
template <class In, int tile>
constexpr int tensor_core_blocks = tile == 128 && std::is_same_v<In, BFloat16> ? 1 : 2;

template <class In, int tile, class Out>
__global__ void __launch_bounds__(product_threads, tensor_core_blocks<In, tile>)
    tensor_core_kernel(Product<In, Out> product) {
  using Format = FormatOf<In>;
  using Tile = TileReader<Format, tile>;
  using Word = typename Format::Word;
  constexpr int down = WarpTile<tile>::rows / piece_rows, across = WarpTile<tile>::columns / piece_columns;
  DYNAMIC_SHARED(Word, shared);
  const BlockTile block_tile = tile_of_block(product, tile, tile);
  const WarpTile<tile> warp_tile;
  const int r = threadIdx.x % warp_size / 4, c = threadIdx.x % 4;  // names of cuda_mma.cuh

  float sums[down][across][4] = {};
  for_each_tile<Tile>(product, block_tile, shared, [&](const Word* a_tile, const Word* b_tile) {
    // The instruction sums over its 8 words in whatever order they come, if only A and B agree. So lane 4 r + c does
    // not take words c and c + 4 of line r, but 2 c and 2 c + 1: these are in 32 different banks.
    for (int first = 0; first < Tile::depth; first += piece_words) {
      const Word* const a_words = a_tile + (first + 2 * c) * Tile::stride + warp_tile.row + r;
      const Word* const b_words = b_tile + (first + 2 * c) * Tile::stride + warp_tile.column + r;
      Word a[down][4];
      for (int i = 0; i < down; ++i) {
        a[i][0] = a_words[i * piece_rows];
        a[i][1] = a_words[i * piece_rows + 8];
        a[i][2] = a_words[i * piece_rows + Tile::stride];
        a[i][3] = a_words[i * piece_rows + Tile::stride + 8];
      }
      for (int j = 0; j < across; ++j) {
        const Word b[2] = {b_words[j * piece_columns], b_words[j * piece_columns + Tile::stride]};
        for (int i = 0; i < down; ++i) Format::multiply(sums[i][j], a[i], b);
      }
    }
  });

  __syncthreads();  // nobody needs the tiles any more
  constexpr int columns = WarpTile<tile>::columns, stride = mma_slice_stride<columns>;
  float* const slice = reinterpret_cast<float*>(shared) + threadIdx.x / warp_size * (piece_rows * stride);
  unrolled<down>([&](auto i) {
    store_mma_rows<columns>(sums[i], slice);
    finish_slice<piece_rows, columns, stride>(product, block_tile, warp_tile.row + i * piece_rows, warp_tile.column,
                                              slice);
  });
}

}  // namespace

template <class In, int tile, class Out>
void matmul_tensor_core(Cuda device, const MatmulSizes& sizes, const MatrixView<In>& a, const MatrixView<In>& b, Out* c,
                        const Epilogue<Out>& epilogue) {
  if (const int capability = compute_capability(); capability < 80)
    fail("matmul_tensor_core: this GPU's compute capability is ", capability / 10, ".", capability % 10,
         ", but tensor cores take bfloat16 and tf32 from 8.0 on; use matmul");
  launch_in_parts(device, tensor_core_kernel<In, tile, Out>, {sizes, a, b, c, epilogue},
                  {.rows = tile, .columns = tile, .shared_bytes = tensor_core_bytes<In, tile>});
}

template void matmul_tensor_core<float, 64, float>(Cuda, const MatmulSizes&, const MatrixView<float>&,
                                                   const MatrixView<float>&, float*, const Epilogue<float>&);
template void matmul_tensor_core<float, 128, float>(Cuda, const MatmulSizes&, const MatrixView<float>&,
                                                    const MatrixView<float>&, float*, const Epilogue<float>&);
template void matmul_tensor_core<BFloat16, 64, float>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                                      const MatrixView<BFloat16>&, float*, const Epilogue<float>&);
template void matmul_tensor_core<BFloat16, 128, float>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                                       const MatrixView<BFloat16>&, float*, const Epilogue<float>&);
template void matmul_tensor_core<BFloat16, 64, BFloat16>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                                         const MatrixView<BFloat16>&, BFloat16*,
                                                         const Epilogue<BFloat16>&);
template void matmul_tensor_core<BFloat16, 128, BFloat16>(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&,
                                                          const MatrixView<BFloat16>&, BFloat16*,
                                                          const Epilogue<BFloat16>&);

}  // namespace headshare::kernels
