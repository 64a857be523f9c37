#include "kernels/cross_entropy.h"

#include "kernels/indices.h"
#include "kernels/rows.cuh"

namespace headshare::kernels {
namespace {

void check_targets(Cuda device, const char* who, Size rows, const std::int32_t* targets, Size classes) {
  check_indices(device, who, "target", rows, targets, std::numeric_limits<std::int32_t>::min(), classes);
}

// False for padding; and for a target that does not exist, which the host hears about only when these kernels are done.
__device__ bool is_class(std::int32_t target, Size classes) { return target >= 0 && target < classes; }

template <int team, class T>
__global__ void cross_entropy_kernel(Size rows, Size classes, const T* logits, const std::int32_t* targets,
                                     Wide<T> smoothing, Wide<T>* loss, Wide<T>* nll, Wide<T>* log_sum_exp) {
  __shared__ Wide<T> maxima[warps_of<team>], sums[warps_of<team>], logit_sums[warps_of<team>];
  const Size row = row_of_team<team>();
  if (row >= rows) return;
  const T* const x = logits + row * classes;
  OnlineSum<T> mine;
  Wide<T> logit_sum = 0;
  chunks_of(classes, x).for_each(member_of_team<team>(), team, [&](Size v, auto count) {
    const auto some = load_chunk<count>(x + v);
    mine.add(some);
    for (int k = 0; k < count; ++k) logit_sum += some[k];
  });
  const Wide<T> logarithm = team_total<team>(mine, maxima, sums).logarithm();
  logit_sum = team_sum<team>(logit_sum, logit_sums);
  if (member_of_team<team>() != 0) return;
  const std::int32_t target = targets[row];
  const Wide<T> target_nll = is_class(target, classes) ? logarithm - static_cast<Wide<T>>(x[target]) : Wide<T>(0);
  Wide<T> smoothed = target_nll;
  // Without smoothing an impossible class, logit -infinity, must not cost anything.
  if (smoothing != Wide<T>(0) && is_class(target, classes)) {
    const Wide<T> mean_nll = logarithm - logit_sum / static_cast<Wide<T>>(classes);
    smoothed = (Wide<T>(1) - smoothing) * target_nll + smoothing * mean_nll;
  }
  loss[row] = smoothed;
  if (nll != nullptr) nll[row] = target_nll;
  log_sum_exp[row] = logarithm;
}

template <int team, class T>
__global__ void cross_entropy_backward_kernel(Size rows, Size classes, const T* logits, const std::int32_t* targets,
                                              Wide<T> smoothing, const Wide<T>* log_sum_exp, const Wide<T>* d_loss,
                                              T* d_logits) {
  const Size row = row_of_team<team>();
  if (row >= rows) return;
  const std::int32_t target = targets[row];
  const bool padding = !is_class(target, classes);
  const Wide<T> shift = log_sum_exp[row], scale = d_loss[row], everywhere = smoothing / static_cast<Wide<T>>(classes);
  const Wide<T> own = (Wide<T>(1) - smoothing) * scale;  // of the target
  const T* const x = logits + row * classes;
  T* const dx = d_logits + row * classes;
  chunks_of(classes, x, dx).for_each(member_of_team<team>(), team, [&](Size v, auto count) {
    Chunk<Wide<T>, count> d = {};
    if (!padding) {
      d = load_chunk<count>(x + v);
      const int of_target = static_cast<int>(target - v);
      for (int k = 0; k < count; ++k)
        d[k] = (exponential<T>(d[k] - shift) - everywhere) * scale - (k == of_target ? own : Wide<T>(0));
    }
    store_chunk(d, dx + v);
  });
}

}  // namespace

template <class T>
void cross_entropy(Cuda device, Size rows, Size classes, const T* logits, const std::int32_t* targets,
                   Wide<T> smoothing, Wide<T>* loss, Wide<T>* nll, Wide<T>* log_sum_exp) {
  check_targets(device, "cross_entropy", rows, targets, classes);
  launch_rows(cross_entropy_kernel<warp_size, T>, cross_entropy_kernel<long_row_team, T>, device, rows, classes, logits,
              targets, smoothing, loss, nll, log_sum_exp);
}

template <class T>
void cross_entropy_backward(Cuda device, Size rows, Size classes, const T* logits, const std::int32_t* targets,
                            Wide<T> smoothing, const Wide<T>* log_sum_exp, const Wide<T>* d_loss, T* d_logits) {
  check_targets(device, "cross_entropy_backward", rows, targets, classes);
  launch_rows(cross_entropy_backward_kernel<warp_size, T>, cross_entropy_backward_kernel<long_row_team, T>, device,
              rows, classes, logits, targets, smoothing, log_sum_exp, d_loss, d_logits);
}

template void cross_entropy(Cuda, Size, Size, const float*, const std::int32_t*, float, float*, float*, float*);
template void cross_entropy(Cuda, Size, Size, const double*, const std::int32_t*, double, double*, double*, double*);
template void cross_entropy(Cuda, Size, Size, const BFloat16*, const std::int32_t*, float, float*, float*, float*);
template void cross_entropy_backward(Cuda, Size, Size, const float*, const std::int32_t*, float, const float*,
                                     const float*, float*);
template void cross_entropy_backward(Cuda, Size, Size, const double*, const std::int32_t*, double, const double*,
                                     const double*, double*);
template void cross_entropy_backward(Cuda, Size, Size, const BFloat16*, const std::int32_t*, float, const float*,
                                     const float*, BFloat16*);

}  // namespace headshare::kernels
