#include "kernels/adam.h"

#include "kernels/adam_factors.h"
#include "kernels/warp.cuh"

namespace headshare::kernels {
namespace {

constexpr int threads = 256;

// Neighbouring threads take neighbouring elements of all four arrays. Every thread reads the one scale: the caches make
// that cheaper than a kernel that would write it to all.
template <class T>
__global__ void adam_kernel(Size n, AdamFactors<T> factors, const double* gradient_scale, T* parameter,
                            const T* gradient, T* mean, T* variance) {
  const T scale = static_cast<T>(*gradient_scale);
  if (scale != scale) return;
  for (Size i = global_thread(); i < n; i += all_threads())
    factors.update(gradient[i] * scale, parameter[i], mean[i], variance[i]);
}

__global__ void gradient_scale_kernel(double factor, double limit, const double* loss, const double* squared_norm,
                                      double* scale) {
  *scale = scale_of_gradients(factor, limit, *loss, *squared_norm);
}

}  // namespace

template <class T>
void adam(Cuda device, Size n, const AdamStep& step, const double* gradient_scale, T* parameter, const T* gradient,
          T* mean, T* variance) {
  launch(adam_kernel<T>, loop_blocks(n, threads), threads, 0, device.stream, n, adam_factors<T>(step), gradient_scale,
         parameter, gradient, mean, variance);
}

void gradient_scale(Cuda device, double factor, double limit, const double* loss, const double* squared_norm,
                    double* scale) {
  launch(gradient_scale_kernel, 1, 1, 0, device.stream, factor, limit, loss, squared_norm, scale);
}

template void adam(Cuda, Size, const AdamStep&, const double*, float*, const float*, float*, float*);
template void adam(Cuda, Size, const AdamStep&, const double*, double*, const double*, double*, double*);

}  // namespace headshare::kernels
