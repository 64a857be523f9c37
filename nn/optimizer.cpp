#include "nn/optimizer.h"

#include <cmath>

#include "tensor/reduce.h"

namespace headshare {

void Adam::step(Size step, double learning_rate, double gradient_scale) {
  this->step(step, learning_rate, full({}, gradient_scale, {ElementType::float64, device()}));
}

void Adam::step(Size step, double learning_rate, const Tensor& gradient_scale) {
  const AdamStep settings{.learning_rate = learning_rate,
                          .beta1 = options_.beta1,
                          .beta2 = options_.beta2,
                          .epsilon = options_.epsilon,
                          .weight_decay = options_.weight_decay,
                          .step = step};
  for (const Slot& slot : slots_) {
    const Tensor gradient = slot.parameter.gradient();
    if (gradient.defined())
      adam(settings, gradient_scale, slot.parameter.value(), gradient.contiguous(), slot.mean, slot.variance);
  }
  clear_gradients();
}

Tensor Adam::squared_gradient_norm() const {
  const Tensor squares = zeros({}, {ElementType::float64, device()});
  for (const Slot& slot : slots_)
    if (const Tensor gradient = slot.parameter.gradient(); gradient.defined()) add_sum_of_squares(gradient, squares);
  return squares;
}

double Adam::gradient_norm() const { return std::sqrt(squared_gradient_norm().item()); }

Device Adam::device() const { return slots_.empty() ? default_device() : slots_.front().mean.device(); }

void Adam::clear_gradients() const {
  for (const Slot& slot : slots_) slot.parameter.clear_gradient();
}

}  // namespace headshare
