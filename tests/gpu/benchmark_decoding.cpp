#include <algorithm>
#include <memory>
#include <optional>

#include "core/measure.h"
#include "nn/decoding_speed.h"
#include "tests/gpu/benchmark.h"

// Decoding one token after another, in the settings of the two papers, beside what its bytes and FLOPs take at the
// speeds that were measured.
namespace headshare::gpu_benchmarks {
namespace {

constexpr double longest_sample = 15;  // seconds; a run that takes longer is measured as far as it got

// The roofline (Williams et al. 2009) of each part: a GPU reads while it computes, so the slower of the two counts.
// Starting kernels and choosing tokens is not in it: that is what the factor beside a target is for.
double predicted_seconds(const DecodingCost& cost, double bandwidth, double peak) {
  const auto part = [&](const Work& work) { return std::max(work.bytes / bandwidth, work.flops / peak); };
  return part(cost.weights) + part(cost.self_cache) + part(cost.cross_cache) + cost.moved_bytes / bandwidth;
}

struct DecodingCase {
  TransformerConfig config;
  Precision precision;
  DecodingMeasurement measurement;
};

// The last model that was needed: drawing its weights takes the processor longer than all measurements of it.
struct LastModel {
  std::shared_ptr<Transformer> model;

  std::shared_ptr<Transformer> of(const TransformerConfig& config) {
    if (!model || to_metadata(model->config()) != to_metadata(config)) {
      model.reset();
      model = std::make_shared<Transformer>(config, 1);
    }
    return model;
  }
};

struct Decoding {
  std::shared_ptr<Transformer> model;
  std::optional<Decoder> decoder;
  DecodingMeasurement measurement;

  Decoding(const DecodingCase& x, LastModel& last) : model(last.of(x.config)), measurement(x.measurement) {
    model->compute_in(x.precision);
    decoder.emplace(*model);
  }

  // Mean over the steps of one run, the first two aside: those find memory and record the step.
  double seconds_of_step() const {
    DecodingRun run(*decoder, measurement);
    const Size unmeasured = std::min<Size>(2, measurement.target_length - 1);
    Size steps = 0;
    const auto take = [&](Size count) {
      for (Size i = 0; i < count; ++i) run.step();
      steps += count;
      wait_for(Device::cuda);
    };
    take(unmeasured);
    double seconds = 0;
    while (steps < measurement.target_length && seconds < longest_sample) {
      const Size count = std::min<Size>(measurement.beam == 1 ? 64 : 4, measurement.target_length - steps);
      seconds += seconds_of([&] { take(count); });
    }
    return seconds / static_cast<double>(steps - unmeasured);
  }
};

Prepared prepare(Scale scale, const DecodingCase& x, LastModel& last) {
  const auto decoding = std::make_shared<Decoding>(x, last);
  const DecodingCost cost = decoding_cost(*decoding->decoder, x.measurement);
  return {.work = [decoding] { return decoding->seconds_of_step(); },
          .flops = cost.flops(),
          .bytes = cost.bytes(),
          .tokens = static_cast<double>(x.measurement.batch),
          .predicted_seconds = predicted_seconds(cost, copy_bandwidth(scale), peak_flops(scale, x.precision)),
          .turns = x.measurement.beam == 1 ? 3 : 1};
}

std::string name(const DecodingMeasurement& measurement, const AttentionMode& mode) {
  return text("B ", measurement.batch, ", ", measurement.source_length, " + ", measurement.target_length, ", H ",
              mode.heads, " G ", mode.kv_heads, measurement.cache_type ? ", cache " : "",
              measurement.cache_type ? headshare::name(*measurement.cache_type) : "");
}

Case decoding_case(Scale scale, const std::string& group, const std::string& kernel, const DecodingCase& x,
                   const std::shared_ptr<LastModel>& last) {
  return {group, text(kernel, ' ', headshare::name(x.precision)), name(x.measurement, x.config.attention.cross), "",
          [=] { return prepare(scale, x, *last); }};
}

}  // namespace

// Shazeer 2019, section 4: 6 layers, d_model 1024, d_ff 4096, 8 heads of 128; 1024 sentences, source and target of 128
// tokens. A TPU v2 took 46 us for a token of the decoder with 8 key/value heads and 3.8 us with one; with a beam of
// four, 203 us and 32 us.
std::vector<Case> shazeer_cases(Scale scale) {
  const auto last = std::make_shared<LastModel>();
  std::vector<Case> cases;
  for (const Size G : {8, 1})
    for (const Size beam : {1, 4})
      for (const Precision precision : {Precision::bf16, Precision::fp32}) {
        DecodingCase x{{.vocabulary = 32000,
                        .d_model = 1024,
                        .d_ff = 4096,
                        .layers = 6,
                        .attention = grouped_query(8, G),
                        .max_length = 130,
                        .dropout = 0},
                       precision,
                       {.batch = 1024, .source_length = 128, .target_length = 128, .beam = beam}};
        if (scale == Scale::small) {
          x.config = {.vocabulary = 64, .d_model = 32, .layers = 1, .attention = grouped_query(8, G), .dropout = 0};
          x.measurement = {.batch = 2, .source_length = 5, .target_length = 6, .beam = beam};
        }
        x.config = checked(x.config);
        const std::string kernel = beam == 1 ? "greedy decoding" : text("beam ", beam, " decoding");
        cases.push_back(decoding_case(scale, "shazeer", kernel, x, last));
        if (beam > 1 || precision != Precision::bf16) continue;
        x.measurement.cache_type = ElementType::int8;
        cases.push_back(decoding_case(scale, "shazeer", kernel, x, last));
      }
  return cases;
}

// Ainslie 2023, figure 6: time per sample against the number of groups, inputs of 2048 and outputs of 512 tokens, T5
// XXL's 64 heads of 64. 3 of its 24 layers, and less wide: what grows with the groups is the cache, which is as large
// here, a layer, as there.
std::vector<Case> ainslie_cases(Scale scale) {
  const auto last = std::make_shared<LastModel>();
  std::vector<Case> cases;
  const bool is_full = scale == Scale::full;
  const Size H = is_full ? 64 : 4;
  for (Size G = 1; G <= H; G *= 2) {
    const TransformerConfig config = is_full ? TransformerConfig{.vocabulary = 32128,
                                                                 .d_model = 1024,
                                                                 .d_ff = 2816,
                                                                 .layers = 3,
                                                                 .attention = with_head_size(grouped_query(H, G), 64),
                                                                 .max_length = 2050,
                                                                 .dropout = 0}
                                             : TransformerConfig{.vocabulary = 64,
                                                                 .d_model = 16,
                                                                 .layers = 1,
                                                                 .attention = with_head_size(grouped_query(H, G), 8),
                                                                 .dropout = 0};
    const DecodingMeasurement measurement =
        is_full ? DecodingMeasurement{.batch = 32, .source_length = 2048, .target_length = 512}
                : DecodingMeasurement{.batch = 2, .source_length = 9, .target_length = 6};
    cases.push_back(
        decoding_case(scale, "ainslie", "greedy decoding", {checked(config), Precision::bf16, measurement}, last));
  }
  return cases;
}

}  // namespace headshare::gpu_benchmarks
