#pragma once

#include <cstdint>

#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"
#include "kernels/wide.h"

// Rows of a table looked up by token, with the Transformer's scale and position vectors added on the way (Vaswani et
// al. 2017, 3.4 and 3.5). T is float or double; on Cuda also BFloat16: table, d_table and positions are then Wide<T>.
namespace headshare::kernels {

// y[i, :] = scale table[tokens[i], :] + positions[first_position + i % length, :].        i = 0 .. tokens_count - 1
//             tokens: [tokens_count], sentences of `length` tokens one after the other
//             table: [vocabulary, width]; positions: [at least first_position + length, width], null: none
//             y: [tokens_count, width]
// *first_position is above 0 while decoding: the tokens before it are already in the cache. It is a number in the
// device's memory, so that a recorded step (launch_graph.h) can be repeated at the next position; null: 0.
// Throws Error when a token is outside the vocabulary; on a GPU later (indices.h), and that row of y is not written.
template <class T>
void embedding(Cpu, Size tokens_count, Size width, Size vocabulary, const std::int32_t* tokens, const Wide<T>* table,
               Wide<T> scale, const Wide<T>* positions, Size length, const std::int32_t* first_position, T* y);
template <class T>
void embedding(Cuda, Size tokens_count, Size width, Size vocabulary, const std::int32_t* tokens, const Wide<T>* table,
               Wide<T> scale, const Wide<T>* positions, Size length, const std::int32_t* first_position, T* y);

// d_table[v, :] = scale * sum of dy[i, :] over the i with tokens[i] == v; all of d_table is written, zeros where a
// token does not occur. Sums run in the order of i, for any number of threads.
// Throws Error when a token is outside the vocabulary.
//             tokens: [tokens_count]; dy: [tokens_count, width]; d_table: [vocabulary, width]
template <class T>
void embedding_backward(Cpu, Size tokens_count, Size width, Size vocabulary, const std::int32_t* tokens, Wide<T> scale,
                        const T* dy, Wide<T>* d_table);
template <class T>
void embedding_backward(Cuda, Size tokens_count, Size width, Size vocabulary, const std::int32_t* tokens, Wide<T> scale,
                        const T* dy, Wide<T>* d_table);

}  // namespace headshare::kernels
