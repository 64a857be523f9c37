#include "cli/trace/hot.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/report/progress.h"
#include "core/report/table.h"

namespace headshare::trace {
namespace {

using simulator::ArrayTraffic;
using simulator::Space;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The kernels' own workspace has no name of ours.
bool is_workspace(const std::string& array) { return array.starts_with("allocation "); }

struct Use {
  std::uint64_t bytes = 0;
  bool read = false, written = false;
};

void check(bool right, const HotKernel& kernel, const std::string& does, const std::string& array) {
  if (!right) fail("trace: ", kernel.name, ' ', does, ' ', array, ", against its list of arrays (cli/trace/hot.cpp)");
}

}  // namespace

HotTraffic traffic_of(const HotKernel& kernel) {
  HotTraffic result{.name = kernel.name, .sizes = sizes_of(kernel.name, kernel.sizes).text()};
  std::map<std::string, Use> used;
  for (const auto& launch : run_traced(kernel.name, kernel.sizes)) {
    result.asked_bytes += launch.moved_bytes();
    for (const ArrayTraffic& array : launch.arrays()) {
      if (array.space != Space::global || is_workspace(array.array)) continue;
      Use& use = used[array.array];
      use.bytes = array.array_bytes;
      use.read = use.read || array.moved_load_bytes > 0;
      use.written = use.written || array.moved_store_bytes > 0;
    }
  }
  for (const auto& [array, use] : used) {  // what it has written itself, it may read again
    check(!use.read || contains(kernel.reads, array) || contains(kernel.writes, array), kernel, "reads", array);
    check(!use.written || contains(kernel.writes, array), kernel, "writes", array);
  }
  for (const std::string& array : kernel.reads) {
    check(used[array].read, kernel, "does not read", array);
    result.least_bytes += used[array].bytes;
  }
  for (const std::string& array : kernel.writes) {
    check(used[array].written, kernel, "does not write", array);
    result.least_bytes += used[array].bytes;
  }
  return result;
}

std::string hot_table() {
  const auto kibibytes = [](std::uint64_t bytes) { return with_decimals(static_cast<double>(bytes) / 1024, 1); };
  Table table({{"kernel"},
               {"sizes"},
               {"at least, KiB", Alignment::right},
               {"asked for, KiB", Alignment::right},
               {"times", Alignment::right}});
  for (const HotKernel& kernel : hot_kernels()) {
    const HotTraffic traffic = traffic_of(kernel);
    const double times = static_cast<double>(traffic.asked_bytes) / static_cast<double>(traffic.least_bytes);
    table.add_row({traffic.name, traffic.sizes, kibibytes(traffic.least_bytes), kibibytes(traffic.asked_bytes),
                   with_decimals(times, 2)});
  }
  return table.markdown();
}

// One line for each kernel: name, sizes, what it reads, what it writes.
const std::vector<HotKernel>& hot_kernels() {
  const std::vector<NamedSize> square = {{"M", 256}, {"N", 256}, {"K", 256}};
  const std::vector<NamedSize> few = {{"M", 8}, {"N", 512}, {"K", 512}};
  const std::vector<NamedSize> sentence = {{"B", 1}, {"T", 128}, {"S", 128}, {"H", 8}, {"G", 2}, {"D", 64}};
  const std::vector<NamedSize> cache = {{"B", 2}, {"T", 1}, {"S", 512}, {"H", 8}, {"G", 1}, {"D", 64}};
  const std::vector<NamedSize> prompt = {{"B", 2}, {"S", 512}, {"G", 1}, {"D", 64}};
  const std::vector<NamedSize> rows = {{"rows", 256}, {"n", 512}};
  const std::vector<NamedSize> classes = {{"rows", 64}, {"V", 4096}};
  const std::vector<NamedSize> array = {{"n", 65536}};
  const std::vector<std::string> inputs = {"query", "key", "value"};
  const std::vector<std::string> for_backward = {"query", "key", "value", "output", "log_sum_exp", "d_output"};
  const std::vector<std::string> normalized = {"y", "mean", "reciprocal_deviation"};
  const std::vector<std::string> for_norm_backward = {"dy", "x", "gain", "mean", "reciprocal_deviation"};
  static const std::vector<HotKernel> all = {
      {"matmul-register-tiled", square, {"A", "B"}, {"C"}},
      {"matmul-tensor-core", square, {"A", "B"}, {"C"}},
      {"matmul-pipelined", square, {"A", "B"}, {"C"}},
      {"matmul-hopper", square, {"A", "B"}, {"C"}},
      {"matmul-few-rows", few, {"A", "B"}, {"C"}},
      {"matmul-few-rows-bf16", few, {"A", "B"}, {"C"}},
      {"attention-fused", sentence, inputs, {"output", "log_sum_exp"}},
      {"attention-backward", sentence, for_backward, {"d_query", "d_key", "d_value"}},
      {"attention-fused-bf16", sentence, inputs, {"output", "log_sum_exp"}},
      {"attention-backward-bf16", sentence, for_backward, {"d_query", "d_key", "d_value"}},
      {"decode-per-group", cache, inputs, {"output"}},
      {"decode-bf16-cache", cache, inputs, {"output"}},
      {"decode-bf16", cache, inputs, {"output"}},
      {"decode-int8-cache", cache, {"query", "key", "key_scale", "value", "value_scale"}, {"output"}},
      {"cache-int8", prompt, {"key", "value"}, {"key_cache", "key_scale", "value_cache", "value_scale"}},
      {"layer-norm", rows, {"x", "gain", "bias"}, normalized},
      {"layer-norm-bf16", rows, {"x", "gain", "bias"}, normalized},
      {"layer-norm-backward", rows, for_norm_backward, {"dx", "d_gain", "d_bias"}},
      {"layer-norm-backward-bf16", rows, for_norm_backward, {"dx", "d_gain", "d_bias"}},
      {"cross-entropy", classes, {"logits", "targets"}, {"loss", "log_sum_exp"}},
      {"cross-entropy-bf16", classes, {"logits", "targets"}, {"loss", "log_sum_exp"}},
      {"cross-entropy-backward", classes, {"logits", "targets", "log_sum_exp", "d_loss"}, {"d_logits"}},
      {"cross-entropy-backward-bf16", classes, {"logits", "targets", "log_sum_exp", "d_loss"}, {"d_logits"}},
      {"softmax-online", rows, {"x"}, {"y"}},
      {"add", array, {"a", "b"}, {"y"}},
      {"dropout", array, {"x"}, {"y"}},
      {"transpose", {{"rows", 256}, {"columns", 256}}, {"x"}, {"y"}},
      {"adam",
       array,
       {"parameter", "gradient", "mean", "variance", "gradient_scale"},
       {"parameter", "mean", "variance"}},
  };
  return all;
}

}  // namespace headshare::trace
