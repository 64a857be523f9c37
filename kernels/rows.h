#pragma once

#include <cmath>
#include <limits>
#include <type_traits>

#include "core/size.h"
#include "kernels/prefetch.h"
#include "kernels/vector.h"

// Loops over one row of n elements, a register at a time. A row is read several times here without regret: after the
// first time it lies in the nearest cache, and the trip to memory was the expensive part.
namespace headshare::kernels {

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();

// body(i, count) for i = 0, lanes, 2 lanes, ...: the register holds elements i .. i + count - 1, to be read with
// load_first and written with store_first. count is a compile-time constant except in the last, partial register, so
// that these two become single instructions.
template <class T, class Body>
inline void for_each_register(Size n, const Body& body) {
  constexpr std::integral_constant<Size, lanes<T>> full;
  Size i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) body(i, full);
  if (i < n) body(i, n - i);
}

// Combines term(i, count) of all registers, starting from `start` in every lane. Four results grow side by side: each
// combination would otherwise wait for the one before it.
template <class T, class Term, class Combine>
inline Vector<T> combine_registers(Size n, T start, const Term& term, const Combine& combine) {
  constexpr std::integral_constant<Size, lanes<T>> full;
  Vector<T> a = Vector<T>{} + start, b = a, c = a, d = a;
  Size i = 0;
  for (; i + 4 * lanes<T> <= n; i += 4 * lanes<T>) {
    a = combine(a, term(i, full));
    b = combine(b, term(i + lanes<T>, full));
    c = combine(c, term(i + 2 * lanes<T>, full));
    d = combine(d, term(i + 3 * lanes<T>, full));
  }
  for (; i + lanes<T> <= n; i += lanes<T>) a = combine(a, term(i, full));
  if (i < n) a = combine(a, term(i, n - i));
  return combine(combine(a, b), combine(c, d));
}

// The sum of term(i, count) over the row; a partial register's unused lanes must be 0.
template <class T, class Term>
inline T row_sum(Size n, const Term& term) {
  return sum_of_lanes<T>(combine_registers<T>(n, T(0), term, [](Vector<T> a, Vector<T> b) { return a + b; }));
}

template <class T>
inline T row_sum(Size n, const T* x) {
  return row_sum<T>(n, [x](Size i, auto count) { return load_first(x + i, count, T(0)); });
}

// The largest element, -infinity when there is none; NaN when there is a NaN (a plain comparison would lose it).
template <class T>
inline T row_max(Size n, const T* x) {
  const Vector<T> best = combine_registers<T>(
      n, -infinity<T>, [x](Size i, auto count) { return load_first(x + i, count, -infinity<T>); },
      [](Vector<T> a, Vector<T> b) { return ((b > a) | (b != b)) ? b : a; });
  T result = best[0];
  for (Size i = 1; i < lanes<T>; ++i) {
    if (best[i] > result || best[i] != best[i]) result = best[i];
  }
  return result;
}

// What softmax subtracts from a row before exp. Of a row of only -infinity that is 0: infinity minus infinity is NaN.
template <class T>
inline T softmax_shift(Size n, const T* x) {
  const T largest = row_max(n, x);
  return largest == -infinity<T> ? T(0) : largest;
}

// log sum_i exp(x_i); -infinity for a row of only -infinity, NaN when there is a NaN or +infinity. Exponentials take so
// long that the row behind this one, if it is asked for meanwhile, is there when they are done.
template <class T>
inline T log_sum_exp(Size n, const T* x) {
  const T shift = softmax_shift(n, x);
  return shift + std::log(row_sum<T>(n, [n, x, shift](Size i, auto count) {
           prefetch<first_cache>(x, n + i);
           return exp_or_zero(load_first(x + i, count, -infinity<T>) - shift);
         }));
}

}  // namespace headshare::kernels
