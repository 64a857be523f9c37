#include <cstdint>
#include <memory>
#include <type_traits>

#include "cli/trace/kernels.h"
#include "cli/trace/named_array.h"
#include "kernels/attention_ladder.h"
#include "kernels/cache.h"

namespace headshare::trace {
namespace {

using kernels::AttentionSizes;
using kernels::HeadsView;

AttentionSizes attention_sizes(const Sizes& sizes) {
  const AttentionSizes of{.batch = sizes["B"],
                          .targets = sizes["T"],
                          .sources = sizes["S"],
                          .heads = sizes["H"],
                          .kv_heads = sizes["G"],
                          .head_size = sizes["D"]};
  if (of.heads % of.kv_heads != 0)
    throw UsageError(text("trace: H=", of.heads, " query heads cannot share G=", of.kv_heads, " evenly"));
  return of;
}

template <class T>
HeadsView<T> positions_first(T* data, Size positions, Size heads, Size head_size) {  // [B, T, H, D]
  return {data, positions * heads * head_size, heads * head_size, head_size};
}
template <class T>
HeadsView<T> heads_first(T* data, Size positions, Size heads, Size head_size) {  // [B, G, S, D], as caches are
  return {data, heads * positions * head_size, head_size, positions * head_size};
}

enum class Memory { positions_first, heads_first };

// Keys or values, as a cache or a model stores them. Numbers of eight bits have a scale for each head of each position.
template <class Stored>
class StoredHeads {
 public:
  StoredHeads(const std::string& name, const AttentionSizes& of, Memory memory)
      : of_(of), memory_(memory), data_(random_array<Stored>(name, count(of))), scales_(make_scales(name, of)) {}

  HeadsView<const Stored> view() const {
    const Size positions = of_.sources, heads = of_.kv_heads, size = of_.head_size;
    HeadsView<const Stored> view = memory_ == Memory::heads_first
                                       ? heads_first<const Stored>(data_.data(), positions, heads, size)
                                       : positions_first<const Stored>(data_.data(), positions, heads, size);
    if (scales_) view.scales = scales_->data();
    return view;
  }
  static Size count(const AttentionSizes& of) { return of.batch * of.sources * of.kv_heads * of.head_size; }

 private:
  static std::unique_ptr<NamedArray<float>> make_scales(const std::string& name, const AttentionSizes& of) {
    if constexpr (std::is_same_v<Stored, std::int8_t>)
      return std::make_unique<NamedArray<float>>(name + "_scale",
                                                 std::vector<float>(count(of) / of.head_size, 1.0f / 64));
    return nullptr;
  }

  AttentionSizes of_;
  Memory memory_;
  NamedArray<Stored> data_;
  std::unique_ptr<NamedArray<float>> scales_;
};

// Queries, keys, values and an output, and views of them.
template <class T, class Stored = T>
struct Problem {
  Problem(const Sizes& sizes, Memory memory)
      : of(attention_sizes(sizes)),
        query_count(of.batch * of.targets * of.heads * of.head_size),
        key("key", of, memory),
        value("value", of, memory) {}

  HeadsView<const T> queries() { return view_of_queries<const T>(query.data()); }
  HeadsView<T> outputs() { return view_of_queries<T>(output.data()); }
  template <class U>
  HeadsView<U> view_of_queries(U* data) {
    return positions_first(data, of.targets, of.heads, of.head_size);
  }

  AttentionSizes of;
  Size query_count;
  StoredHeads<Stored> key, value;
  NamedArray<T> query = random_array<T>("query", query_count), output{"output", query_count};
  NamedArray<kernels::Wide<T>> log_sum_exp{"log_sum_exp", of.batch* of.heads* of.targets};
};

template <class T>
using Run = Launches (*)(Problem<T>&);

template <class T>
TracedKernel training_kernel(const std::string& name, const std::string& summary, Run<T> run) {
  return {name, summary, Sizes({{"B", 1}, {"T", 64}, {"S", 64}, {"H", 4}, {"G", 2}, {"D", 32}}),
          [run](const Sizes& sizes) {
            Problem<T> problem(sizes, Memory::positions_first);
            return run(problem);
          }};
}

Launches composed(Problem<float>& problem) {
  NamedArray<float> scores("scores", problem.of.batch * problem.of.heads * problem.of.targets * problem.of.sources);
  return launches_of([&] {
    kernels::attention_composed<float>(kernels::cuda(), problem.of, {}, problem.queries(), problem.key.view(),
                                       problem.value.view(), problem.outputs(), scores.data());
  });
}

void attend(Problem<float>& problem) {
  kernels::attention_fused<float>(kernels::cuda(), problem.of, {}, problem.queries(), problem.key.view(),
                                  problem.value.view(), problem.outputs(), problem.log_sum_exp.data());
}

void attend(Problem<BFloat16>& problem) {
  kernels::attention_tensor_core(kernels::cuda(), problem.of, {}, problem.queries(), problem.key.view(),
                                 problem.value.view(), problem.outputs(), problem.log_sum_exp.data());
}

template <class T>
Launches fused(Problem<T>& problem) {
  return launches_of([&] { attend(problem); });
}

template <class T>
Launches backward(Problem<T>& problem) {
  attend(problem);  // for the output and log_sum_exp
  const AttentionSizes& of = problem.of;
  const Size key_count = StoredHeads<T>::count(of);
  auto d_output = random_array<T>("d_output", problem.query_count);
  NamedArray<T> d_query("d_query", problem.query_count), d_key("d_key", key_count), d_value("d_value", key_count);
  const auto keys = [&](T* data) { return positions_first(data, of.sources, of.kv_heads, of.head_size); };
  return launches_of([&] {
    kernels::attention_backward<T>(kernels::cuda(), of, {}, problem.queries(), problem.key.view(), problem.value.view(),
                                   problem.template view_of_queries<const T>(problem.output.data()),
                                   problem.log_sum_exp.data(),
                                   problem.template view_of_queries<const T>(d_output.data()),
                                   problem.view_of_queries(d_query.data()), keys(d_key.data()), keys(d_value.data()));
  });
}

template <class T, class Stored>
TracedKernel decoding_kernel(const std::string& name, const std::string& summary,
                             Launches (*run)(Problem<T, Stored>&)) {
  return {name, summary, Sizes({{"B", 2}, {"T", 1}, {"S", 128}, {"H", 8}, {"G", 2}, {"D", 64}}),
          [run](const Sizes& sizes) {
            Problem<T, Stored> problem(sizes, Memory::heads_first);
            return run(problem);
          }};
}

Launches decode_per_head(Problem<float, float>& problem) {
  return launches_of([&] {
    kernels::decode_attention_per_head<float>(kernels::cuda(), problem.of, {}, problem.queries(), problem.key.view(),
                                              problem.value.view(), problem.outputs());
  });
}

Launches decode_per_group(Problem<float, float>& problem) {
  return launches_of([&] {
    kernels::decode_attention_per_group<float>(kernels::cuda(), problem.of, {}, problem.queries(), problem.key.view(),
                                               problem.value.view(), problem.outputs(), nullptr);
  });
}

template <class T, class Stored>
Launches decode_tensor_core(Problem<T, Stored>& problem) {
  return launches_of([&] {
    kernels::decode_attention_tensor_core<T, Stored>(kernels::cuda(), problem.of, {}, problem.queries(),
                                                     problem.key.view(), problem.value.view(), problem.outputs(),
                                                     nullptr);
  });
}

// Keys and values of S positions go into a cache for as many.
Launches fill_cache(const Sizes& sizes) {
  const Size batch = sizes["B"], positions = sizes["S"], heads = sizes["G"], size = sizes["D"];
  const Size count = batch * positions * heads * size;
  const auto key = random_array<BFloat16>("key", count), value = random_array<BFloat16>("value", count);
  const NamedArray<std::int8_t> key_cache("key_cache", count), value_cache("value_cache", count);
  const NamedArray<float> key_scale("key_scale", count / size), value_scale("value_scale", count / size);
  const auto from = [&](const auto& array) {
    return positions_first<const BFloat16>(array.data(), positions, heads, size);
  };
  const auto to = [&](const auto& array, const auto& scale) {
    auto view = heads_first(array.data(), positions, heads, size);
    view.scales = scale.data();
    return view;
  };
  return launches_of([&] {
    kernels::copy_keys_values<BFloat16, std::int8_t>(kernels::cuda(), batch, positions, heads, size, from(key),
                                                     to(key_cache, key_scale), from(value),
                                                     to(value_cache, value_scale), {.capacity = positions});
  });
}

}  // namespace

std::vector<TracedKernel> attention_kernels() {
  return {
      training_kernel<float>("attention-composed", "Attention in three kernels that store all scores", composed),
      training_kernel<float>("attention-fused", "... in one that never stores a score", fused),
      training_kernel<float>("attention-backward", "Gradients of attention", backward),
      training_kernel<BFloat16>("attention-fused-bf16", "Fused attention on tensor cores", fused),
      training_kernel<BFloat16>("attention-backward-bf16", "... and its gradients", backward),
      decoding_kernel("decode-per-head", "Attention of one query, each head reads its keys and values",
                      decode_per_head),
      decoding_kernel("decode-per-group", "... read once for all query heads of a group", decode_per_group),
      decoding_kernel("decode-bf16-cache", "... from a cache in bfloat16, on tensor cores",
                      decode_tensor_core<float, BFloat16>),
      decoding_kernel("decode-bf16", "... all of it in bfloat16", decode_tensor_core<BFloat16, BFloat16>),
      decoding_kernel("decode-int8-cache", "... from a cache of eight bits", decode_tensor_core<BFloat16, std::int8_t>),
      {"cache-int8", "Keys and values into such a cache", Sizes({{"B", 2}, {"S", 64}, {"G", 2}, {"D", 64}}),
       fill_cache},
  };
}

}  // namespace headshare::trace
