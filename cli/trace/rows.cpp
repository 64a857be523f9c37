#include "cli/trace/kernels.h"
#include "cli/trace/named_array.h"
#include "kernels/cross_entropy.h"
#include "kernels/layer_norm.h"
#include "kernels/softmax_ladder.h"

// Kernels over the rows of a matrix.                                                                     x: [rows, n]
namespace headshare::trace {
namespace {

using SoftmaxRung = void (*)(kernels::Cuda, Size rows, Size n, const float* x, float* y);

TracedKernel softmax(const std::string& name, const std::string& summary, SoftmaxRung rung) {
  return {name, summary, Sizes({{"rows", 128}, {"n", 256}}), [rung](const Sizes& sizes) {
            const Size rows = sizes["rows"], n = sizes["n"];
            auto x = random_array("x", rows * n);
            NamedArray<float> y("y", rows * n);
            return launches_of([&] { rung(kernels::cuda(), rows, n, x.data(), y.data()); });
          }};
}

constexpr float epsilon = 1e-5f;

struct LayerNorm {
  explicit LayerNorm(const Sizes& sizes) : rows(sizes["rows"]), n(sizes["n"]) {}
  void forward() {
    kernels::layer_norm<float>(kernels::cuda(), rows, n, x.data(), nullptr, gain.data(), bias.data(), epsilon, nullptr,
                               y.data(), mean.data(), reciprocal_deviation.data());
  }
  Size rows, n;
  NamedArray<float> x = random_array("x", rows*n), gain = random_array("gain", n), bias = random_array("bias", n),
                    y{"y", rows*n}, mean{"mean", rows}, reciprocal_deviation{"reciprocal_deviation", rows};
};

Launches layer_norm(const Sizes& sizes) {
  LayerNorm layer(sizes);
  return launches_of([&] { layer.forward(); });
}

Launches layer_norm_backward(const Sizes& sizes) {
  LayerNorm layer(sizes);
  layer.forward();
  auto dy = random_array("dy", layer.rows * layer.n);
  NamedArray<float> dx("dx", layer.rows * layer.n), d_gain("d_gain", layer.n), d_bias("d_bias", layer.n);
  return launches_of([&] {
    kernels::layer_norm_backward<float>(kernels::cuda(), layer.rows, layer.n, dy.data(), layer.x.data(),
                                        layer.gain.data(), layer.mean.data(), layer.reciprocal_deviation.data(),
                                        dx.data(), d_gain.data(), d_bias.data());
  });
}

Launches cross_entropy(const Sizes& sizes) {
  const Size rows = sizes["rows"], classes = sizes["V"];
  auto logits = random_array("logits", rows * classes);
  auto targets = random_below<std::int32_t>("targets", rows, classes);
  NamedArray<float> loss("loss", rows), log_sum_exp("log_sum_exp", rows);
  return launches_of([&] {
    kernels::cross_entropy<float>(kernels::cuda(), rows, classes, logits.data(), targets.data(), 0.1f, loss.data(),
                                  nullptr, log_sum_exp.data());
  });
}

}  // namespace

std::vector<TracedKernel> row_kernels() {
  const Sizes layer({{"rows", 64}, {"n", 256}});
  return {
      softmax("softmax-naive", "Softmax, a thread per row", kernels::softmax_naive<float>),
      softmax("softmax-warp", "... a warp per row", kernels::softmax_warp<float>),
      softmax("softmax-online", "... maximum and sum in one pass", kernels::softmax_online<float>),
      {"layer-norm", "Layer normalization", layer, layer_norm},
      {"layer-norm-backward", "Gradients of layer normalization", layer, layer_norm_backward},
      {"cross-entropy", "Softmax and cross-entropy in one", Sizes({{"rows", 32}, {"V", 1024}}), cross_entropy},
  };
}

}  // namespace headshare::trace
