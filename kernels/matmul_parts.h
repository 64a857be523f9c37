#pragma once

#include <algorithm>

#include "core/size.h"
#include "kernels/gelu.h"
#include "kernels/matmul.h"
#include "kernels/vector.h"

// What the processor's products share, whoever multiplies: how work is cut into parts and given to threads, one product
// as a thing that can be cut by columns, and how a finished rectangle of C gets its bias and activation.
namespace headshare::kernels {

constexpr Size divide_up(Size a, Size b) { return (a + b - 1) / b; }

struct Range {
  Size begin, end;
  Size count() const { return end - begin; }
};

// Part i when 0 .. total is cut into `parts` parts that are as equal as whole units allow.
inline Range part(Size i, Size parts, Size total, Size unit) {
  const Size units = divide_up(total, unit);
  return {std::min(total, units * i / parts * unit), std::min(total, units * (i + 1) / parts * unit)};
}

// body(i) for every i, on up to `threads` threads.
template <class Body>
void for_each(Size threads, Size count, const Body& body) {
  if (threads == 1 || count == 1) {
    for (Size i = 0; i < count; ++i) body(i);
    return;
  }
  [[maybe_unused]] const int team = static_cast<int>(threads);  // Clang overlooks their use in the next lines
  if (count == threads) {  // the same thread gets the same part at every call: what it reads is in its own cache
#pragma omp parallel for num_threads(team) schedule(static)
    for (Size i = 0; i < count; ++i) body(i);
    return;
  }
  [[maybe_unused]] const Size chunk = std::max(Size{1}, count / (16 * threads));
#pragma omp parallel for num_threads(team) schedule(dynamic, chunk)
  for (Size i = 0; i < count; ++i) body(i);
}

// One product of the batch, or some of its columns.
template <class T>
struct Product {
  Size m, n, k;
  MatrixView<T> a, b;
  const T* packed_b;  // all panels of B; null: whoever needs a panel packs it from b
  T* c;
  Size c_stride;  // between the rows of C and of before_activation
  Epilogue<T> epilogue;

  // Where packed_b is used, range begins with a panel.
  Product columns(Range range) const {
    Product p = *this;
    p.n = range.count();
    if (packed_b != nullptr)
      p.packed_b += range.begin * k;
    else
      p.b.data += range.begin * b.column_stride;
    p.c += range.begin;
    if (p.epilogue.bias != nullptr) p.epilogue.bias += range.begin;
    if (p.epilogue.before_activation != nullptr) p.epilogue.before_activation += range.begin;
    return p;
  }
};

template <class T>
Vector<T> activate(Activation activation, Vector<T> x) {
  if (activation == Activation::relu) return x < Vector<T>{} ? Vector<T>{} : x;  // in this order NaN stays NaN
  if (activation == Activation::gelu) return gelu(x);
  return x;
}

// A rectangle of C whose sums, or their last part, lie in a buffer.
struct Place {
  Size row, column, rows, columns;
};

struct KBlock {
  bool first, last;
};

// C = sums, or C + sums where earlier blocks of k left their part; after the last block bias and activation follow.
// After the last block, whether all elements were finite before the activation, which can hide that they were not;
// after others, true.
template <class T>
bool finish(const Product<T>& p, const Place& place, const KBlock& block, const T* sums, Size sums_stride) {
  const Epilogue<T>& epilogue = p.epilogue;
  Vector<T> zeros{};  // or NaN, which infinity and NaN become times 0
  for (Size i = 0; i < place.rows; ++i) {
    const Size offset = (place.row + i) * p.c_stride + place.column;
    for (Size j = 0; j < place.columns; j += lanes<T>) {
      const Size n = std::min(lanes<T>, place.columns - j);
      const auto load_n = [n](const T* from) { return n == lanes<T> ? load(from) : load_first(from, n, T{0}); };
      const auto store_n = [n](T* to, Vector<T> x) { n == lanes<T> ? store(to, x) : store_first(to, x, n); };
      Vector<T> x = load(sums + i * sums_stride + j);
      if (!block.first) x += load_n(p.c + offset + j);
      if (block.last) {
        if (epilogue.bias != nullptr) x += load_n(epilogue.bias + place.column + j);
        if (epilogue.before_activation != nullptr) store_n(epilogue.before_activation + offset + j, x);
        zeros += T{0} * x;
        x = activate<T>(epilogue.activation, x);
      }
      store_n(p.c + offset + j, x);
    }
  }
  return sum_of_lanes<T>(zeros) == 0;
}

// Asks for the place in a matrix like C where a tile will be stored: what is asked for before the tile is computed is
// there after it.
template <class T>
void expect(T* matrix, Size stride, const Place& place) {
  for (Size i = 0; i < place.rows; ++i)
    for (Size j = 0; j < place.columns; j += lanes<T>)
      __builtin_prefetch(matrix + (place.row + i) * stride + place.column + j, 1);
}

// The kept values are a second stream of stores, more than the processor holds back while it waits for their lines.
template <class T>
void expect_kept_values(const Product<T>& p, const Place& place) {
  if (p.epilogue.before_activation != nullptr) expect(p.epilogue.before_activation, p.c_stride, place);
}

}  // namespace headshare::kernels
