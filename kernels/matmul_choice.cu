#include "core/error.h"
#include "kernels/device_memory.h"
#include "kernels/matmul_ladder.h"
#include "kernels/matmul_tile.cuh"

// Which rung multiplies what, where factors may be rounded: the products of bfloat16 numbers, and those of float32
// numbers that the tensor cores see as tf32. (matmul.cu chooses for float32 and float64.)
namespace headshare::kernels {
namespace {

// Blocks of 128 x 128 below which a GPU is better occupied by smaller ones.
constexpr Size enough_tiles = 64;

Size tiles_of(const MatmulSizes& sizes) { return blocks_of(sizes, {.rows = 128, .columns = 128}); }

// Hopper's rung cuts a deep K into parts, each for a block of its own. Up to 64 rows would leave half of each of its
// tiles empty.
bool pays_on_hopper(const MatmulSizes& sizes) {
  const Size tiles = tiles_of(sizes);
  return sizes.m > 64 && tiles * hopper_parts(tiles, sizes.k) >= enough_tiles;
}

void require_tensor_cores(const char* who, const char* type) {
  if (const int capability = compute_capability(); capability < 80)
    fail(who, ": this GPU's compute capability is ", capability / 10, ".", capability % 10, ", but tensor cores take ",
         type, " from 8.0 on; use float32");
}

}  // namespace

template <class Out>
void matmul_bf16(Cuda device, const MatmulSizes& sizes, const MatrixView<BFloat16>& a, const MatrixView<BFloat16>& b,
                 Out* c, const Epilogue<Out>& epilogue) {
  require_tensor_cores("matmul_bf16", "bfloat16");
  if (sizes.m <= most_few_rows_bf16)
    matmul_few_rows_bf16(device, sizes, a, b, c, epilogue);
  else if (!is_on_16_bytes(a) || !is_on_16_bytes(b))
    tiles_of(sizes) < 2 * enough_tiles ? matmul_tensor_core<BFloat16, 64>(device, sizes, a, b, c, epilogue)
                                       : matmul_tensor_core<BFloat16, 128>(device, sizes, a, b, c, epilogue);
  else if (compute_capability() == 90 && pays_on_hopper(sizes))
    matmul_hopper(device, sizes, a, b, c, epilogue);
  else
    matmul_pipelined(device, sizes, a, b, c, epilogue);
}

void matmul_tf32(Cuda device, const MatmulSizes& sizes, const MatrixView<float>& a, const MatrixView<float>& b,
                 float* c, const Epilogue<float>& epilogue) {
  if (sizes.m <= most_few_rows) return matmul_few_rows(device, sizes, a, b, c, epilogue);  // rounds nothing
  require_tensor_cores("matmul_tf32", "tf32");
  if (tiles_of(sizes) < 2 * enough_tiles)
    matmul_tensor_core<float, 64>(device, sizes, a, b, c, epilogue);
  else
    matmul_tensor_core<float, 128>(device, sizes, a, b, c, epilogue);
}

template void matmul_bf16(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&, const MatrixView<BFloat16>&, BFloat16*,
                          const Epilogue<BFloat16>&);
template void matmul_bf16(Cuda, const MatmulSizes&, const MatrixView<BFloat16>&, const MatrixView<BFloat16>&, float*,
                          const Epilogue<float>&);

}  // namespace headshare::kernels
