#include "kernels/elementwise.h"

#include "kernels/gelu.h"
#include "kernels/parallel.h"
#include "kernels/pieces.h"
#include "kernels/rows.h"
#include "kernels/vector.h"

namespace headshare::kernels {

namespace {

// The functions that call std::exp, on a whole register: no compiler may do that by itself. Everything else it
// vectorizes from the scalar function.
Vector<float> on_register(Exp, Vector<float> x) {
  for (Size i = 0; i < lanes<float>; ++i) {
    if (std::abs(x[i]) > 87.0f) {  // outside the range of the register's exp; rare, so it may be slow
      for (Size k = 0; k < lanes<float>; ++k) x[k] = std::exp(x[k]);
      return x;
    }
  }
  return exp(x);
}
Vector<float> on_register(Sigmoid, Vector<float> x) { return 1.0f / (1.0f + exp(-x)); }
Vector<float> on_register(Gelu, Vector<float> x) { return gelu(x); }
Vector<float> on_register(GeluBackward, Vector<float> x, Vector<float> dy) {
  return dy * (normal_distribution(x) + x * (0.398942280f * exp_or_zero(-0.5f * x * x)));
}

template <class Op, class T, class... Operands>
concept HasRegisterForm = requires(Vector<T> v, const Operands*... operands) {
  on_register(Op{}, (static_cast<void>(operands), v)...);
};

// Those that call the library for each number: no compiler makes a vector loop of that.
template <class Op>
constexpr bool calls_library = false;
template <>
constexpr bool calls_library<Exp> = true;
template <>
constexpr bool calls_library<Log> = true;
template <>
constexpr bool calls_library<Tanh> = true;
template <>
constexpr bool calls_library<Sigmoid> = true;
template <>
constexpr bool calls_library<Gelu> = true;
template <>
constexpr bool calls_library<GeluBackward> = true;

// y[i] = value(i). y may be what value reads: each element is read before it is written, which `omp simd`
// tells the compiler.
template <class Op, class T, class Value>
void write_each(Size n, T* y, const Value& value) {
  if constexpr (calls_library<Op>) {
    for (Size i = 0; i < n; ++i) y[i] = value(i);
  } else {
#pragma omp simd
    for (Size i = 0; i < n; ++i) y[i] = value(i);
  }
}

template <class Op, class T, class... Operands>
void map_block(Size n, T* y, const Operands*... operands) {
  if constexpr (std::is_same_v<T, float> && HasRegisterForm<Op, T, Operands...>) {
    for_each_register<T>(n, [&](Size i, auto count) {
      store_first(y + i, on_register(Op{}, load_first(operands + i, count, T(0))...), count);
    });
  } else {
    write_each<Op>(n, y, [=](Size i) { return Op{}(operands[i]...); });
  }
}

// One row whose operands advance by these strides. The usual ones are written out, so that each becomes a vector loop.
template <class Op, class T>
void map_row(Size n, const T* a, Size a_stride, const T* b, Size b_stride, T* y) {
  if (a_stride == 1 && b_stride == 1) {
    map_block<Op>(n, y, a, b);
  } else if (a_stride == 1 && b_stride == 0) {
    write_each<Op>(n, y, [a, repeated = *b](Size i) { return Op{}(a[i], repeated); });
  } else if (a_stride == 0 && b_stride == 1) {
    write_each<Op>(n, y, [b, repeated = *a](Size i) { return Op{}(repeated, b[i]); });
  } else {
    for (Size i = 0; i < n; ++i) y[i] = Op{}(a[i * a_stride], b[i * b_stride]);
  }
}

}  // namespace

template <class Op, class T>
void map(Cpu, Size n, const T* x, T* y) {
  parallel_blocks(n, 1, [&](Size first, Size count) { map_block<Op>(count, y + first, x + first); });
}

template <class Op, class T>
void map(Cpu, Size n, const T* a, const T* b, T* y) {
  parallel_blocks(n, 1, [&](Size first, Size count) { map_block<Op>(count, y + first, a + first, b + first); });
}

template <class Op, class T>
void map(Cpu, const BroadcastSizes& sizes, const T* a, const T* b, T* y) {
  if (element_count(sizes.rank, sizes.extents) == 0) return;
  const Strided<3> strided = simplify(Strided<3>{
      sizes.rank, sizes.extents, {sizes.a_strides, sizes.b_strides, contiguous_strides(sizes.rank, sizes.extents)}});
  const auto stride = [&](int operand, int from_last) { return strided.strides[operand][strided.rank - from_last]; };
  for_each_piece(strided, Pieces::long_rows, [&](const std::array<Size, 3>& offsets, Size rows, Size columns) {
    for (Size row = 0; row < rows; ++row)
      map_row<Op>(columns, a + offsets[0] + row * stride(0, 2), stride(0, 1), b + offsets[1] + row * stride(1, 2),
                  stride(1, 1), y + offsets[2] + row * stride(2, 2));
  });
}

template <class T>
void affine(Cpu, Size n, const T* x, Wide<T> scale, Wide<T> shift, T* y) {
  parallel_blocks(n, 1, [&](Size first, Size count) {
#pragma omp simd
    for (Size i = first; i < first + count; ++i) y[i] = scale * x[i] + shift;
  });
}

using Here = Cpu;

}  // namespace headshare::kernels

#include "kernels/elementwise_instances.h"
