#include "kernels/softmax.h"

#include "kernels/parallel.h"
#include "kernels/rows.h"

namespace headshare::kernels {

namespace {
constexpr Size exp_cost = 4;  // in the element operations of parallel_rows
}

template <class T>
void softmax(Cpu, Size rows, Size n, const T* x, T* y) {
  parallel_rows(rows, n * exp_cost, [&](Size row) {
    const T* from = x + row * n;
    T* to = y + row * n;
    const T shift = softmax_shift(n, from);
    const T sum = row_sum<T>(n, [&](Size i, auto count) {
      const Vector<T> e = exp_or_zero(load_first(from + i, count, -infinity<T>) - shift);
      store_first(to + i, e, count);
      return e;
    });
    const T scale = sum == T(0) ? T(0) : T(1) / sum;  // 0: everything is masked
    for_each_register<T>(
        n, [&](Size i, auto count) { store_first(to + i, load_first(to + i, count, T(0)) * scale, count); });
  });
}

template <class T>
void softmax_backward(Cpu, Size rows, Size n, const T* dy, const T* y, T* dx) {
  parallel_rows(rows, 2 * n, [&](Size row) {
    const Size start = row * n;
    const T dot = row_sum<T>(n, [&](Size i, auto count) {
      return load_first(dy + start + i, count, T(0)) * load_first(y + start + i, count, T(0));
    });
    for_each_register<T>(n, [&](Size i, auto count) {
      const Vector<T> gradient = load_first(dy + start + i, count, T(0)) - dot;
      store_first(dx + start + i, load_first(y + start + i, count, T(0)) * gradient, count);
    });
  });
}

template <class T>
void log_softmax(Cpu, Size rows, Size n, const T* x, T* y) {
  parallel_rows(rows, n * exp_cost, [&](Size row) {
    const T* from = x + row * n;
    const T logarithm = log_sum_exp(n, from);
    const T shift = logarithm == -infinity<T> ? T(0) : logarithm;  // -infinity: everything is masked, and stays so
    for_each_register<T>(
        n, [&](Size i, auto count) { store_first(y + row * n + i, load_first(from + i, count, T(0)) - shift, count); });
  });
}

template <class T>
void log_softmax_backward(Cpu, Size rows, Size n, const T* dy, const T* y, T* dx) {
  parallel_rows(rows, n * exp_cost, [&](Size row) {
    const Size start = row * n;
    const T sum = row_sum(n, dy + start);
    for_each_register<T>(n, [&](Size i, auto count) {
      const Vector<T> probability = exp_or_zero(load_first(y + start + i, count, T(0)));
      store_first(dx + start + i, load_first(dy + start + i, count, T(0)) - probability * sum, count);
    });
  });
}

template void softmax(Cpu, Size, Size, const float*, float*);
template void softmax(Cpu, Size, Size, const double*, double*);
template void softmax_backward(Cpu, Size, Size, const float*, const float*, float*);
template void softmax_backward(Cpu, Size, Size, const double*, const double*, double*);
template void log_softmax(Cpu, Size, Size, const float*, float*);
template void log_softmax(Cpu, Size, Size, const double*, double*);
template void log_softmax_backward(Cpu, Size, Size, const float*, const float*, float*);
template void log_softmax_backward(Cpu, Size, Size, const double*, const double*, double*);

}  // namespace headshare::kernels
