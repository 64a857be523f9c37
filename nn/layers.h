#pragma once

#include "autograd/functions.h"
#include "nn/parameter.h"

namespace headshare {

// y = activation(x weight + bias)                        x: [..., in]   weight: [in, out]   bias: [out]   y: [..., out]
struct Linear {
  Parameter weight;
  Parameter bias;

  Linear(Size in, Size out, Generator& generator, TensorOptions options);
  Variable operator()(const Variable& x, Activation activation = Activation::none) const;
  void visit(const std::string& prefix, const ParameterVisitor& visitor) const;
};

constexpr double layer_norm_epsilon = 1e-5;

// Layer normalisation over the last dimension (Ba, Kiros, Hinton 2016).                                  x, y: [..., C]
struct LayerNormalization {
  Parameter gain;
  Parameter bias;

  LayerNormalization(Size width, TensorOptions options);
  Variable operator()(const Variable& x) const;
  Variable operator()(const Variable& x, const Variable& residual) const;  // of x + residual, in one pass over memory
  void visit(const std::string& prefix, const ParameterVisitor& visitor) const;
};

// Two linear layers with an activation between them, for each position alone.                            x, y: [..., C]
struct FeedForward {
  Linear inner;  // [C, F]
  Linear outer;  // [F, C]
  Activation activation;

  FeedForward(Size d_model, Size d_ff, Activation activation, Generator& generator, TensorOptions options);
  Variable operator()(const Variable& x) const;
  void visit(const std::string& prefix, const ParameterVisitor& visitor) const;
};

// Dropout for one forward pass. Every use draws from its own counter ("site"), so the masks depend on the seed, the
// training step and the place in the model, and on nothing else: not on threads, devices, or whether the run was
// resumed.
class Dropout {
 public:
  static Dropout none() { return Dropout(0, 0, 0); }  // validation, decoding
  Dropout(double probability, std::uint64_t seed, std::uint64_t step)
      : probability_(probability), seed_(seed), site_(step * sites_per_step) {}

  Variable operator()(const Variable& x) { return dropout(x, {probability_, seed_, site_++}); }

 private:
  static constexpr std::uint64_t sites_per_step = 1u << 16;
  double probability_;
  std::uint64_t seed_;
  std::uint64_t site_;
};

// Positions as sines and cosines of geometrically growing wavelengths (Vaswani et al. 2017, 3.5).   result: [length, C]
//   position p, channel 2i: sin(p / 10000^(2i/C)), channel 2i + 1: cos of the same
Tensor sinusoidal_positions(Size length, Size d_model, TensorOptions options);

}  // namespace headshare
