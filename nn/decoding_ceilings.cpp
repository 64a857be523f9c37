#include "nn/decoding_ceilings.h"

#include <omp.h>

#include <algorithm>

#include "core/measure.h"
#include "kernels/device_memory.h"
#include "kernels/launch_graph.h"
#include "kernels/machine_limits.h"
#include "kernels/matrix_unit.h"
#include "nn/beam_search.h"
#include "tensor/attention.h"
#include "tensor/cache.h"
#include "tensor/elementwise.h"
#include "tensor/matmul.h"
#include "tensor/reduce.h"

namespace headshare {
namespace {

constexpr double sample_seconds = 0.005;
constexpr Size near_bytes = Size{1} << 20;  // of a core: fits its own cache, and is work enough to be timed
constexpr Size farthest_bytes = 512 * near_bytes;
constexpr Size chosen_rows = 8;  // choosing takes as long for each row
constexpr Size chosen_steps = 32;

double number(Size n) { return static_cast<double>(n); }

// Seconds of one call. On a GPU, calls are queued: waiting for each would measure the waiting.
double seconds_of_work(Device device, const std::function<void()>& call) {
  const Size calls = device == Device::cpu || kernels::cuda_is_simulated() ? 1 : 50;
  const auto work = [&] {
    for (Size i = 0; i < calls; ++i) call();
    wait_for(device);
  };
  return least_seconds(work, sample_seconds) / number(calls);
}

// How many bytes the nearest caches hold, all of them together.
Size all_near_bytes(Device device) {
  if (device == Device::cpu) return near_bytes * omp_get_max_threads();
  return kernels::cuda_is_simulated() ? near_bytes / 16 : 16 * near_bytes;
}

// Half is read and half is written where there is no kernel that only reads.
double measure_reading_on(Device device, Size bytes) {
  if (device == Device::cpu) return kernels::measure_reading(bytes);
  const Tensor from = zeros({bytes / 8}, {ElementType::float32, device}), to = empty_like(from);
  return number(bytes) / seconds_of_work(device, [&] { to.copy_from(from); });
}

// The smallest operation of a step, as a step runs it: on a GPU recorded, and repeated without the host.
double measure_operation(Device device) {
  const TensorOptions integers{ElementType::int32, device};
  const Tensor ones = full({2}, 1, integers), counts = full({2}, 0, integers);
  constexpr Size operations = 50;
  const auto queue = [&] {
    for (Size i = 0; i < operations; ++i) accumulate(ones, counts);
  };
  queue();
  if (device == Device::cpu) return least_seconds(queue, sample_seconds) / number(operations);
  kernels::LaunchGraph graph;
  graph.record(kernels::cuda(), queue);
  return seconds_of_work(device, [&] { graph.repeat(kernels::cuda()); }) / number(operations);
}

}  // namespace

std::vector<Size> reading_amounts(Device device, Size largest) {
  const Size most = device == Device::cuda && kernels::cuda_is_simulated() ? 4 * near_bytes : farthest_bytes;
  std::vector<Size> amounts = {near_bytes};
  while (amounts.back() < std::min(largest, most)) amounts.push_back(2 * amounts.back());
  return amounts;
}

double measure_peak(Device device, Precision precision) {
  if (device == Device::cpu) return std::max(kernels::measure_arithmetic(), kernels::measure_matrix_unit());
  const Size n = kernels::cuda_is_simulated() ? 128 : 4096;
  const Tf32Products tf32(precision == Precision::tf32);
  Generator generator(1);
  const TensorOptions options{precision == Precision::bf16 ? ElementType::bfloat16 : ElementType::float32, device};
  const Tensor a = random_normal({n, n}, 1, generator, options), b = random_normal({n, n}, 1, generator, options);
  return 2 * number(n * n * n) / seconds_of_work(device, [&] { matmul(a, b); });
}

std::string peak_is_of(Device device) {
  if (device == Device::cuda) return "a large matrix product";
  return kernels::matrix_unit() == kernels::MatrixUnit::tiles ? "products in the matrix unit" : "multiply-adds in registers";
}

double measure_memory(Device device) {
  return measure_reading_on(device, reading_amounts(device, farthest_bytes).back());
}

CeilingMeter::CeilingMeter(Device device, const std::vector<Size>& amounts)
    : device_(device),
      operation_seconds_(measure_operation(device)),
      team_seconds_(device == Device::cpu ? kernels::measure_parallel_region() : 0) {
  for (const Size bytes : amounts) reading_.push_back({number(bytes), measure_reading_on(device, bytes)});
}

double CeilingMeter::peak_flops() {
  double& flops = measured_["peak"];
  if (flops == 0) flops = measure_peak(device_);
  return flops;
}

// Without what it takes to start it, which is counted by itself.
double CeilingMeter::seconds_of_call(const std::function<void()>& call, bool team) const {
  const double seconds = seconds_of_work(device_, call);
  return std::max(seconds - operation_seconds_ - (team ? team_seconds_ : 0), seconds / 4);
}

// The first product of the feed-forward layer, again and again with the same weights.
double CeilingMeter::product_flops(const Transformer& model, Size rows) {
  const Size C = model.config().d_model, F = model.config().d_ff;
  const TensorOptions options = model.activations();
  const Tf32Products tf32(model.precision() == Precision::tf32);
  double& flops = measured_[text("product ", rows, ' ', C, ' ', F, ' ', name(model.precision()))];
  if (flops != 0) return flops;
  Generator generator(1);
  const PackedMatrix weight = pack_matrix(random_normal({C, F}, 1, generator, options));
  const Tensor x = random_normal({rows, C}, 1, generator, options), y({rows, F}, options);
  const double seconds = seconds_of_call([&] { linear_into(x, weight, {}, Activation::none, y); }, true);
  return flops = 2 * number(rows * C * F) / seconds;
}

// Attention of as many key/value heads, of some sentences, as the nearest caches hold, again and again.
double CeilingMeter::attention_flops(const Attention& attention, const DecodingMeasurement& measurement,
                                     TensorOptions options, Size sentences, Size targets, Size positions,
                                     KeyOrder order) {
  const Size D = attention.head_size(), group = attention.mode.heads / attention.mode.kv_heads;
  const ElementType type = measurement.cache_type.value_or(options.type);
  const Size position_bytes = 2 * D * bytes_of(type), S = std::clamp(near_bytes / position_bytes, Size{1}, positions);
  const Size heads = std::max(Size{1}, all_near_bytes(device_) / (S * position_bytes));
  const Size G = std::min(heads, attention.mode.kv_heads), H = G * group, B = std::clamp(heads / G, Size{1}, sentences);
  double& flops = measured_[text("attention ", B, ' ', targets, ' ', S, ' ', H, ' ', G, ' ', D, ' ', name(options.type),
                                 ' ', name(type), order == KeyOrder::tiles ? " tiles" : "")];
  if (flops != 0) return flops;
  Generator generator(1);
  KeyValueCache cache(B, G, S, D, {type, device_}, 0, order);
  const auto random_heads = [&](Size rows, Size count) {
    return random_normal({B, rows, count, D}, 1, generator, options);
  };
  cache.append({Variable(random_heads(S, G)), Variable(random_heads(S, G))});
  const KeysValues cached = cache.keys_values();
  const Tensor query = random_heads(targets, H), output = empty_like(query);
  const double seconds = seconds_of_call(
      [&] {
        attention_into(query, cached.key.value(), cached.value.value(), {{}, any_order}, output, cache.scales());
      },
      true);
  return flops = 4 * number(B * targets * H * S * D) / seconds;
}

// From random logits, without a model's step in between.
double CeilingMeter::choosing_seconds(const Decoder& decoder, const DecodingMeasurement& measurement) {
  const Size beam = measurement.beam, V = decoder.model().config().vocabulary;
  const Size sentences = std::clamp(chosen_rows / beam, Size{1}, measurement.batch), rows = sentences * beam;
  double& seconds = measured_[text("choosing ", sentences, ' ', beam, ' ', V)];
  if (seconds == 0) {
    Generator generator(1);
    const TensorOptions options = decoder.model().options(), integers{ElementType::int32, options.device};
    const Tensor logits = random_normal({rows, V}, 1, generator, options);
    if (beam == 1) {
      const Tensor tokens({rows}, integers);
      seconds = seconds_of_work(device_, [&] { argmax_into(logits, tokens); });
    } else {
      // Searches of usual length, one after the other: what a hypothesis has said so far is copied at every step.
      const Variable memory(zeros({sentences, 1, decoder.model().config().d_model}, decoder.model().activations()));
      const Tensor lengths = full({sentences}, 1, integers);
      const std::vector<Size> limits(static_cast<std::size_t>(sentences), chosen_steps);
      std::optional<BeamSearch> search;
      seconds = seconds_of_work(device_, [&] {
        if (!search || search->done())
          search.emplace(decoder, decoder.start(memory, lengths, {1, beam, measurement.cache_type}), limits,
                         DecodingOptions{.beam = beam}, SentenceEnd::limit);
        search->advance(logits);
      });
    }
  }
  return seconds * number(measurement.batch) / number(sentences);
}

DecodingCeilings CeilingMeter::ceilings(const Decoder& decoder, const DecodingMeasurement& measurement) {
  const Transformer& model = decoder.model();
  const DecoderLayer& layer = model.decoder().front();
  const TensorOptions options = model.activations();
  const Size target_positions = (measurement.target_length + 1) / 2;
  return {
      reading_,
      product_flops(model, measurement.rows()),
      attention_flops(layer.self, measurement, options, measurement.rows(), 1, target_positions, KeyOrder::positions),
      attention_flops(layer.cross, measurement, options, measurement.batch, measurement.beam, measurement.source_length,
                      order_of_source_keys(layer.cross.mode, measurement.beam, measurement.source_length, device_)),
      operation_seconds_,
      team_seconds_,
      choosing_seconds(decoder, measurement),
      device_ == Device::cpu || kernels::cuda_is_simulated() ? Overlap::none : Overlap::full};
}

}  // namespace headshare
