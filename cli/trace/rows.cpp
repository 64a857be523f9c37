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

template <class T>
struct LayerNorm {
  using W = kernels::Wide<T>;
  explicit LayerNorm(const Sizes& sizes) : rows(sizes["rows"]), n(sizes["n"]) {}
  void forward() {
    kernels::layer_norm<T>(kernels::cuda(), rows, n, x.data(), nullptr, gain.data(), bias.data(), epsilon, nullptr,
                           y.data(), mean.data(), reciprocal_deviation.data());
  }
  Size rows, n;
  NamedArray<T> x = random_array<T>("x", rows*n), y{"y", rows*n};
  NamedArray<W> gain = random_array<W>("gain", n), bias = random_array<W>("bias", n), mean{"mean", rows},
                reciprocal_deviation{"reciprocal_deviation", rows};
};

template <class T>
Launches layer_norm(const Sizes& sizes) {
  LayerNorm<T> layer(sizes);
  return launches_of([&] { layer.forward(); });
}

template <class T>
Launches layer_norm_backward(const Sizes& sizes) {
  LayerNorm<T> layer(sizes);
  layer.forward();
  auto dy = random_array<T>("dy", layer.rows * layer.n);
  NamedArray<T> dx("dx", layer.rows * layer.n);
  NamedArray<kernels::Wide<T>> d_gain("d_gain", layer.n), d_bias("d_bias", layer.n);
  return launches_of([&] {
    kernels::layer_norm_backward<T>(kernels::cuda(), layer.rows, layer.n, dy.data(), layer.x.data(), layer.gain.data(),
                                    layer.mean.data(), layer.reciprocal_deviation.data(), dx.data(), d_gain.data(),
                                    d_bias.data());
  });
}

constexpr float smoothing = 0.1f;

template <class T>
struct CrossEntropy {
  using W = kernels::Wide<T>;
  explicit CrossEntropy(const Sizes& sizes) : rows(sizes["rows"]), classes(sizes["V"]) {}
  void forward() {
    kernels::cross_entropy<T>(kernels::cuda(), rows, classes, logits.data(), targets.data(), smoothing, loss.data(),
                              nullptr, log_sum_exp.data());
  }
  Size rows, classes;
  NamedArray<T> logits = random_array<T>("logits", rows* classes);
  NamedArray<std::int32_t> targets = random_below<std::int32_t>("targets", rows, classes);
  NamedArray<W> loss{"loss", rows}, log_sum_exp{"log_sum_exp", rows};
};

template <class T>
Launches cross_entropy(const Sizes& sizes) {
  CrossEntropy<T> of(sizes);
  return launches_of([&] { of.forward(); });
}

template <class T>
Launches cross_entropy_backward(const Sizes& sizes) {
  CrossEntropy<T> of(sizes);
  of.forward();
  auto d_loss = random_array<kernels::Wide<T>>("d_loss", of.rows);
  NamedArray<T> d_logits("d_logits", of.rows * of.classes);
  return launches_of([&] {
    kernels::cross_entropy_backward<T>(kernels::cuda(), of.rows, of.classes, of.logits.data(), of.targets.data(),
                                       smoothing, of.log_sum_exp.data(), d_loss.data(), d_logits.data());
  });
}

}  // namespace

std::vector<TracedKernel> row_kernels() {
  const Sizes layer({{"rows", 64}, {"n", 256}}), logits({{"rows", 32}, {"V", 1024}});
  return {
      softmax("softmax-naive", "Softmax, a thread per row", kernels::softmax_naive<float>),
      softmax("softmax-warp", "... a warp per row", kernels::softmax_warp<float>),
      softmax("softmax-online", "... maximum and sum in one pass", kernels::softmax_online<float>),
      {"layer-norm", "Layer normalization", layer, layer_norm<float>},
      {"layer-norm-backward", "Gradients of layer normalization", layer, layer_norm_backward<float>},
      {"layer-norm-bf16", "... in bfloat16", layer, layer_norm<BFloat16>},
      {"layer-norm-backward-bf16", "... in bfloat16", layer, layer_norm_backward<BFloat16>},
      {"cross-entropy", "Softmax and cross-entropy in one", logits, cross_entropy<float>},
      {"cross-entropy-backward", "Its gradient", logits, cross_entropy_backward<float>},
      {"cross-entropy-bf16", "... in bfloat16", logits, cross_entropy<BFloat16>},
      {"cross-entropy-backward-bf16", "... in bfloat16", logits, cross_entropy_backward<BFloat16>},
  };
}

}  // namespace headshare::trace
