#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "kernels/attention.h"
#include "tests/test_device.h"

// What the tests of the attention kernels share: random problems in every memory layout, the definition of attention
// and of its gradients in plain loops, and running the kernels.
namespace headshare::kernels::attention_test {

using test::Array;
using test::on_device;

using Order = AttentionMask::Order;

// A number in another type; bfloat16 has ways from and to float alone.
template <class To, class From>
To number_as(From x) {
  if constexpr (std::is_same_v<From, BFloat16> && !std::is_same_v<To, BFloat16>)
    return static_cast<To>(static_cast<float>(x));
  else
    return static_cast<To>(x);
}

// Heads in a vector that ends exactly at the last element used, so that the address sanitizer sees the first step too
// far. Elements between the heads (strides larger than need be) hold NaN: reading one shows in the result, and writing
// one is checked.
template <class T>
struct Heads {
  Size batch, positions, heads, depth;
  Size batch_stride, position_stride, head_stride;
  Array<T> data;

  Size at(Size b, Size position, Size head, Size d) const {
    return b * batch_stride + position * position_stride + head * head_stride + d;
  }
  T& operator()(Size b, Size position, Size head, Size d) {
    return data[static_cast<std::size_t>(at(b, position, head, d))];
  }
  T operator()(Size b, Size position, Size head, Size d) const {
    return data[static_cast<std::size_t>(at(b, position, head, d))];
  }
  HeadsView<T> view() { return {data.data(), batch_stride, position_stride, head_stride}; }
  HeadsView<const T> view() const { return {data.data(), batch_stride, position_stride, head_stride}; }
  template <class Visit>
  void for_each(Visit visit) const {
    for (Size b = 0; b < batch; ++b)
      for (Size p = 0; p < positions; ++p)
        for (Size h = 0; h < heads; ++h)
          for (Size d = 0; d < depth; ++d) visit(b, p, h, d);
  }
};

// What stands between heads in memory: nothing; at the end of each position 5 numbers of something else, or 16, with
// which heads may still lie on whole 16 bytes; room for more positions.
enum class Layout { positions_first, joint_projection, aligned_projection, cache };

template <class T>
Heads<T> make_heads(Size batch, Size positions, Size heads, Size depth, Layout layout) {
  Heads<T> h{batch, positions, heads, depth, 0, 0, 0, {}};
  if (layout == Layout::cache) {  // [B, G, capacity, D]
    const Size capacity = positions + 3;
    h.position_stride = depth, h.head_stride = capacity * depth, h.batch_stride = heads * h.head_stride;
  } else {  // [B, T, H, D], or the first part of rows that hold something else behind it
    const Size behind = layout == Layout::joint_projection ? 5 : layout == Layout::aligned_projection ? 16 : 0;
    h.head_stride = depth, h.position_stride = heads * depth + behind;
    h.batch_stride = positions * h.position_stride;
  }
  const Size last = h.at(batch - 1, positions - 1, heads - 1, depth - 1);
  h.data.assign(static_cast<std::size_t>(last + 1), number_as<T>(std::numeric_limits<float>::quiet_NaN()));
  return h;
}

// Numbers that float32 holds exactly: one double reference serves both types.
template <class T>
void fill(Heads<T>& h, Generator& generator) {
  h.for_each(
      [&](Size b, Size p, Size n, Size d) { h(b, p, n, d) = static_cast<T>(static_cast<float>(generator.normal())); });
}

template <class To, class From>
Heads<To> converted(const Heads<From>& from) {
  Heads<To> to{from.batch,        from.positions,       from.heads,       from.depth,
               from.batch_stride, from.position_stride, from.head_stride, Array<To>(from.data.size())};
  std::transform(from.data.begin(), from.data.end(), to.data.begin(), number_as<To, From>);
  return to;
}

template <class T>
struct Problem {
  AttentionSizes sizes;
  Order order = Order::any;
  Array<std::int32_t> lengths;  // empty: nothing is padding
  Heads<T> query, key, value;
  Size window = 0;

  AttentionMask mask() const { return {lengths.empty() ? nullptr : lengths.data(), order, window}; }
};

inline Problem<double> make_problem(AttentionSizes sizes, Order order, Array<std::int32_t> lengths = {},
                                    Layout layout = Layout::positions_first) {
  const auto [B, T, S, H, G, D] = sizes;
  const Layout query_layout = layout == Layout::cache ? Layout::positions_first : layout;
  Problem<double> p{sizes,
                    order,
                    std::move(lengths),
                    make_heads<double>(B, T, H, D, query_layout),
                    make_heads<double>(B, S, G, D, layout),
                    make_heads<double>(B, S, G, D, layout)};
  Generator generator(7, static_cast<std::uint64_t>(T * 1000 + S * 10 + D));
  fill(p.query, generator), fill(p.key, generator), fill(p.value, generator);
  return p;
}

// To numbers that bfloat16 holds exactly.
inline void round_to_bfloat16(Heads<double>& heads) {
  for (double& x : heads.data) x = number_as<double>(BFloat16(x));
}
inline Problem<double> bfloat16_problem(AttentionSizes sizes, Order order, Array<std::int32_t> lengths = {},
                                        Layout layout = Layout::positions_first) {
  Problem<double> p = make_problem(sizes, order, std::move(lengths), layout);
  for (Heads<double>* heads : {&p.query, &p.key, &p.value}) round_to_bfloat16(*heads);
  return p;
}

inline Problem<double> with_window(Problem<double> p, Size window) {
  p.window = window;
  return p;
}

template <class T>
Problem<T> problem_in(const Problem<double>& p) {
  return {p.sizes, p.order, p.lengths, converted<T>(p.query), converted<T>(p.key), converted<T>(p.value), p.window};
}
inline Problem<float> to_float(const Problem<double>& p) { return problem_in<float>(p); }

template <class T>
struct Result {
  Heads<T> output;
  Array<Wide<T>> log_sum_exp;  // [B, H, T]
  Array<T> weights;            // [B, H, T, S]
};

template <class T>
Result<T> empty_result(const Problem<T>& p, Layout layout = Layout::joint_projection) {
  const auto [B, T_, S, H, G, D] = p.sizes;
  return {make_heads<T>(B, T_, H, D, layout), Array<Wide<T>>(static_cast<std::size_t>(B * H * T_)),
          Array<T>(static_cast<std::size_t>(B * H * T_ * S), T{-1})};
}

template <class T>
Result<T> run(const Problem<T>& p) {
  Result<T> r = empty_result(p);
  on_device([&](auto device) {
    attention<T>(device, p.sizes, p.mask(), p.query.view(), p.key.view(), p.value.view(), r.output.view(),
                 r.log_sum_exp.data());
  });
  on_device([&](auto device) {
    attention_weights<T>(device, p.sizes, p.mask(), p.query.view(), p.key.view(), r.weights.data());
  });
  return r;
}

template <class T>
bool sees(const Problem<T>& p, Size b, Size t, Size s) {
  if (!p.lengths.empty() && s >= p.lengths[static_cast<std::size_t>(b)]) return false;
  if (p.order == Order::any) return true;
  const Size own = t + p.sizes.sources - p.sizes.targets;
  return s <= own && (p.window == 0 || s > own - p.window);
}

// The definition, in plain loops, all arithmetic in T.
template <class T>
Result<T> plain(const Problem<T>& p) {
  const auto [B, T_, S, H, G, D] = p.sizes;
  Result<T> r = empty_result(p);
  for (Size b = 0; b < B; ++b)
    for (Size h = 0; h < H; ++h)
      for (Size t = 0; t < T_; ++t) {
        const Size g = h / (H / G);
        const Size row = (b * H + h) * T_ + t;
        T* weights = r.weights.data() + row * S;
        T max = -std::numeric_limits<T>::infinity();
        for (Size s = 0; s < S; ++s) {
          weights[s] = 0;
          if (!sees(p, b, t, s)) continue;
          for (Size d = 0; d < D; ++d) weights[s] += p.query(b, t, h, d) * p.key(b, s, g, d);
          weights[s] /= std::sqrt(static_cast<T>(D));
          max = std::max(max, weights[s]);
        }
        T sum = 0;
        for (Size s = 0; s < S; ++s)
          if (sees(p, b, t, s)) sum += weights[s] = std::exp(weights[s] - max);
        for (Size s = 0; s < S; ++s)
          if (sees(p, b, t, s)) weights[s] /= sum;
        r.log_sum_exp[static_cast<std::size_t>(row)] = max + std::log(sum);
        for (Size d = 0; d < D; ++d) {
          T output = 0;
          for (Size s = 0; s < S; ++s)
            if (sees(p, b, t, s)) output += weights[s] * p.value(b, s, g, d);
          r.output(b, t, h, d) = output;
        }
      }
  return r;
}

template <class T>
struct Gradients {
  Heads<T> query, key, value;
};

template <class T>
Gradients<T> run_backward(const Problem<T>& p, const Heads<T>& d_output) {
  const Result<T> r = run(p);
  const auto [B, T_, S, H, G, D] = p.sizes;
  Gradients<T> g{make_heads<T>(B, T_, H, D, Layout::joint_projection), make_heads<T>(B, S, G, D, Layout::cache),
                 make_heads<T>(B, S, G, D, Layout::joint_projection)};
  on_device([&](auto device) {
    attention_backward<T>(device, p.sizes, p.mask(), p.query.view(), p.key.view(), p.value.view(), r.output.view(),
                          r.log_sum_exp.data(), d_output.view(), g.query.view(), g.key.view(), g.value.view());
  });
  return g;
}

// The chain rule in plain loops, all arithmetic in T.
template <class T>
Gradients<T> plain_backward(const Problem<T>& p, const Heads<T>& d_output) {
  const auto [B, T_, S, H, G, D] = p.sizes;
  const Result<T> r = plain(p);
  Gradients<T> g{make_heads<T>(B, T_, H, D, Layout::joint_projection), make_heads<T>(B, S, G, D, Layout::cache),
                 make_heads<T>(B, S, G, D, Layout::joint_projection)};
  const T scale = 1 / std::sqrt(static_cast<T>(D));
  g.query.for_each([&](Size b, Size t, Size h, Size d) { g.query(b, t, h, d) = 0; });
  g.key.for_each([&](Size b, Size s, Size n, Size d) { g.key(b, s, n, d) = g.value(b, s, n, d) = 0; });
  for (Size b = 0; b < B; ++b)
    for (Size h = 0; h < H; ++h)
      for (Size t = 0; t < T_; ++t) {
        const Size n = h / (H / G);
        const T* weights = r.weights.data() + ((b * H + h) * T_ + t) * S;
        Array<T> d_weights(static_cast<std::size_t>(S));
        T sum = 0;
        for (Size s = 0; s < S; ++s) {
          T& dw = d_weights[static_cast<std::size_t>(s)];
          for (Size d = 0; d < D; ++d) dw += d_output(b, t, h, d) * p.value(b, s, n, d);
          sum += weights[s] * dw;
        }
        for (Size s = 0; s < S; ++s) {
          const T d_score = weights[s] * (d_weights[static_cast<std::size_t>(s)] - sum) * scale;
          for (Size d = 0; d < D; ++d) {
            g.value(b, s, n, d) += weights[s] * d_output(b, t, h, d);
            g.query(b, t, h, d) += d_score * p.key(b, s, n, d);
            g.key(b, s, n, d) += d_score * p.query(b, t, h, d);
          }
        }
      }
  return g;
}

inline Heads<double> random_upstream(const Problem<double>& p) {
  Heads<double> d_output =
      make_heads<double>(p.sizes.batch, p.sizes.targets, p.sizes.heads, p.sizes.head_size, Layout::positions_first);
  Generator generator(11);
  fill(d_output, generator);
  return d_output;
}

// The largest difference; where one side has no finite number, the other must have the same.
template <class A, class B>
double largest_difference(const Array<A>& a, const Array<B>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = number_as<double>(a[i]), y = number_as<double>(b[i]);
    if (std::isnan(x) && std::isnan(y)) continue;  // both untouched
    if (x == y) continue;
    const double difference = std::abs(x - y);
    largest = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(largest, difference);
  }
  return largest;
}

inline std::string describe(const Problem<double>& p) {
  const auto [B, T, S, H, G, D] = p.sizes;
  return text("B ", B, " T ", T, " S ", S, " H ", H, " G ", G, " D ", D, p.order == Order::causal ? " causal" : "",
              p.lengths.empty() ? "" : " lengths", p.window == 0 ? "" : text(" window ", p.window));
}

}  // namespace headshare::kernels::attention_test
