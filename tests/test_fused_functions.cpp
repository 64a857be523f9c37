#include <doctest/doctest.h>

#include "autograd/functions.h"
#include "tests/tensor_helpers.h"

// Each fused function against the plain composition that is its specification: values and all gradients, for a random
// gradient from above, in float64.

using namespace headshare;
using namespace headshare::test;

namespace {

using Variables = std::vector<Variable>;

// The largest difference between the values and gradients of two functions.
double largest_difference(const Function& a, const Function& b, const std::vector<Tensor>& inputs) {
  Shape shape;
  {
    Variables constants;
    for (const Tensor& input : inputs) constants.emplace_back(input);
    shape = a(constants).shape();
  }
  const Tensor upstream = random_tensor(shape, 99);
  const std::vector<Tensor> left = value_and_gradients(a, inputs, upstream);
  const std::vector<Tensor> right = value_and_gradients(b, inputs, upstream);
  double worst = 0;
  for (std::size_t i = 0; i < left.size(); ++i) worst = std::max(worst, difference(left[i], right[i]));
  return worst;
}

constexpr double tolerance64 = 1e-13;  // sums of up to a few hundred numbers near 1, each rounded to 1e-16

struct AttentionCase {
  Size B, T, S, H, D;
};

double attention_difference(const AttentionCase& sizes, Size G, const Mask& mask) {
  const auto& [B, T, S, H, D] = sizes;
  return largest_difference(
      [&](const Variables& x) { return attention(x[0], x[1], x[2], mask); },
      [&](const Variables& x) { return composed_attention(x[0], x[1], x[2], mask); },
      {random_tensor({B, T, H, D}, 1), random_tensor({B, S, G, D}, 2), random_tensor({B, S, G, D}, 3)});
}

// gain (z - mean z) / sqrt(variance z + epsilon) + bias
Variable composed_layer_norm(const Variable& z, const Variable& gain, const Variable& bias, double epsilon) {
  Shape column = z.shape();
  column[-1] = 1;
  const Variable centred = subtract(z, reshape(mean(z, -1), column));
  const Variable deviation = sqrt(affine(reshape(mean(square(centred), -1), column), 1, epsilon));
  return add(multiply(divide(centred, deviation), gain), bias);
}

// -(1 - smoothing) log p[target] - smoothing mean_v log p[v], summed over the rows whose target is not padding
Variable composed_cross_entropy(const Variable& logits, const std::vector<std::int32_t>& targets, double smoothing) {
  const Size N = logits.extent(0), V = logits.extent(1);
  std::vector<double> weights(static_cast<std::size_t>(N * V), 0);
  for (Size n = 0; n < N; ++n)
    for (Size v = 0; v < V; ++v) {
      const Size target = targets[static_cast<std::size_t>(n)];
      if (target < 0) continue;
      weights[static_cast<std::size_t>(n * V + v)] =
          (v == target ? 1 - smoothing : 0) + smoothing / static_cast<double>(V);
    }
  return negate(sum(multiply(log_softmax(logits), Variable(from_values(weights, {N, V})))));
}

}  // namespace

TEST_CASE("fused attention is the composed one, for every way to share heads, every mask and odd sizes") {
  for (const AttentionCase& sizes :
       {AttentionCase{2, 1, 1, 2, 1}, {1, 7, 7, 4, 5}, {3, 5, 33, 4, 7}, {2, 33, 97, 6, 16}})
    for (const Size G : {Size{1}, Size{2}, sizes.H}) {
      std::vector<std::int32_t> lengths;
      for (Size b = 0; b < sizes.B; ++b)
        lengths.push_back(static_cast<std::int32_t>(std::max(sizes.S - 3 * b, Size{1})));
      const Tensor source_lengths = from_values(lengths, {sizes.B});
      for (const Mask& mask : {Mask{}, Mask{source_lengths, any_order}, Mask{{}, causal}, Mask{source_lengths, causal},
                               Mask{{}, causal, 5}, Mask{source_lengths, causal, 40}}) {
        CAPTURE(sizes.T);
        CAPTURE(sizes.S);
        CAPTURE(G);
        CAPTURE(static_cast<int>(mask.order));
        CAPTURE(mask.source_lengths.defined());
        CAPTURE(mask.window);
        // The composition has no answer for a query that sees no key: what is behind a window may all be padding.
        if (mask.window > 0 && mask.source_lengths.defined() && lengths.back() < sizes.S - mask.window + 1) continue;
        CHECK(attention_difference(sizes, G, mask) < tolerance64);
      }
    }
}

TEST_CASE("attention reads transposed views, as a cache gives them, without a change in the result") {
  const Size B = 2, T = 3, S = 7, H = 4, G = 2, D = 5;
  const std::vector<Tensor> inputs = {random_tensor({B, T, H, D}, 1), random_tensor({B, G, S, D}, 2),
                                      random_tensor({D, S, G, B}, 3)};
  const auto call = [&](const auto& attend) {
    return [=](const Variables& x) {
      return attend(x[0], transpose(x[1], 1, 2), transpose(x[2], 0, 3), Mask{{}, causal});
    };
  };
  const auto fused = [](const auto&... x) { return attention(x...); };
  const auto composed = [](const auto&... x) { return composed_attention(x...); };
  CHECK(largest_difference(call(fused), call(composed), inputs) < tolerance64);
}

TEST_CASE("a query that sees no key gives 0 and moves nothing") {
  const Mask nothing{from_values<std::int32_t>({0, 3}, {2}), any_order};
  const std::vector<Tensor> result = value_and_gradients(
      [&](const Variables& x) { return attention(x[0], x[1], x[2], nothing); },
      {random_tensor({2, 3, 2, 5}, 1), random_tensor({2, 7, 1, 5}, 2), random_tensor({2, 7, 1, 5}, 3)},
      random_tensor({2, 3, 2, 5}, 4));
  for (const Tensor& x : result) {
    CHECK(same_values(x.slice(0, 0, 1), zeros(x.slice(0, 0, 1).shape(), float64)));
    CHECK(difference(x.slice(0, 1, 2), zeros(x.slice(0, 1, 2).shape(), float64)) > 0.01);
  }
}

TEST_CASE("fused layer normalisation is the composed one, with and without a residual") {
  for (const Size n : {2, 7, 33, 97}) {
    CAPTURE(n);
    const std::vector<Tensor> inputs = {random_tensor({2, 3, n}, 1), random_tensor({2, 3, n}, 2), random_tensor({n}, 3),
                                        random_tensor({n}, 4)};
    CHECK(largest_difference([](const Variables& x) { return layer_norm(x[0], x[1], x[2], x[3], 1e-3); },
                             [](const Variables& x) { return composed_layer_norm(add(x[0], x[1]), x[2], x[3], 1e-3); },
                             inputs) < tolerance64);
    CHECK(largest_difference([](const Variables& x) { return layer_norm(x[0], {}, x[1], x[2], 1e-3); },
                             [](const Variables& x) { return composed_layer_norm(x[0], x[1], x[2], 1e-3); },
                             {inputs[0], inputs[2], inputs[3]}) < tolerance64);
  }
}

TEST_CASE("fused cross-entropy is the composed one, with label smoothing and padding") {
  for (const Size V : {1, 7, 33, 97})
    for (const double smoothing : {0.0, 0.1, 0.5}) {
      CAPTURE(V);
      CAPTURE(smoothing);
      const std::int32_t last = static_cast<std::int32_t>(V - 1);
      const std::vector<std::int32_t> targets = {0, -1, last, last / 2, -1};
      const Tensor target_tensor = from_values(targets, {5});
      CHECK(largest_difference([&](const Variables& x) { return cross_entropy(x[0], target_tensor, smoothing).loss; },
                               [&](const Variables& x) { return composed_cross_entropy(x[0], targets, smoothing); },
                               {random_tensor({5, V}, 1, 3)}) < tolerance64);
      const Variable logits(random_tensor({5, V}, 1, 3));
      const double unsmoothed = composed_cross_entropy(logits, targets, 0).value().item();
      CHECK(cross_entropy(logits, target_tensor, smoothing).nll.item() ==
            doctest::Approx(unsmoothed).epsilon(tolerance64));
    }
}

TEST_CASE("a linear layer with its activation is product, sum and activation one after the other") {
  const auto activated = [](Activation activation, const Variable& z) {
    return activation == Activation::relu ? relu(z) : activation == Activation::gelu ? gelu(z) : z;
  };
  for (const Activation activation : {Activation::none, Activation::relu, Activation::gelu})
    for (const Size n : {1, 7, 33}) {
      CAPTURE(static_cast<int>(activation));
      CAPTURE(n);
      const std::vector<Tensor> inputs = {random_tensor({2, 5, 33}, 1), random_tensor({33, n}, 2, 0.2),
                                          random_tensor({n}, 3)};
      CHECK(largest_difference([&](const Variables& x) { return linear(x[0], x[1], x[2], activation); },
                               [&](const Variables& x) { return activated(activation, add(matmul(x[0], x[1]), x[2])); },
                               inputs) < tolerance64);
      CHECK(largest_difference([&](const Variables& x) { return linear(x[0], x[1], {}, activation); },
                               [&](const Variables& x) { return activated(activation, matmul(x[0], x[1])); },
                               {inputs[0], inputs[1]}) < tolerance64);
    }
}
