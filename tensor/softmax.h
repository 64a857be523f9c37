#pragma once

#include "tensor/tensor.h"

namespace headshare {

// y = softmax(x) over the last dimension; -infinity allowed.                                        x, y: [..., n]
Tensor softmax(const Tensor& x);
Tensor softmax_backward(const Tensor& dy, const Tensor& y);  // y_i (dy_i - sum_j y_j dy_j)
Tensor log_softmax(const Tensor& x);
Tensor log_softmax_backward(const Tensor& dy, const Tensor& y);  // dy_i - exp(y_i) sum_j dy_j

// Cross-entropy with label smoothing (Szegedy et al. 2016), fused with the softmax: no matrix of probabilities is kept.
//   loss = -(1 - smoothing) log p[target] - smoothing mean_v log p[v],  nll = -log p[target]
// A target below 0 is padding: loss, nll and gradient 0. The results are of wide(type of the logits).
//                                                                    logits: [N, V]   targets: int32 [N]   results: [N]
struct CrossEntropy {
  Tensor loss;
  Tensor nll;
  Tensor log_sum_exp;
};
CrossEntropy cross_entropy(const Tensor& logits, const Tensor& targets, double smoothing);
// d_loss: [N]   result: [N, V], in the memory of the logits where they were moved here and nobody else holds them: they
// are the largest tensor of a training step.
Tensor cross_entropy_backward(const Tensor& d_loss, Tensor logits, const Tensor& targets, double smoothing,
                              const Tensor& log_sum_exp);

}  // namespace headshare
