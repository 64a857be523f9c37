#pragma once

#include <cstdint>

#include "core/size.h"
#include "kernels/cpu.h"
#include "kernels/cuda.h"
#include "kernels/wide.h"

// Softmax and cross-entropy in one: the probabilities of [tokens, V] logits, the largest array of a translation model,
// are never stored. T is float or double; on Cuda also BFloat16, with everything beside the logits in Wide<T>.
// Label smoothing (Szegedy et al. 2016, section 7; Vaswani et al. 2017, 5.4): the target's own share of the truth is
// 1 - smoothing, and `smoothing` is spread evenly over all V classes, the target included.
namespace headshare::kernels {

// With log p_v = x_v - log_sum_exp and log_sum_exp = log sum_v exp(x_v), for every row:
//   nll  = -log p_target
//   loss = (1 - smoothing) nll + smoothing * mean over the V classes of -log p_v
// A row with target < 0 is padding: its loss and nll are 0.   Throws Error when a target is not below `classes`.
//                        logits: [rows, classes]; targets, loss, nll (null: not wanted), log_sum_exp: [rows]
// A class with logit -infinity has probability 0; with smoothing above 0 it makes the loss +infinity. NaN in a row
// makes its loss NaN.
template <class T>
void cross_entropy(Cpu, Size rows, Size classes, const T* logits, const std::int32_t* targets, Wide<T> smoothing,
                   Wide<T>* loss, Wide<T>* nll, Wide<T>* log_sum_exp);
template <class T>
void cross_entropy(Cuda, Size rows, Size classes, const T* logits, const std::int32_t* targets, Wide<T> smoothing,
                   Wide<T>* loss, Wide<T>* nll, Wide<T>* log_sum_exp);

// d_logits_v = d_loss (p_v - (1 - smoothing) [v == target] - smoothing / V); rows of padding get 0, whatever they hold.
// d_logits may be logits: the gradient then takes the place of what is no longer needed.
//                        logits, d_logits: [rows, classes]; targets, log_sum_exp, d_loss: [rows]
template <class T>
void cross_entropy_backward(Cpu, Size rows, Size classes, const T* logits, const std::int32_t* targets,
                            Wide<T> smoothing, const Wide<T>* log_sum_exp, const Wide<T>* d_loss, T* d_logits);
template <class T>
void cross_entropy_backward(Cuda, Size rows, Size classes, const T* logits, const std::int32_t* targets,
                            Wide<T> smoothing, const Wide<T>* log_sum_exp, const Wide<T>* d_loss, T* d_logits);

}  // namespace headshare::kernels
