#include <cublas_v2.h>

#include <cmath>
#include <cxxopts.hpp>
#include <iostream>

#include "core/file.h"
#include "core/measure.h"
#include "core/report/measurements.h"
#include "kernels/attention_ladder.h"
#include "kernels/device_memory.h"
#include "kernels/matmul_ladder.h"
#include "nn/decoding_speed.h"
#include "nn/parameter.h"
#include "nn/training_speed.h"

// headshare_gpu_benchmarks [--json FILE]: every rung of the ladders on a real GPU, beside cuBLAS and beside what a copy
// moves in a second.
namespace {

using namespace headshare;
using namespace headshare::kernels;

Measurements measurements;
double copy_bandwidth = 1;

// Device time is host time here: work() is queued many times, and only the last one is waited for.
double device_seconds(const std::function<void()>& work) {
  work();
  synchronize(cuda());
  const double once = seconds_of([&] {
    work();
    synchronize(cuda());
  });
  const Size calls = std::clamp(static_cast<Size>(0.02 / std::max(once, 1e-9)), Size{1}, Size{1000});
  std::vector<double> samples;
  for (int sample = 0; sample < 7; ++sample)
    samples.push_back(seconds_of([&] {
                        for (Size i = 0; i < calls; ++i) work();
                        synchronize(cuda());
                      }) /
                      static_cast<double>(calls));
  return median(samples);
}

// `reference` is the time of whom it is compared with; 0: nobody.
void add(const std::string& kernel, const std::string& size, double seconds, double flops, double bytes,
         double reference = 0) {
  measurements.add({{"kernel", kernel},
                    {"size", size},
                    {"ms", 1e3 * seconds, 4},
                    {"TFLOP/s", flops / seconds / 1e12, 2},
                    {"of cuBLAS", reference / seconds, 3},
                    {"GB/s", bytes / seconds / 1e9, 1},
                    {"of a copy", bytes / seconds / copy_bandwidth, 3}});
  std::cout << kernel << ", " << size << ": " << 1e3 * seconds << " ms\n" << std::flush;
}

Tensor random_tensor(const Shape& shape) {
  static Generator generator(1);
  // As many different numbers as a small buffer holds, repeated: drawing billions takes longer than all measurements.
  const Size count = shape.count(), distinct = Size{1} << 20;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (Size i = 0; i < count; ++i)
    values[static_cast<std::size_t>(i)] =
        i < distinct ? static_cast<float>(generator.normal()) : values[static_cast<std::size_t>(i - distinct)];
  return from_values(values, shape, Device::cuda);
}

// ---- Bandwidth
// -------------------------------------------------------------------------------------------------------

void benchmark_copy() {
  const Size bytes = Size{2} << 30;
  const Tensor from({bytes / 4}, {ElementType::float32, Device::cuda}), to = empty_like(from);
  fill_bytes(cuda(), 0, from.data<float>(), bytes);
  const double seconds = device_seconds([&] { copy_on_device(cuda(), from.data<float>(), to.data<float>(), bytes); });
  copy_bandwidth = 2.0 * static_cast<double>(bytes) / seconds;  // read and written
  add("copy", "2 GiB", seconds, 0, 2.0 * static_cast<double>(bytes));
}

// ---- Matrix product
// --------------------------------------------------------------------------------------------------

struct Cublas {
  cublasHandle_t handle = nullptr;
  Cublas() {
    if (cublasCreate(&handle) != CUBLAS_STATUS_SUCCESS ||
        cublasSetStream(handle, cuda().stream) != CUBLAS_STATUS_SUCCESS)
      fail("cuBLAS does not start");
  }
  ~Cublas() { cublasDestroy(handle); }

  // C = A B for row-major matrices: cuBLAS counts columns first, so it computes C^T = B^T A^T.
  void multiply(Size m, Size n, Size k, const void* a, const void* b, float* c, cudaDataType_t type,
                cublasComputeType_t compute) const {
    const float one = 1, zero = 0;
    const auto to_int = [](Size x) { return static_cast<int>(x); };
    if (cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, to_int(n), to_int(m), to_int(k), &one, b, type, to_int(n), a,
                     type, to_int(k), &zero, c, CUDA_R_32F, to_int(n), compute,
                     CUBLAS_GEMM_DEFAULT) != CUBLAS_STATUS_SUCCESS)
      fail("cuBLAS refuses ", m, " x ", n, " x ", k);
  }
};

void benchmark_matmul() {
  const Cublas cublas;
  for (const Size n : {1024, 4096}) {
    const Tensor a = random_tensor({n, n}), b = random_tensor({n, n}), c = empty_like(a);
    const Tensor narrow_a = a.to(ElementType::bfloat16), narrow_b = b.to(ElementType::bfloat16);
    const MatmulSizes sizes{1, n, n, n};
    const MatrixView<float> left{a.data<float>(), n, 1}, right{b.data<float>(), n, 1};
    const MatrixView<BFloat16> narrow_left{narrow_a.data<BFloat16>(), n, 1},
        narrow_right{narrow_b.data<BFloat16>(), n, 1};
    float* const to = c.data<float>();
    const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    const double square = static_cast<double>(n) * static_cast<double>(n);
    const auto size = text(n, " x ", n, " x ", n);
    const auto timed = [&](cudaDataType_t type, cublasComputeType_t compute, const void* x, const void* y) {
      return device_seconds([&] { cublas.multiply(n, n, n, x, y, to, type, compute); });
    };
    const double fp32 = timed(CUDA_R_32F, CUBLAS_COMPUTE_32F, left.data, right.data);
    const double tf32 = timed(CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, left.data, right.data);
    const double bf16 = timed(CUDA_R_16BF, CUBLAS_COMPUTE_32F, narrow_left.data, narrow_right.data);
    add("cuBLAS float32", size, fp32, 2 * cube, 12 * square, fp32);
    add("cuBLAS tf32", size, tf32, 2 * cube, 12 * square, tf32);
    add("cuBLAS bfloat16", size, bf16, 2 * cube, 8 * square, bf16);
    const auto rung = [&](const char* name, double reference, const auto& work) {
      add(name, size, device_seconds(work), 2 * cube, 12 * square, reference);
    };
    rung("matmul_naive", fp32, [&] { matmul_naive<float>(cuda(), sizes, left, right, to, {}); });
    rung("matmul_tiled", fp32, [&] { matmul_tiled<float>(cuda(), sizes, left, right, to, {}); });
    rung("matmul_register_tiled 64", fp32,
         [&] { matmul_register_tiled<float, 64>(cuda(), sizes, left, right, to, {}); });
    rung("matmul_register_tiled 128", fp32,
         [&] { matmul_register_tiled<float, 128>(cuda(), sizes, left, right, to, {}); });
    rung("matmul_tensor_core tf32", tf32, [&] { matmul_tensor_core<float, 128>(cuda(), sizes, left, right, to, {}); });
    rung("matmul_tensor_core bfloat16", bf16,
         [&] { matmul_tensor_core<BFloat16, 128>(cuda(), sizes, narrow_left, narrow_right, to, {}); });
  }
}

// ---- Attention
// -------------------------------------------------------------------------------------------------------

template <class T>
HeadsView<T> view(const Tensor& x) {
  return {x.data<std::remove_const_t<T>>(), x.stride(0), x.stride(1), x.stride(2)};
}

void benchmark_attention() {
  const Size B = 4, H = 16;
  const AttentionMask mask{nullptr, AttentionMask::Order::causal};
  for (const Size T : {1024, 2048, 4096})
    for (const Size D : {64, 128})
      for (const Size G : {H, H / 4}) {
        const AttentionSizes sizes{B, T, T, H, G, D};
        const Tensor q = random_tensor({B, T, H, D}), k = random_tensor({B, T, G, D}), v = random_tensor({B, T, G, D}),
                     d_output = random_tensor({B, T, H, D}), output = empty_like(q), dq = empty_like(q),
                     dk = empty_like(k), dv = empty_like(v);
        const Tensor log_sum_exp({B, H, T}, q.options());
        const double pairs = static_cast<double>(B * H * T) * static_cast<double>(T) / 2;  // causal
        const double flops = 4 * pairs * static_cast<double>(D);
        const double bytes = static_cast<double>(2 * q.bytes() + 2 * k.bytes());
        const auto size = text("B ", B, " T ", T, " H ", H, " G ", G, " D ", D, " causal");
        const double forward = device_seconds([&] {
          attention_fused<float>(cuda(), sizes, mask, view<const float>(q), view<const float>(k), view<const float>(v),
                                 view<float>(output), log_sum_exp.data<float>());
        });
        add("attention_fused", size, forward, flops, bytes);
        const double backward = device_seconds([&] {
          attention_backward<float>(cuda(), sizes, mask, view<const float>(q), view<const float>(k),
                                    view<const float>(v), view<const float>(output), log_sum_exp.data<float>(),
                                    view<const float>(d_output), view<float>(dq), view<float>(dk), view<float>(dv));
        });
        add("attention_backward", size, backward, 2.5 * flops, 2 * bytes);
        if (T > 2048) continue;  // the scores alone would take 4 GiB
        const Tensor scores({B, H, T, T}, q.options());
        const double composed = device_seconds([&] {
          attention_composed<float>(cuda(), sizes, mask, view<const float>(q), view<const float>(k),
                                    view<const float>(v), view<float>(output), scores.data<float>());
        });
        add("attention_composed", size, composed, 2 * flops, bytes + 4.0 * static_cast<double>(scores.bytes()));
      }
}

template <class Stored>
void benchmark_decode_attention(Size G) {
  const Size B = 128, S = 8192, H = 8, D = 128;
  const ElementType type = element_type_of<Stored>;
  const AttentionSizes sizes{B, 1, S, H, G, D};
  const Tensor q = random_tensor({B, 1, H, D}), output = empty_like(q);
  const auto cache = [&] {  // [B, G, S, D] as decoding keeps it, seen as [B, S, G, D]
    const Tensor x({B, G, S, D}, {type, Device::cuda});
    const Tensor one = random_tensor({1, G, S, D}).to(type);
    for (Size b = 0; b < B; ++b) x.slice(0, b, b + 1).copy_from(one);
    return x;
  };
  const Tensor key = cache(), value = cache();
  const auto heads = [](const Tensor& x) {
    return HeadsView<const Stored>{x.data<Stored>(), x.stride(0), x.stride(2), x.stride(1)};
  };
  const double flops = 4.0 * static_cast<double>(B * H * S * D), bytes = static_cast<double>(2 * key.bytes());
  const auto size = text("B ", B, " S ", S, " H ", H, " G ", G, " D ", D, " ", name(type));
  add("decode_attention_per_group", size, device_seconds([&] {
        decode_attention_per_group<float, Stored>(cuda(), sizes, {}, view<const float>(q), heads(key), heads(value),
                                                  view<float>(output), nullptr);
      }),
      flops, bytes);
  add("decode_attention_per_head", size, device_seconds([&] {
        decode_attention_per_head<float, Stored>(cuda(), sizes, {}, view<const float>(q), heads(key), heads(value),
                                                 view<float>(output));
      }),
      flops, bytes);
}

// ---- Models
// ----------------------------------------------------------------------------------------------------------

// Shazeer 2019, section 4: 6 layers, d 1024, 8 heads of 128, batch 1024, source and target of 128 tokens.
void benchmark_shazeer_decoding() {
  double tokens[2] = {}, bytes[2] = {};
  int which = 0;
  for (const Size G : {8, 1}) {
    const Transformer model(checked({.vocabulary = 32000,
                                     .d_model = 1024,
                                     .d_ff = 4096,
                                     .layers = 6,
                                     .attention = grouped_query(8, G),
                                     .max_length = 130,
                                     .dropout = 0}),
                            1);
    const Decoder decoder(model);
    const DecodingMeasurement measurement{1024, 128, 128, 3};
    const DecodingSpeed speed = measure_decoding(decoder, measurement);
    const DecodingCost cost = decoding_cost(decoder, measurement);
    tokens[which] = speed.tokens_per_second;
    bytes[which++] = cost.bytes();
    add(text("greedy decoding, ", static_cast<Size>(speed.tokens_per_second), " tokens/s"),
        text("Shazeer's model, B 1024, 128 + 128, G ", G), speed.seconds_per_step, cost.flops(), cost.bytes());
  }
  std::cout << "G 1 over G 8: " << tokens[1] / tokens[0] << " times; the bytes predict " << bytes[0] / bytes[1]
            << "; the paper measured 12.1 on a TPU v2\n";
}

void benchmark_training() {
  for (const TrainingMeasurement measurement : {TrainingMeasurement{64, 32}, TrainingMeasurement{16, 128}}) {
    const Transformer model(
        checked({.vocabulary = 8000, .attention = multi_head(8), .max_length = measurement.length + 2, .dropout = 0}),
        1);
    const TrainingSpeed speed = measure_training(model, measurement, 9);
    add("training step, 7.58M parameters",
        text(measurement.sentences, " x ", measurement.length, " + ", measurement.length), speed.seconds_per_step,
        training_flops(model.config(), measurement), static_cast<double>(count_parameters(model)) * 4 * 7);
  }
}

void run(const std::string& file) {
  const DefaultDevice device(Device::cuda);
  std::cout << describe_cuda() << '\n';
  benchmark_copy();
  benchmark_matmul();
  benchmark_attention();
  for (const Size G : {8, 1}) {
    benchmark_decode_attention<float>(G);
    benchmark_decode_attention<BFloat16>(G);
    release_cached_memory(Device::cuda);
  }
  benchmark_training();
  benchmark_shazeer_decoding();
  std::cout << '\n' << measurements.table();
  if (!file.empty()) write_file(file, measurements.json());
}

}  // namespace

int main(int count, char** arguments) {
  try {
    cxxopts::Options options("headshare_gpu_benchmarks", "Times every rung on a GPU");
    options.add_options()("json", "Also write one object per row to this file",
                          cxxopts::value<std::string>()->default_value(""));
    run(options.parse(count, arguments)["json"].as<std::string>());
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "headshare_gpu_benchmarks: " << error.what() << '\n';
    return 1;
  }
}
