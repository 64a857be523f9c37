#include <cmath>

#include "kernels/rows.cuh"
#include "kernels/softmax_ladder.h"

namespace headshare::kernels {
namespace {

constexpr int threads = 128;

// What is subtracted before exp. Of a row of only -infinity that is 0: infinity minus infinity is NaN.
template <class T>
__device__ T shift_of(T maximum) {
  return maximum == -std::numeric_limits<T>::infinity() ? T(0) : maximum;
}

// What exp(x - shift) is multiplied with; a sum of 0 says that everything is masked.
template <class T>
__device__ T scale_of(T sum) {
  return sum == T(0) ? T(0) : T(1) / sum;
}

// ---- The ladder (softmax_ladder.h) ----------------------------------------------------------------------------------
template <class T>
__global__ void softmax_naive_kernel(Size rows, Size n, const T* x, T* y) {
  const Size row = global_thread();
  if (row >= rows) return;
  const T* const from = x + row * n;
  T maximum = -std::numeric_limits<T>::infinity(), sum = 0;
  for (Size i = 0; i < n; ++i) maximum = larger(maximum, from[i]);
  const T shift = shift_of(maximum);
  for (Size i = 0; i < n; ++i) sum += std::exp(from[i] - shift);
  const T scale = scale_of(sum);
  for (Size i = 0; i < n; ++i) y[row * n + i] = std::exp(from[i] - shift) * scale;
}

template <class T>
__global__ void softmax_warp_kernel(Size rows, Size n, const T* x, T* y) {
  const Size row = global_thread() / warp_size;
  if (row >= rows) return;
  const T* const from = x + row * n;
  const int lane = threadIdx.x % warp_size;
  T maximum = -std::numeric_limits<T>::infinity(), sum = 0;
  for (Size i = lane; i < n; i += warp_size) maximum = larger(maximum, from[i]);
  const T shift = shift_of(warp_max(maximum));
  for (Size i = lane; i < n; i += warp_size) sum += std::exp(from[i] - shift);
  const T scale = scale_of(warp_sum(sum));
  for (Size i = lane; i < n; i += warp_size) y[row * n + i] = std::exp(from[i] - shift) * scale;
}

template <int team, class T>
__global__ void softmax_online_kernel(Size rows, Size n, const T* x, T* y) {
  __shared__ T maxima[warps_of<team>], sums[warps_of<team>];
  const Size row = row_of_team<team>();
  if (row >= rows) return;
  const T* const from = x + row * n;
  OnlineSum<T> mine;
  for (Size i = member_of_team<team>(); i < n; i += team) mine.add(from[i]);
  const OnlineSum<T> total = team_total<team>(mine, maxima, sums);
  const T scale = scale_of(total.sum);
  for (Size i = member_of_team<team>(); i < n; i += team) y[row * n + i] = std::exp(from[i] - total.maximum) * scale;
}

// ---- The other three ------------------------------------------------------------------------------------------------
template <int team, class T>
__global__ void softmax_backward_kernel(Size rows, Size n, const T* dy, const T* y, T* dx) {
  __shared__ T partial[warps_of<team>];
  const Size row = row_of_team<team>();
  if (row >= rows) return;
  T dot = 0;
  for (Size i = member_of_team<team>(); i < n; i += team) dot += dy[row * n + i] * y[row * n + i];
  dot = team_sum<team>(dot, partial);
  for (Size i = member_of_team<team>(); i < n; i += team) dx[row * n + i] = y[row * n + i] * (dy[row * n + i] - dot);
}

template <int team, class T>
__global__ void log_softmax_kernel(Size rows, Size n, const T* x, T* y) {
  __shared__ T maxima[warps_of<team>], sums[warps_of<team>];
  const Size row = row_of_team<team>();
  if (row >= rows) return;
  OnlineSum<T> mine;
  for (Size i = member_of_team<team>(); i < n; i += team) mine.add(x[row * n + i]);
  const T shift = shift_of(team_total<team>(mine, maxima, sums).logarithm());
  for (Size i = member_of_team<team>(); i < n; i += team) y[row * n + i] = x[row * n + i] - shift;
}

template <int team, class T>
__global__ void log_softmax_backward_kernel(Size rows, Size n, const T* dy, const T* y, T* dx) {
  __shared__ T partial[warps_of<team>];
  const Size row = row_of_team<team>();
  if (row >= rows) return;
  T sum = 0;
  for (Size i = member_of_team<team>(); i < n; i += team) sum += dy[row * n + i];
  sum = team_sum<team>(sum, partial);
  for (Size i = member_of_team<team>(); i < n; i += team)
    dx[row * n + i] = dy[row * n + i] - std::exp(y[row * n + i]) * sum;
}

}  // namespace

template <class T>
void softmax_naive(Cuda device, Size rows, Size n, const T* x, T* y) {
  launch(softmax_naive_kernel<T>, groups_of(rows, threads), threads, 0, device.stream, rows, n, x, y);
}

template <class T>
void softmax_warp(Cuda device, Size rows, Size n, const T* x, T* y) {
  launch(softmax_warp_kernel<T>, groups_of(rows * warp_size, threads), threads, 0, device.stream, rows, n, x, y);
}

template <class T>
void softmax_online(Cuda device, Size rows, Size n, const T* x, T* y) {
  launch_rows(softmax_online_kernel<warp_size, T>, softmax_online_kernel<long_row_team, T>, device, rows, n, x, y);
}

template <class T>
void softmax(Cuda device, Size rows, Size n, const T* x, T* y) {
  softmax_online(device, rows, n, x, y);
}

template <class T>
void softmax_backward(Cuda device, Size rows, Size n, const T* dy, const T* y, T* dx) {
  launch_rows(softmax_backward_kernel<warp_size, T>, softmax_backward_kernel<long_row_team, T>, device, rows, n, dy, y,
              dx);
}

template <class T>
void log_softmax(Cuda device, Size rows, Size n, const T* x, T* y) {
  launch_rows(log_softmax_kernel<warp_size, T>, log_softmax_kernel<long_row_team, T>, device, rows, n, x, y);
}

template <class T>
void log_softmax_backward(Cuda device, Size rows, Size n, const T* dy, const T* y, T* dx) {
  launch_rows(log_softmax_backward_kernel<warp_size, T>, log_softmax_backward_kernel<long_row_team, T>, device, rows, n,
              dy, y, dx);
}

template void softmax_naive(Cuda, Size, Size, const float*, float*);
template void softmax_naive(Cuda, Size, Size, const double*, double*);
template void softmax_warp(Cuda, Size, Size, const float*, float*);
template void softmax_warp(Cuda, Size, Size, const double*, double*);
template void softmax_online(Cuda, Size, Size, const float*, float*);
template void softmax_online(Cuda, Size, Size, const double*, double*);
template void softmax(Cuda, Size, Size, const float*, float*);
template void softmax(Cuda, Size, Size, const double*, double*);
template void softmax_backward(Cuda, Size, Size, const float*, const float*, float*);
template void softmax_backward(Cuda, Size, Size, const double*, const double*, double*);
template void log_softmax(Cuda, Size, Size, const float*, float*);
template void log_softmax(Cuda, Size, Size, const double*, double*);
template void log_softmax_backward(Cuda, Size, Size, const float*, const float*, float*);
template void log_softmax_backward(Cuda, Size, Size, const double*, const double*, double*);

}  // namespace headshare::kernels
