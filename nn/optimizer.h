#pragma once

#include <string>
#include <vector>

#include "nn/parameter.h"
#include "tensor/adam.h"

namespace headshare {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.98;
  double epsilon = 1e-9;
  double weight_decay = 0;  // decoupled (AdamW, Loshchilov and Hutter 2019); 0 is plain Adam
};

// Adam over all parameters that a model visits (Kingma, Ba 2015).
class Adam {
 public:
  struct Slot {
    std::string name;
    Variable parameter;
    Tensor mean;      // first moment
    Tensor variance;  // second moment
  };

  template <class Model>
  Adam(const Model& model, AdamOptions options) : options_(options) {
    model.visit([&](const std::string& name, const Parameter& parameter) {
      slots_.push_back({name, parameter, zeros(parameter.shape(), parameter.value().options()),
                        zeros(parameter.shape(), parameter.value().options())});
    });
  }

  // One update from the gradients times gradient_scale (one float64 on their device; NaN: no update), then clears them.
  // A parameter without a gradient stays. `step` counts from 1.
  void step(Size step, double learning_rate, const Tensor& gradient_scale);
  void step(Size step, double learning_rate, double gradient_scale);

  Tensor squared_gradient_norm() const;  // over all parameters together: one float64 on their device
  double gradient_norm() const;          // waits for the device
  void clear_gradients() const;
  const std::vector<Slot>& slots() const { return slots_; }

 private:
  Device device() const;

  AdamOptions options_;
  std::vector<Slot> slots_;
};

}  // namespace headshare
