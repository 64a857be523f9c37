#include "tests/gpu/benchmark.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "core/measure.h"
#include "core/random.h"
#include "kernels/launch_graph.h"
#include "tests/gpu/cublas.h"

namespace headshare::gpu_benchmarks {
namespace {

using kernels::cuda;

constexpr double sample_seconds = 0.02;
constexpr double brief_seconds = 0.0005;  // a call of so little time is recorded
constexpr Size recorded_calls = 20;

struct Repeated {
  std::function<void()> work;
  kernels::LaunchGraph graph;
  Size calls = 0;    // in one go
  Size repeats = 0;  // of these, in a sample

  void queue() const {
    if (graph.recorded())
      graph.repeat(cuda());
    else
      work();
  }
  double seconds(Size times) const {
    return seconds_of([&] {
      for (Size i = 0; i < times; ++i) queue();
      kernels::synchronize(cuda());
    });
  }
  void warm_up() {
    seconds(1);  // buffers are allocated now, which nothing recorded may do
    const double once = std::min(seconds(1), seconds(1));
    calls = once < brief_seconds ? recorded_calls : 1;
    if (calls > 1)
      graph.record(cuda(), [this] {
        for (Size i = 0; i < calls; ++i) work();
      });
    seconds(1);
    repeats = std::clamp(static_cast<Size>(sample_seconds / std::max(seconds(1), 1e-7)), Size{1}, Size{1000});
  }
};

}  // namespace

Stopwatch stopwatch(std::function<void()> work) {
  const auto repeated = std::make_shared<Repeated>();
  repeated->work = std::move(work);
  return [repeated] {
    if (repeated->repeats == 0) repeated->warm_up();
    return repeated->seconds(repeated->repeats) / static_cast<double>(repeated->repeats * repeated->calls);
  };
}

// ---- What this GPU can do at most -----------------------------------------------------------------------------------

const Cublas& cublas() {
  static const Cublas cublas;
  return cublas;
}

namespace {

Size copied_bytes(Scale scale) { return scale == Scale::full ? Size{2} << 30 : Size{1} << 20; }
Size peak_extent(Scale scale, Precision precision) {
  return scale == Scale::small ? 128 : precision == Precision::bf16 ? 8192 : 4096;
}

double median_of(const Stopwatch& work) {
  work();
  std::vector<double> samples;
  for (int sample = 0; sample < 7; ++sample) samples.push_back(work());
  return median(samples);
}

Prepared prepare_copy(Scale scale) {
  const Size bytes = copied_bytes(scale);
  const Tensor from = random_tensor({bytes / 4}, ElementType::float32), to = empty_like(from);
  const auto work = [from, to, bytes] { kernels::copy_on_device(cuda(), from.data<float>(), to.data<float>(), bytes); };
  return {.work = stopwatch(work), .bytes = 2.0 * static_cast<double>(bytes)};
}

template <class T>
Prepared prepare_peak(Size n, cublasComputeType_t compute) {
  const Tensor a = random_tensor({n, n}, element_type_of<T>), b = random_tensor({n, n}, element_type_of<T>),
               c = empty_like(a);
  const auto work = [a, b, c, n, compute] {
    cublas().multiply<T, T>({1, n, n, n}, {a.data<T>(), n, 1}, {b.data<T>(), n, 1}, c.data<T>(), compute);
  };
  const double extent = static_cast<double>(n);
  return {.work = stopwatch(work), .flops = 2 * extent * extent * extent, .bytes = 3 * static_cast<double>(a.bytes())};
}

Prepared prepare_peak(Scale scale, Precision precision) {
  const Size n = peak_extent(scale, precision);
  return precision == Precision::bf16   ? prepare_peak<BFloat16>(n, CUBLAS_COMPUTE_32F)
         : precision == Precision::tf32 ? prepare_peak<float>(n, CUBLAS_COMPUTE_32F_FAST_TF32)
                                        : prepare_peak<float>(n, CUBLAS_COMPUTE_32F);
}

}  // namespace

std::vector<Case> ceiling_cases(Scale scale) {
  std::vector<Case> cases = {
      {"ceilings", "copy", text(copied_bytes(scale) >> 20, " MiB"), "", [=] { return prepare_copy(scale); }}};
  for (const Precision precision : {Precision::bf16, Precision::tf32, Precision::fp32}) {
    const Size n = peak_extent(scale, precision);
    cases.push_back({"ceilings", "cuBLAS " + name(precision), text(n, " x ", n, " x ", n), "",
                     [=] { return prepare_peak(scale, precision); }});
  }
  return cases;
}

double copy_bandwidth(Scale scale) {
  static const double bandwidth = [&] {
    const Prepared copy = prepare_copy(scale);
    return copy.bytes / median_of(copy.work);
  }();
  return bandwidth;
}

double peak_flops(Scale scale, Precision precision) {
  static std::map<Precision, double> peaks;
  double& peak = peaks[precision];
  if (peak == 0) {
    const Prepared product = prepare_peak(scale, precision);
    peak = product.flops / median_of(product.work);
  }
  return peak;
}

// ---- Numbers to work on ---------------------------------------------------------------------------------------------

namespace {

constexpr Size different_numbers = Size{1} << 20;

// Copies what the beginning holds until the tensor is full.
void repeat_beginning(const Tensor& x, std::byte* data, Size filled) {
  for (; filled < x.bytes(); filled *= 2)
    kernels::copy_on_device(cuda(), data, data + filled, std::min(filled, x.bytes() - filled));
}

template <class T, class Draw>
Tensor filled(const Shape& shape, const Draw& draw) {
  const Tensor x(shape, {element_type_of<T>, Device::cuda});
  static const std::vector<T> numbers = [&] {
    std::vector<T> drawn(static_cast<std::size_t>(different_numbers));
    for (T& number : drawn) number = draw();
    return drawn;
  }();
  static Size next = 0;  // so that two small tensors are not the same
  const Size count = std::min(x.count(), different_numbers);
  if (next + count > different_numbers) next = 0;
  const Size bytes = count * static_cast<Size>(sizeof(T));
  kernels::copy_to_device(cuda(), numbers.data() + next, x.data<T>(), bytes);
  next += count;
  repeat_beginning(x, reinterpret_cast<std::byte*>(x.data<T>()), bytes);
  return x;
}

}  // namespace

Tensor random_tensor(const Shape& shape, ElementType type) {
  static Generator generator(1);
  if (type == ElementType::int8)
    return filled<std::int8_t>(shape, [&] { return static_cast<std::int8_t>(generator.below(255) - 127); });
  if (type == ElementType::bfloat16) return filled<BFloat16>(shape, [&] { return BFloat16(generator.normal()); });
  return filled<float>(shape, [&] { return static_cast<float>(generator.normal()); });
}

void expect_close(const char* what, const Tensor& x, const Tensor& wanted, double tolerance) {
  const Size count = x.count(), compared = std::min(count, Size{1} << 20);
  for (const Size begin : {Size{0}, count - compared}) {
    const auto values = [&](const Tensor& tensor) {
      const Tensor part = tensor.reshape({count}).slice(0, begin, begin + compared);
      return part.to(Device::cpu).to(ElementType::float32).to_vector<float>();
    };
    const std::vector<float> ours = values(x), theirs = values(wanted);
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      const double error = static_cast<double>(ours[i]) - static_cast<double>(theirs[i]);
      difference += error * error;
      size += static_cast<double>(theirs[i]) * static_cast<double>(theirs[i]);
    }
    const double relative = std::sqrt(difference / size);
    if (!(relative <= tolerance))
      fail("WRONG: ", what, " differs by ", relative, " of its size in elements ", begin, " to ", begin + compared);
  }
}

}  // namespace headshare::gpu_benchmarks
