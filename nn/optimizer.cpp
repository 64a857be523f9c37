#include "nn/optimizer.h"

#include <cmath>

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
  std::vector<AdamTensors> all;
  for (const Slot& slot : slots_)
    if (const Tensor gradient = slot.parameter.gradient(); gradient.defined())
      all.push_back({slot.parameter.value(), gradient.contiguous(), slot.mean, slot.variance});
  adam(settings, gradient_scale, all);
  clear_gradients();
}

Tensor Adam::squared_gradient_norm() const {
  std::vector<Tensor> gradients;
  for (const Slot& slot : slots_)
    if (const Tensor gradient = slot.parameter.gradient(); gradient.defined())
      gradients.push_back(gradient.contiguous());
  return squared_norm(gradients, device());
}

double Adam::gradient_norm() const { return std::sqrt(squared_gradient_norm().item()); }

Device Adam::device() const { return slots_.empty() ? default_device() : slots_.front().mean.device(); }

void Adam::clear_gradients() const {
  for (const Slot& slot : slots_) slot.parameter.clear_gradient();
}

}  // namespace headshare
