#include "nn/optimizer.h"

#include <cmath>

#include "tensor/reduce.h"

namespace headshare {

void Adam::step(Size step, double learning_rate, double gradient_scale) {
  const AdamStep settings{.learning_rate = learning_rate,
                          .beta1 = options_.beta1,
                          .beta2 = options_.beta2,
                          .epsilon = options_.epsilon,
                          .weight_decay = options_.weight_decay,
                          .gradient_scale = gradient_scale,
                          .step = step};
  for (const Slot& slot : slots_) {
    const Tensor gradient = slot.parameter.gradient();
    if (gradient.defined()) adam(settings, slot.parameter.value(), gradient.contiguous(), slot.mean, slot.variance);
  }
  clear_gradients();
}

double Adam::gradient_norm() const {
  double squares = 0;
  for (const Slot& slot : slots_)
    if (const Tensor gradient = slot.parameter.gradient(); gradient.defined()) squares += sum_of_squares(gradient);
  return std::sqrt(squares);
}

void Adam::clear_gradients() const {
  for (const Slot& slot : slots_) slot.parameter.clear_gradient();
}

}  // namespace headshare
