#include "cli/trace/kernels.h"
#include "cli/trace/named_array.h"
#include "kernels/attention_ladder.h"

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

// Queries, keys, values and an output, and views of them.
struct Problem {
  Problem(const Sizes& sizes, Memory memory)
      : of(attention_sizes(sizes)),
        query_count(of.batch * of.targets * of.heads * of.head_size),
        key_count(of.batch * of.sources * of.kv_heads * of.head_size),
        memory_of_keys(memory) {}

  HeadsView<const float> queries() {
    return positions_first<const float>(query.data(), of.targets, of.heads, of.head_size);
  }
  HeadsView<const float> keys() { return view_of_keys<const float>(key.data()); }
  HeadsView<const float> values() { return view_of_keys<const float>(value.data()); }
  HeadsView<float> outputs() { return view_of_queries<float>(output.data()); }

  template <class T>
  HeadsView<T> view_of_queries(T* data) {
    return positions_first(data, of.targets, of.heads, of.head_size);
  }
  template <class T>
  HeadsView<T> view_of_keys(T* data) {
    return memory_of_keys == Memory::heads_first ? heads_first(data, of.sources, of.kv_heads, of.head_size)
                                                 : positions_first(data, of.sources, of.kv_heads, of.head_size);
  }

  AttentionSizes of;
  Size query_count, key_count;
  Memory memory_of_keys;
  NamedArray<float> query = random_array("query", query_count), key = random_array("key", key_count),
                    value = random_array("value", key_count), output{"output", query_count},
                    log_sum_exp{"log_sum_exp", of.batch*of.heads*of.targets};
};

template <class Run>
TracedKernel training_kernel(const std::string& name, const std::string& summary, Run run) {
  return {name, summary, Sizes({{"B", 1}, {"T", 64}, {"S", 64}, {"H", 4}, {"G", 2}, {"D", 32}}),
          [run](const Sizes& sizes) {
            Problem problem(sizes, Memory::positions_first);
            return run(problem);
          }};
}

template <class Run>
TracedKernel decoding_kernel(const std::string& name, const std::string& summary, Run run) {
  return {name, summary, Sizes({{"B", 2}, {"T", 1}, {"S", 128}, {"H", 8}, {"G", 2}, {"D", 64}}),
          [run](const Sizes& sizes) {
            Problem problem(sizes, Memory::heads_first);
            return run(problem);
          }};
}

Launches composed(Problem& problem) {
  NamedArray<float> scores("scores", problem.of.batch * problem.of.heads * problem.of.targets * problem.of.sources);
  return launches_of([&] {
    kernels::attention_composed<float>(kernels::cuda(), problem.of, {}, problem.queries(), problem.keys(),
                                       problem.values(), problem.outputs(), scores.data());
  });
}

Launches fused(Problem& problem) {
  return launches_of([&] {
    kernels::attention_fused<float>(kernels::cuda(), problem.of, {}, problem.queries(), problem.keys(),
                                    problem.values(), problem.outputs(), problem.log_sum_exp.data());
  });
}

Launches backward(Problem& problem) {
  fused(problem);  // for the output and log_sum_exp
  auto d_output = random_array("d_output", problem.query_count);
  NamedArray<float> d_query("d_query", problem.query_count), d_key("d_key", problem.key_count),
      d_value("d_value", problem.key_count);
  return launches_of([&] {
    kernels::attention_backward<float>(
        kernels::cuda(), problem.of, {}, problem.queries(), problem.keys(), problem.values(),
        problem.view_of_queries<const float>(problem.output.data()), problem.log_sum_exp.data(),
        problem.view_of_queries<const float>(d_output.data()), problem.view_of_queries(d_query.data()),
        problem.view_of_keys(d_key.data()), problem.view_of_keys(d_value.data()));
  });
}

Launches decode_per_head(Problem& problem) {
  return launches_of([&] {
    kernels::decode_attention_per_head<float>(kernels::cuda(), problem.of, {}, problem.queries(), problem.keys(),
                                              problem.values(), problem.outputs());
  });
}

Launches decode_per_group(Problem& problem) {
  return launches_of([&] {
    kernels::decode_attention_per_group<float>(kernels::cuda(), problem.of, {}, problem.queries(), problem.keys(),
                                               problem.values(), problem.outputs(), nullptr);
  });
}

}  // namespace

std::vector<TracedKernel> attention_kernels() {
  return {
      training_kernel("attention-composed", "Attention in three kernels that store all scores", composed),
      training_kernel("attention-fused", "... in one that never stores a score", fused),
      training_kernel("attention-backward", "Gradients of attention", backward),
      decoding_kernel("decode-per-head", "Attention of one query, each head reads its keys and values",
                      decode_per_head),
      decoding_kernel("decode-per-group", "... read once for all query heads of a group", decode_per_group),
  };
}

}  // namespace headshare::trace
