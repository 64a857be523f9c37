#include "kernels/attention_ladder.h"
#include "tests/gpu/benchmark.h"

// Attention of whole sentences, whose peer is measured by against_pytorch.py, and of one token against full caches,
// which can be no faster than reading them.
namespace headshare::gpu_benchmarks {
namespace {

using namespace kernels;

template <class T>
HeadsView<T> view(const Tensor& x) {
  return {x.data<std::remove_const_t<T>>(), x.stride(0), x.stride(1), x.stride(2)};
}

struct Problem {
  AttentionSizes sizes;
  AttentionMask::Order order;

  // Query-key pairs of all heads; a causal mask leaves half of them.
  double pairs() const {
    const auto& [B, T, S, H, G, D] = sizes;
    const double all = static_cast<double>(B * H * T) * static_cast<double>(S);
    return order == AttentionMask::Order::causal ? all / 2 : all;
  }
  double flops() const { return 4 * pairs() * static_cast<double>(sizes.head_size); }  // two products
  std::string name() const {
    const auto& [B, T, S, H, G, D] = sizes;
    return text("B ", B, " T ", T, " H ", H, " G ", G, " D ", D,
                order == AttentionMask::Order::causal ? " causal" : "");
  }
};

// All that forward and backward read and write, in the order in which projections leave it.
struct Operands {
  Tensor q, k, v, output, d_output, dq, dk, dv;  // [B, T, H, D], keys and values [B, T, G, D]
  Tensor log_sum_exp;                            // [B, H, T]

  Operands(const AttentionSizes& sizes, ElementType type)
      : q(random_tensor({sizes.batch, sizes.targets, sizes.heads, sizes.head_size}, type)),
        k(random_tensor({sizes.batch, sizes.sources, sizes.kv_heads, sizes.head_size}, type)),
        v(random_tensor(k.shape(), type)),
        output(empty_like(q)),
        d_output(random_tensor(q.shape(), type)),
        dq(empty_like(q)),
        dk(empty_like(k)),
        dv(empty_like(v)),
        log_sum_exp({sizes.batch, sizes.heads, sizes.targets}, {ElementType::float32, Device::cuda}) {}

  double bytes() const { return static_cast<double>(2 * q.bytes() + k.bytes() + v.bytes()); }
};

// Either kernel, with the arguments that it must have.
template <class T>
using Forward = std::function<void(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const T>,
                                   HeadsView<const T>, HeadsView<const T>, HeadsView<T>, float*)>;
template <class T>
using Backward = std::function<void(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const T>,
                                    HeadsView<const T>, HeadsView<const T>, HeadsView<const T>, const float*,
                                    HeadsView<const T>, HeadsView<T>, HeadsView<T>, HeadsView<T>)>;

template <class T>
std::function<void()> forward_work(const Problem& problem, const Operands& x, const Forward<T>& kernel) {
  return [=] {
    kernel(cuda(), problem.sizes, {.order = problem.order}, view<const T>(x.q), view<const T>(x.k), view<const T>(x.v),
           view<T>(x.output), x.log_sum_exp.template data<float>());
  };
}

// The same in float32, by other kernels.
struct Wanted {
  Operands x;

  Wanted(const Problem& problem, const Operands& rounded) : x(problem.sizes, ElementType::float32) {
    for (const auto& [from, to] :
         {std::pair{&rounded.q, &x.q}, {&rounded.k, &x.k}, {&rounded.v, &x.v}, {&rounded.d_output, &x.d_output}})
      to->copy_from(from->to(ElementType::float32));
    forward_work<float>(problem, x, [](auto... arguments) { attention_fused<float>(arguments...); })();
  }
};

template <class T>
Case forward_case(const std::string& name, const Problem& problem, const Forward<T>& kernel) {
  return {"attention", name, problem.name(), "", [=]() -> Prepared {
            const Operands x(problem.sizes, element_type_of<T>);
            Prepared prepared{
                .work = stopwatch(forward_work<T>(problem, x, kernel)), .flops = problem.flops(), .bytes = x.bytes()};
            if (std::is_same_v<T, BFloat16>)
              prepared.check = [=] {
                const Wanted wanted(problem, x);
                expect_close("the output", x.output, wanted.x.output, 0.02);
                expect_close("log_sum_exp", x.log_sum_exp, wanted.x.log_sum_exp, 0.001);
              };
            return prepared;
          }};
}

template <class T>
std::function<void()> backward_work(const Problem& problem, const Operands& x, const Backward<T>& kernel) {
  return [=] {
    kernel(cuda(), problem.sizes, {.order = problem.order}, view<const T>(x.q), view<const T>(x.k), view<const T>(x.v),
           view<const T>(x.output), x.log_sum_exp.template data<float>(), view<const T>(x.d_output), view<T>(x.dq),
           view<T>(x.dk), view<T>(x.dv));
  };
}

// Five products: the scores once more, and one each for dv, the gradient of the weights, dq and dk.
template <class T>
Case backward_case(const std::string& name, const Problem& problem, const Forward<T>& forward,
                   const Backward<T>& kernel) {
  return {"attention", name, problem.name(), "", [=]() -> Prepared {
            const Operands x(problem.sizes, element_type_of<T>);
            forward_work<T>(problem, x, forward)();
            Prepared prepared{.work = stopwatch(backward_work<T>(problem, x, kernel)),
                              .flops = 2.5 * problem.flops(),
                              .bytes = 2 * x.bytes()};
            if (std::is_same_v<T, BFloat16>)
              prepared.check = [=] {
                const Wanted wanted(problem, x);
                backward_work<float>(problem, wanted.x,
                                     [](auto... arguments) { attention_backward<float>(arguments...); })();
                expect_close("d_query", x.dq, wanted.x.dq, 0.03);
                expect_close("d_key", x.dk, wanted.x.dk, 0.03);
                expect_close("d_value", x.dv, wanted.x.dv, 0.03);
              };
            return prepared;
          }};
}

Case composed_case(const Problem& problem) {
  return {"attention", "attention_composed fp32", problem.name(), "", [=]() -> Prepared {
            const Operands x(problem.sizes, ElementType::float32);
            const auto& [B, T, S, H, G, D] = problem.sizes;
            const Tensor scores({B, H, T, S}, {ElementType::float32, Device::cuda});
            const auto work = [=] {
              attention_composed<float>(cuda(), problem.sizes, {.order = problem.order}, view<const float>(x.q),
                                        view<const float>(x.k), view<const float>(x.v), view<float>(x.output),
                                        scores.data<float>());
            };
            return {.work = stopwatch(work),
                    .flops = problem.flops(),
                    .bytes = x.bytes() + 4 * static_cast<double>(scores.bytes())};
          }};
}

}  // namespace

std::vector<Case> attention_cases(Scale scale) {
  using Order = AttentionMask::Order;
  const bool full = scale == Scale::full;
  const Size H = full ? 16 : 8, tokens = full ? 16384 : 64;
  const std::vector<Size> lengths = full ? std::vector<Size>{1024, 2048, 4096, 8192} : std::vector<Size>{32};
  const Forward<BFloat16> forward = [](auto... x) { attention_tensor_core(x...); };
  const Backward<BFloat16> backward = [](auto... x) { attention_backward_tensor_core(x...); };
  std::vector<Case> cases;
  for (const Size D : {64, 128})
    for (const Order order : {Order::causal, Order::any})
      for (const Size T : lengths)
        for (const Size G : {H, H / 4, Size{1}}) {
          const Problem problem{{tokens / T, T, T, H, G, D}, order};
          cases.push_back(forward_case("attention_tensor_core bf16", problem, forward));
          cases.push_back(backward_case("attention_backward_tensor_core bf16", problem, forward, backward));
        }

  const Forward<float> forward_fp32 = [](auto... x) { attention_fused<float>(x...); };
  const Backward<float> backward_fp32 = [](auto... x) { attention_backward<float>(x...); };
  for (const Size D : {64, 128})
    for (const Size G : {H, H / 4}) {
      const Size T = full ? 2048 : 32;
      const Problem problem{{2, T, T, H, G, D}, Order::causal};
      cases.push_back(forward_case("attention_fused fp32", problem, forward_fp32));
      cases.push_back(backward_case("attention_backward fp32", problem, forward_fp32, backward_fp32));
      cases.push_back(composed_case(problem));
    }
  return cases;
}

// ---- One new token of every sentence --------------------------------------------------------------------------------

namespace {

template <class T, class Stored>
using Decode = std::function<void(Cuda, const AttentionSizes&, const AttentionMask&, HeadsView<const T>,
                                  HeadsView<const Stored>, HeadsView<const Stored>, HeadsView<T>)>;

// A cache as decoding keeps it, [B, G, S, D], and beside int8 a scale for each head.
template <class Stored>
struct Cache {
  Tensor numbers, scales;

  explicit Cache(const AttentionSizes& x)
      : numbers(random_tensor({x.batch, x.kv_heads, x.sources, x.head_size}, element_type_of<Stored>)) {
    if (std::is_same_v<Stored, std::int8_t>)
      scales = full({x.batch, x.kv_heads, x.sources}, 0.01, {ElementType::float32, Device::cuda});
  }
  HeadsView<const Stored> view() const {
    return {numbers.data<Stored>(), numbers.stride(0), numbers.stride(2), numbers.stride(1),
            scales.defined() ? scales.data<float>() : nullptr};
  }
  double bytes() const { return static_cast<double>(numbers.bytes() + (scales.defined() ? scales.bytes() : 0)); }
};

template <class T, class Stored>
Case decode_case(const std::string& kernel, const AttentionSizes& sizes, const Decode<T, Stored>& decode) {
  const auto& [B, T_, S, H, G, D] = sizes;
  const std::string size = text("B ", B, " S ", S, " H ", H, " G ", G, " D ", D, ", query ", name(element_type_of<T>),
                                ", cache ", name(element_type_of<Stored>));
  return {"decode_attention", kernel, size, "", [=]() -> Prepared {
            const Tensor query = random_tensor({sizes.batch, 1, sizes.heads, sizes.head_size}, element_type_of<T>),
                         output = empty_like(query);
            const Cache<Stored> key(sizes), value(sizes);
            const auto work = [=] {
              decode(cuda(), sizes, {}, view<const T>(query), key.view(), value.view(), view<T>(output));
            };
            const auto check = [=] {
              const Tensor wanted = empty_like(output);
              decode_attention_per_head<T, Stored>(cuda(), sizes, {}, view<const T>(query), key.view(), value.view(),
                                                   view<T>(wanted));
              expect_close("the output", output, wanted, std::is_same_v<T, BFloat16> ? 0.01 : 1e-3);
            };
            return {.work = stopwatch(work),
                    .flops = 4 * static_cast<double>(sizes.batch * sizes.heads * sizes.sources * sizes.head_size),
                    .bytes = key.bytes() + value.bytes(),
                    .check = check};
          }};
}

// The way that decoding takes, and those that it chooses from.
template <class T, class Stored>
void add_ways(const AttentionSizes& sizes, std::vector<Case>& cases) {
  const auto add = [&](const char* name, const Decode<T, Stored>& way) {
    cases.push_back(decode_case<T, Stored>(name, sizes, way));
  };
  add("decode_attention", [](auto... x) { decode_attention<T, Stored>(x..., nullptr); });
  add("decode_attention_per_group", [](auto... x) { decode_attention_per_group<T, Stored>(x..., nullptr); });
  if (sizes.kv_heads != sizes.heads)  // what sharing saves
    add("decode_attention_per_head", [](auto... x) { decode_attention_per_head<T, Stored>(x...); });
}

}  // namespace

std::vector<Case> decode_attention_cases(Scale scale) {
  const Size B = scale == Scale::full ? 128 : 2, S = scale == Scale::full ? 8192 : 70;
  std::vector<Case> cases;
  for (const Size G : {8, 1}) {
    const AttentionSizes sizes{B, 1, S, 8, G, 128};
    add_ways<float, float>(sizes, cases);
    add_ways<float, BFloat16>(sizes, cases);
    add_ways<float, std::int8_t>(sizes, cases);
    add_ways<BFloat16, BFloat16>(sizes, cases);
    add_ways<BFloat16, std::int8_t>(sizes, cases);
  }
  return cases;
}

}  // namespace headshare::gpu_benchmarks
