#include "kernels/elementwise.h"
#include "cli/trace/kernels.h"
#include "cli/trace/named_array.h"
#include "kernels/adam.h"
#include "kernels/copy.h"
#include "kernels/dropout.h"
#include "kernels/embedding.h"

namespace headshare::trace {
namespace {

Launches add(const Sizes& sizes) {
  const Size n = sizes["n"];
  auto a = random_array("a", n), b = random_array("b", n);
  NamedArray<float> y("y", n);
  return launches_of([&] { kernels::map<kernels::Add>(kernels::cuda(), n, a.data(), b.data(), y.data()); });
}

Launches dropout(const Sizes& sizes) {
  const Size n = sizes["n"];
  auto x = random_array("x", n);
  NamedArray<float> y("y", n);
  return launches_of(
      [&] { kernels::dropout(kernels::cuda(), n, {.probability = 0.1, .seed = 1, .site = 1}, x.data(), y.data()); });
}

Launches adam(const Sizes& sizes) {
  const Size n = sizes["n"];
  const kernels::AdamStep step{
      .learning_rate = 1e-3, .beta1 = 0.9, .beta2 = 0.98, .epsilon = 1e-9, .weight_decay = 0, .step = 1};
  NamedArray<double> scale("gradient_scale", std::vector{1.0});
  auto parameter = random_array("parameter", n), gradient = random_array("gradient", n);
  const std::vector<float> zeros(static_cast<std::size_t>(n));
  NamedArray<float> mean("mean", zeros), variance("variance", zeros);
  return launches_of([&] {
    const kernels::AdamArrays<float> arrays{n, parameter.data(), gradient.data(), mean.data(), variance.data()};
    kernels::adam<float>(kernels::cuda(), step, scale.data(), {&arrays, 1});
  });
}

// The copy that a transposed view needs, where a kernel wants contiguous memory: y[i, j] = x[j, i].
Launches transpose(const Sizes& sizes) {
  const Size rows = sizes["rows"], columns = sizes["columns"];
  auto x = random_array("x", rows * columns);
  NamedArray<float> y("y", rows * columns);
  const kernels::StridedSizes view{.rank = 2, .extents = {columns, rows}, .strides = {1, columns}};
  return launches_of([&] { kernels::copy_strided(kernels::cuda(), view, x.data(), y.data()); });
}

Launches embedding(const Sizes& sizes) {
  const Size tokens_count = sizes["tokens"], width = sizes["C"], vocabulary = sizes["V"];
  auto tokens = random_below<std::int32_t>("tokens", tokens_count, vocabulary);
  auto table = random_array("table", vocabulary * width), positions = random_array("positions", tokens_count * width);
  NamedArray<float> y("y", tokens_count * width);
  return launches_of([&] {
    kernels::embedding<float>(kernels::cuda(), tokens_count, width, vocabulary, tokens.data(), table.data(), 1,
                              positions.data(), tokens_count, nullptr, y.data());
  });
}

Launches embedding_backward(const Sizes& sizes) {
  const Size tokens_count = sizes["tokens"], width = sizes["C"], vocabulary = sizes["V"];
  auto tokens = random_below<std::int32_t>("tokens", tokens_count, vocabulary);
  auto dy = random_array("dy", tokens_count * width);
  NamedArray<float> d_table("d_table", vocabulary * width);
  return launches_of([&] {
    kernels::embedding_backward<float>(kernels::cuda(), tokens_count, width, vocabulary, tokens.data(), 1, dy.data(),
                                       d_table.data());
  });
}

}  // namespace

std::vector<TracedKernel> elementwise_kernels() {
  const Sizes table({{"tokens", 64}, {"C", 128}, {"V", 500}});
  return {
      {"add", "Sum of two arrays", Sizes({{"n", 4096}}), add},
      {"dropout", "Dropout", Sizes({{"n", 4096}}), dropout},
      {"adam", "One step of Adam", Sizes({{"n", 4096}}), adam},
      {"transpose", "Copy of a transposed matrix", Sizes({{"rows", 96}, {"columns", 64}}), transpose},
      {"embedding", "Rows of a table, by token", table, embedding},
      {"embedding-backward", "Gradient of that table", table, embedding_backward},
  };
}

}  // namespace headshare::trace
