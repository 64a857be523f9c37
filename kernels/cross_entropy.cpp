#include "kernels/cross_entropy.h"

#include <algorithm>
#include <limits>

#include "kernels/indices.h"
#include "kernels/parallel.h"
#include "kernels/rows.h"

namespace headshare::kernels {

namespace {

constexpr Size exp_cost = 4;  // in the element operations of parallel_rows

void check_targets(const char* who, Size rows, const std::int32_t* targets, Size classes) {
  check_indices(Cpu{}, who, "target", rows, targets, std::numeric_limits<std::int32_t>::min(), classes);
}

}  // namespace

template <class T>
void cross_entropy(Cpu, Size rows, Size classes, const T* logits, const std::int32_t* targets, Wide<T> smoothing,
                   Wide<T>* loss, Wide<T>* nll, Wide<T>* log_sum_exp) {
  check_targets("cross_entropy", rows, targets, classes);
  parallel_rows(rows, classes * exp_cost, [&](Size row) {
    const T* x = logits + row * classes;
    log_sum_exp[row] = kernels::log_sum_exp(classes, x);
    const bool padding = targets[row] < 0;
    const T target_nll = padding ? T(0) : log_sum_exp[row] - x[targets[row]];
    if (nll) nll[row] = target_nll;
    loss[row] = target_nll;
    if (smoothing != T(0) &&
        !padding) {  // without smoothing an impossible class, logit -infinity, must not cost anything
      const T mean_nll = log_sum_exp[row] - row_sum(classes, x) / static_cast<T>(classes);
      loss[row] = (T(1) - smoothing) * target_nll + smoothing * mean_nll;
    }
  });
}

template <class T>
void cross_entropy_backward(Cpu, Size rows, Size classes, const T* logits, const std::int32_t* targets,
                            Wide<T> smoothing, const Wide<T>* log_sum_exp, const Wide<T>* d_loss, T* d_logits) {
  check_targets("cross_entropy_backward", rows, targets, classes);
  parallel_rows(rows, classes * exp_cost, [&](Size row) {
    const T* x = logits + row * classes;
    T* dx = d_logits + row * classes;
    if (targets[row] < 0) {
      std::fill_n(dx, classes, T(0));
      return;
    }
    const T shift = log_sum_exp[row], scale = d_loss[row], everywhere = smoothing / static_cast<T>(classes);
    for_each_register<T>(classes, [&](Size i, auto count) {
      const Vector<T> probability = exp_or_zero(load_first(x + i, count, T(0)) - shift);
      store_first(dx + i, (probability - everywhere) * scale, count);
    });
    dx[targets[row]] -= (T(1) - smoothing) * scale;
  });
}

template void cross_entropy(Cpu, Size, Size, const float*, const std::int32_t*, float, float*, float*, float*);
template void cross_entropy(Cpu, Size, Size, const double*, const std::int32_t*, double, double*, double*, double*);
template void cross_entropy_backward(Cpu, Size, Size, const float*, const std::int32_t*, float, const float*,
                                     const float*, float*);
template void cross_entropy_backward(Cpu, Size, Size, const double*, const std::int32_t*, double, const double*,
                                     const double*, double*);

}  // namespace headshare::kernels
