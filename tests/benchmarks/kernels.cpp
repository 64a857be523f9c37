#include "autograd/functions.h"
#include "core/error.h"
#include "core/measure.h"
#include "core/random.h"
#include "nn/parameter.h"
#include "tensor/adam.h"
#include "tensor/layer_norm.h"
#include "tensor/matmul.h"
#include "tensor/softmax.h"
#include "tests/benchmarks/benchmark.h"

namespace headshare::benchmarks {
namespace {

Tensor random_tensor(const Shape& shape) {
  static Generator generator(1);
  return random_normal(shape, 1.0, generator, {});
}

double megas(Size a, Size b, Size c) {
  return static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c);
}

}  // namespace

std::vector<Row> benchmark_matmul() {
  std::vector<Row> rows;
  for (const auto [m, n, k] : product_sizes) {
    const Tensor a = random_tensor({m, k}), b = random_tensor({k, n}),
                 transposed = random_tensor({n, k}).transpose(0, 1);
    const double flops = 2 * megas(m, n, k), bytes = 4.0 * static_cast<double>(m * k + k * n + m * n);
    const std::string size = text(m, " x ", n, " x ", k);
    const PackedMatrix packed = pack_matrix(b);
    const Tensor c({m, n}, a.options());
    rows.push_back({"matmul, B packed before", size,
                    median_seconds([&] { linear_into(a, packed, {}, Activation::none, c); }), flops, bytes});
    rows.push_back({"matmul", size, median_seconds([&] { matmul(a, b); }), flops, bytes});
    rows.push_back({"matmul, B transposed", size, median_seconds([&] { matmul(a, transposed); }), flops, bytes});
  }
  const Tensor x = random_tensor({4096, 256}), dy = random_tensor({4096, 1024});
  rows.push_back({"matmul, A transposed", "256 x 1024 x 4096", median_seconds([&] { matmul(x.transpose(0, 1), dy); }),
                  2 * megas(256, 1024, 4096), 4.0 * (4096 * 256 + 4096 * 1024 + 256 * 1024)});
  return rows;
}

std::vector<Row> benchmark_attention() {
  struct Sizes {
    Size b, t, s, g;
  };
  constexpr Size H = 8, D = 32;
  std::vector<Row> rows;
  for (const auto [B, T, S, G] :
       {Sizes{64, 32, 32, 8}, Sizes{16, 128, 128, 8}, Sizes{16, 128, 128, 2}, Sizes{16, 128, 128, 1},
        Sizes{128, 1, 512, 8}, Sizes{128, 1, 512, 4}, Sizes{128, 1, 512, 2}, Sizes{128, 1, 512, 1}}) {
    const Tensor q = random_tensor({B, T, H, D});
    // As a cache lies in memory, [B, G, S, D], for a single query; as a projection, [B, S, G, D], for many.
    const auto keys = [&] {
      return T == 1 ? random_tensor({B, G, S, D}).transpose(1, 2) : random_tensor({B, S, G, D});
    };
    const Tensor k = keys(), v = keys();
    const Mask mask{};
    const std::string size = text("B ", B, " T ", T, " S ", S, " H ", H, " G ", G, " D ", D);
    const double flops = 4 * megas(B * T, S, H * D),
                 bytes = 4.0 * static_cast<double>(2 * B * T * H * D + 2 * B * S * G * D);
    rows.push_back({"attention", size, median_seconds([&] { attention(q, k, v, mask); }), flops, bytes});
    if (T == 1) continue;
    const AttentionResult forward = attention(q, k, v, mask);
    const Tensor dy = random_tensor({B, T, H, D});
    rows.push_back({"attention backward", size, median_seconds([&] { attention_backward(dy, q, k, v, mask, forward); }),
                    2.5 * flops, 2 * bytes});
  }
  return rows;
}

std::vector<Row> benchmark_memory_kernels() {
  std::vector<Row> rows;
  const auto add = [&](const std::string& name, const Tensor& x, double passes, double operations,
                       const std::function<void()>& work) {
    const double n = static_cast<double>(x.count());
    rows.push_back({name, to_string(x.shape()), median_seconds(work), operations * n, passes * 4 * n});
  };
  const Tensor logits = random_tensor({2048, 8000});
  add("softmax", logits, 2, 5, [&] { softmax(logits); });
  std::vector<std::int32_t> classes(2048, 7);
  const Tensor targets = from_values(classes, {2048});
  const CrossEntropy loss = cross_entropy(logits, targets, 0.1);
  add("cross_entropy", logits, 1, 5, [&] { cross_entropy(logits, targets, 0.1); });
  const Tensor d_loss = full({2048}, 1);
  add("cross_entropy backward", logits, 2, 5,
      [&] { cross_entropy_backward(d_loss, logits, targets, 0.1, loss.log_sum_exp); });

  const Tensor x = random_tensor({4096, 256}), residual = random_tensor({4096, 256}), gain = full({256}, 1),
               bias = full({256}, 0);
  const LayerNorm forward = layer_norm(x, residual, gain, bias, 1e-5);
  add("residual + layer_norm", x, 4, 8, [&] { layer_norm(x, residual, gain, bias, 1e-5); });
  add("layer_norm backward", x, 3, 10, [&] { layer_norm_backward(residual, forward, gain); });
  add("dropout", x, 2, 1, [&] { dropout(x, {0.1, 1, 1}); });
  const Tensor weight = random_tensor({7'580'000}), gradient = random_tensor({7'580'000});
  const Tensor mean = full({7'580'000}, 0), variance = full({7'580'000}, 0),
               scale = full({}, 1, {ElementType::float64});
  const AdamTensors parameter{weight, gradient, mean, variance};
  add("adam", weight, 7, 12, [&] { adam({1e-4, 0.9, 0.98, 1e-9, 0, 1}, scale, {&parameter, 1}); });
  return rows;
}

}  // namespace headshare::benchmarks
