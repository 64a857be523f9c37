#include "kernels/embedding.h"

#include <algorithm>

#include "kernels/copy.h"
#include "kernels/indices.h"
#include "kernels/parallel.h"

namespace headshare::kernels {

template <class T>
void embedding(Cpu, Size tokens_count, Size width, Size vocabulary, const std::int32_t* tokens, const Wide<T>* table,
               Wide<T> scale, const Wide<T>* positions, Size length, const std::int32_t* first_position, T* y) {
  check_indices(Cpu{}, "embedding", "token", tokens_count, tokens, 0, vocabulary);
  const Size first = first_position == nullptr ? 0 : *first_position;
  parallel_rows(tokens_count, width, [&](Size i) {
    const T* from = table + Size{tokens[i]} * width;
    T* to = y + i * width;
    if (positions) {
      const T* position = positions + (first + i % length) * width;
#pragma omp simd
      for (Size c = 0; c < width; ++c) to[c] = scale * from[c] + position[c];
    } else {
#pragma omp simd
      for (Size c = 0; c < width; ++c) to[c] = scale * from[c];
    }
  });
}

template <class T>
void embedding_backward(Cpu cpu, Size tokens_count, Size width, Size vocabulary, const std::int32_t* tokens,
                        Wide<T> scale, const T* dy, Wide<T>* d_table) {
  check_indices(Cpu{}, "embedding_backward", "token", tokens_count, tokens, 0, vocabulary);
  fill(cpu, vocabulary * width, T(0), d_table);
  // Threads share the columns, not the tokens: two tokens may be the same row of the table.
  constexpr Size block = 64;
  parallel_rows((width + block - 1) / block, tokens_count * std::min(width, block), [&](Size b) {
    const Size first = b * block, last = std::min(width, first + block);
    for (Size i = 0; i < tokens_count; ++i) {
      const T* from = dy + i * width;
      T* to = d_table + Size{tokens[i]} * width;
#pragma omp simd
      for (Size c = first; c < last; ++c) to[c] += scale * from[c];
    }
  });
}

template void embedding(Cpu, Size, Size, Size, const std::int32_t*, const float*, float, const float*, Size,
                        const std::int32_t*, float*);
template void embedding(Cpu, Size, Size, Size, const std::int32_t*, const double*, double, const double*, Size,
                        const std::int32_t*, double*);
template void embedding_backward(Cpu, Size, Size, Size, const std::int32_t*, float, const float*, float*);
template void embedding_backward(Cpu, Size, Size, Size, const std::int32_t*, double, const double*, double*);

}  // namespace headshare::kernels
