#include "lesson.h"

#include <algorithm>
#include <vector>

#include "tutorials/support/step.h"

namespace headshare::lesson {

// [show naive_bytes]
Size bytes_of_naive(const Sizes& sizes, Lanes lanes) {
  // [step 1] Predict the bytes that one thread per element moves, from the sectors that a warp touches for each k.
  // [hint] For one k the 32 lanes read 32 elements of A and 32 of B, some of them the same. In how many sectors?
  // [hint] Down: 32 rows of A, one element of B. Across: one element of A, 32 neighbours of B. At the end: 32 of C.
  // [hint] M N / 32 warps, each with K (sectors of A + sectors of B) + sectors of C, times 32 bytes.
  const Size warps = sizes.m * sizes.n / 32;
  const Size of_a = lanes == Lanes::down ? 32 : 1, of_b = lanes == Lanes::down ? 1 : 4;
  const Size of_c = lanes == Lanes::down ? 32 : 4;
  return warps * (sizes.k * (of_a + of_b) + of_c) * 32;
  // [end]
}
// [end show]

// [show tile_bytes]
Size bytes_of_tiles(const Sizes& sizes, Size tile_rows, Size tile_columns) {
  // [step 2] Predict the bytes that are moved when a block reads its rows of A and its columns of B once.
  // [hint] How many blocks are there, and how many numbers does one of them read?
  // [hint] A block reads tile_rows K numbers of A and K tile_columns of B. And every element of C is written once.
  const Size blocks = sizes.m / tile_rows * (sizes.n / tile_columns);
  const Size read_by_block = sizes.k * (tile_rows + tile_columns);
  return 4 * (blocks * read_by_block + sizes.m * sizes.n);
  // [end]
}
// [end show]

// [show passes]
int passes_of_warp(int stride) {
  // [step 3] Count how many different words the busiest bank has to serve.
  // [hint] Lane l wants word l * stride, which is in bank l * stride % 32.
  // [hint] Count the lanes of each bank; the largest count is the answer. With stride 0 all want one word: one pass.
  if (stride == 0) return 1;
  std::vector<int> words(32, 0);
  for (int lane = 0; lane < 32; ++lane) ++words[static_cast<std::size_t>(lane * stride % 32)];
  return *std::max_element(words.begin(), words.end());
  // [end]
}
// [end show]

// [show shared_loads]
Size loads_of_shared(const Sizes& sizes, int per_thread) {
  // [step 4] Predict how many loads from shared memory all warps make together.
  // [hint] For one k, how many numbers does a thread load, and how many multiply-adds does it make of them?
  // [hint] 2 per_thread loads for per_thread^2 multiply-adds; M N K multiply-adds in all; 32 lanes load at once.
  return sizes.m * sizes.n * sizes.k * 2 / per_thread / 32;
  // [end]
}
// [end show]

}  // namespace headshare::lesson
