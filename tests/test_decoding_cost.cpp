#include "nn/decoding_cost.h"

#include <algorithm>
#include <array>
#include <string>

#include "nn/decoding_ceilings.h"
#include "nn/decoding_speed.h"
#include "tensor/profile.h"
#include "tests/model_helpers.h"

// The arithmetic of decoding: what is counted, against counting by hand and against what really runs; what is predicted
// and how it is judged, on made-up machines. How fast anything is, no test asks.

using namespace headshare;
using namespace headshare::test;

namespace {

TransformerConfig two_layers(AttentionSites attention) {
  TransformerConfig config = tiny_config(11, attention);  // V 11, C 16, F 24, H 4 heads of D 4
  config.layers = 2;
  return config;
}

// A machine that reads 100 bytes in a second when they are few and 10 when they are many, and so on.
DecodingCeilings slow_machine() {
  return {.reading = {{1000, 100}, {10'000, 10}},
          .product_flops = 50,
          .self_attention_flops = 20,
          .cross_attention_flops = 40,
          .operation_seconds = 2,
          .team_seconds = 3,
          .choosing_seconds = 7};
}

// 4 s of reading weights, 2 of each cache, half as long to compute with them; 1 s to move rows; 30 of overhead.
DecodingCost some_cost() {
  return {.weights = {400, 100},
          .self_cache = {200, 20},
          .cross_cache = {200, 40},
          .moved_bytes = 100,
          .operations = 10,
          .teams = 1};
}

DecodingCeilings without_overhead() {
  DecodingCeilings ceilings = slow_machine();
  ceilings.operation_seconds = ceilings.team_seconds = ceilings.choosing_seconds = 0;
  return ceilings;
}

}  // namespace

TEST_CASE("bytes and operations of a decoding step, counted by hand") {
  const Size B = 3, S = 5, T = 4, layers = 2, C = 16, F = 24, V = 11, D = 4, H = 4;
  for (const Size G : {1, 2, 4})
    for (const Size beam : {1, 3}) {
      CAPTURE(G);
      CAPTURE(beam);
      const Transformer model(two_layers(grouped_query(H, G)), 1);
      const DecodingMeasurement measurement{.batch = B, .source_length = S, .target_length = T, .beam = beam};
      const DecodingCost cost = decoding_cost(model, measurement);
      const Size rows = B * beam;
      const Size joint = (C + 1) * (C + 2 * G * D), square = (C + 1) * C, feed_forward = (C + 1) * F + (F + 1) * C;
      const Size weights = layers * (joint + 3 * square + feed_forward) + V * C;
      CHECK(cost.weights.bytes == 4 * weights);
      CHECK(cost.weights.flops == 2 * rows * weights);
      // Keys and values; 1, 2, 3 and then 4 target positions in the run's four steps.
      CHECK(4 * cost.self_cache.bytes == layers * 2 * rows * (1 + 2 + 3 + 4) * G * D * 4);
      CHECK(4 * cost.self_cache.flops == layers * 2 * 2 * rows * (1 + 2 + 3 + 4) * H * D);
      CHECK(cost.cross_cache.bytes == layers * 2 * B * S * G * D * 4);  // shared by a sentence's hypotheses
      CHECK(cost.cross_cache.flops == layers * 2 * 2 * rows * S * H * D);
      // Two of three rows move, and are read and written.
      CHECK(cost.moved_bytes == doctest::Approx(beam == 1 ? 0 : 2 * 2.0 / 3 * cost.self_cache.bytes));
      CHECK(cost.cache_bytes() == doctest::Approx(cost.self_cache.bytes + cost.cross_cache.bytes + cost.moved_bytes));
      CHECK(cost.bytes() == doctest::Approx(cost.weights.bytes + cost.cache_bytes()));

      DecodingMeasurement narrow = measurement;
      narrow.cache_type = ElementType::bfloat16;
      const DecodingCost half = decoding_cost(model, narrow);
      CHECK(half.cache_bytes() == doctest::Approx(cost.cache_bytes() / 2));
      CHECK(half.weights.bytes == cost.weights.bytes);
      CHECK(half.flops() == cost.flops());
    }
}

TEST_CASE("local attention reads no more than its window") {
  const DecodingMeasurement measurement{.batch = 1, .source_length = 1, .target_length = 5};
  const auto self_bytes = [&](Size window) {
    const AttentionMode mode = multi_head(4);
    const Transformer model(two_layers(AttentionSites(mode, local_window(mode, window), mode)), 1);
    return decoding_cost(model, measurement).self_cache.bytes;
  };
  const double position = 2 * 2 * 4 * 4 * 4;  // layers, key and value, heads of 4 numbers of 4 bytes
  CHECK(self_bytes(0) == position * (1 + 2 + 3 + 4 + 5) / 5);
  CHECK(self_bytes(2) == position * (1 + 2 + 2 + 2 + 2) / 5);
  CHECK(self_bytes(1) == position);
  CHECK(self_bytes(5) == self_bytes(0));
  CHECK(self_bytes(50) == self_bytes(0));
}

TEST_CASE("what is counted is what runs: products, attention and the number of operations") {
  for (const NormPlacement norm : {NormPlacement::post, NormPlacement::pre}) {
    TransformerConfig config = two_layers(grouped_query(4, 2));
    config.norm = norm;
    const Transformer model(config, 1);
    const Decoder decoder(model);
    const DecodingMeasurement measurement{.batch = 3, .source_length = 5, .target_length = 1};
    const DecodingCost cost = decoding_cost(decoder, measurement);
    const auto records_of = [](DecodingRun& run) {
      const Profile profile;
      run.step();
      return profile.records();
    };
    DecodingRun run(decoder, measurement);
    double products = 0, attention = 0;
    for (const OperationRecord& record : records_of(run)) {
      if (record.name == std::string("linear")) products += record.flops;
      if (record.name == std::string("attention")) attention += record.flops;
    }
    // The first step also makes its memory, so the second is counted; choosing with argmax is a figure of its own.
    DecodingRun longer(decoder, {.batch = 3, .source_length = 5, .target_length = 2});
    longer.step();
    const Size operations = static_cast<Size>(records_of(longer).size()) - 1;
    const Size biases = 2 * ((16 + 2 * 2 * 4) + 3 * 16 + 24 + 16);  // of both layers; added, not counted by a product
    CHECK(products == cost.weights.flops - 2 * 3 * biases);
    CHECK(attention == cost.self_cache.flops + cost.cross_cache.flops);
    CHECK(operations == cost.operations);
    CHECK(cost.teams == 0);
  }
}

TEST_CASE("larger operations start teams of threads, and no more than there are operations") {
  const Transformer model(two_layers(multi_head(4)), 1);
  Size before = 0;
  for (const Size batch : {1, 50, 500, 5000, 1'000'000}) {
    const DecodingCost cost = decoding_cost(model, {.batch = batch});
    CHECK(cost.teams >= before);
    CHECK(cost.teams <= cost.operations - 2);  // the two on a number for each row are one piece
    before = cost.teams;
  }
  CHECK(before == decoding_cost(model, {}).operations - 2);
}

TEST_CASE("more of anything costs more, and fewer key/value heads less") {
  const DecodingMeasurement base{.batch = 2, .source_length = 6, .target_length = 6, .beam = 2};
  const Transformer mha(two_layers(multi_head(4)), 1);
  const Decoder decoder(mha);
  const auto bytes = [&](const DecodingMeasurement& measurement) {
    return decoding_cost(decoder, measurement).bytes();
  };
  const auto flops = [&](const DecodingMeasurement& measurement) {
    return decoding_cost(decoder, measurement).flops();
  };
  for (Size DecodingMeasurement::*more : {&DecodingMeasurement::batch, &DecodingMeasurement::source_length,
                                          &DecodingMeasurement::target_length, &DecodingMeasurement::beam}) {
    DecodingMeasurement larger = base;
    larger.*more += 1;
    CHECK(bytes(larger) > bytes(base));
    CHECK(flops(larger) > flops(base));
  }
  double previous = bytes(base);
  for (const Size G : {2, 1}) {
    const Transformer shared(two_layers(grouped_query(4, G)), 1);
    const DecodingCost cost = decoding_cost(shared, base);
    CHECK(cost.bytes() < previous);
    CHECK(cost.self_cache.flops == decoding_cost(decoder, base).self_cache.flops);  // all query heads still ask
    previous = cost.bytes();
  }
}

TEST_CASE("reading speed between measured amounts lies on the line over log(bytes)") {
  const DecodingCeilings ceilings = slow_machine();
  CHECK(ceilings.bytes_per_second(1) == 100);
  CHECK(ceilings.bytes_per_second(1000) == 100);
  CHECK(ceilings.bytes_per_second(10'000) == doctest::Approx(10));
  CHECK(ceilings.bytes_per_second(1000 * std::sqrt(10.0)) == doctest::Approx(55));
  CHECK(ceilings.bytes_per_second(1e12) == 10);
  CHECK_THROWS_WITH_AS(DecodingCeilings{}.bytes_per_second(1), "decoding ceilings: no reading speed was measured",
                       Error);
}

TEST_CASE(
    "a prediction is the sum of its parts, where reading and computing follow each other or one hides the other") {
  const Prediction prediction = predict(some_cost(), slow_machine());
  CHECK(prediction.bytes_per_second == 100);
  CHECK(prediction.weights.reading == 4);
  CHECK(prediction.weights.computing == 2);
  CHECK(prediction.self_cache.reading == 2);
  CHECK(prediction.self_cache.computing == 1);
  CHECK(prediction.cross_cache.reading == 2);
  CHECK(prediction.cross_cache.computing == 1);
  CHECK(prediction.moving == 1);
  CHECK(prediction.starting == 10 * 2 + 3);
  CHECK(prediction.choosing == 7);
  CHECK(prediction.seconds() == 6 + 3 + 3 + 1 + 23 + 7);

  DecodingCeilings ceilings = slow_machine();
  ceilings.overlap = Overlap::full;
  ceilings.self_attention_flops = 2;  // 10 s, longer than reading
  const Prediction hidden = predict(some_cost(), ceilings);
  CHECK(hidden.weights.reading == 4);
  CHECK(hidden.weights.computing == 0);
  CHECK(hidden.self_cache.reading == 0);
  CHECK(hidden.self_cache.computing == 10);
  CHECK(hidden.seconds() == 4 + 10 + 2 + 1 + 23 + 7);

  for (const Prediction& p : {prediction, hidden}) {
    double sum = 0;
    for (const Bound bound : {Bound::overhead, Bound::weights, Bound::cache, Bound::compute}) sum += p.seconds(bound);
    CHECK(sum == p.seconds());
  }
}

TEST_CASE("the verdict is the resource with the most seconds") {
  const DecodingCost cost = some_cost();
  CHECK(predict(cost, slow_machine()).bound() == Bound::overhead);
  DecodingCeilings ceilings = without_overhead();
  CHECK(predict(cost, ceilings).bound() == Bound::cache);
  CHECK(predict(cost, ceilings).seconds(Bound::cache) == 2 + 2 + 1);  // moving rows reads and writes the cache
  CHECK(predict(cost, ceilings).seconds(Bound::weights) == 4);
  CHECK(predict(cost, ceilings).seconds(Bound::compute) == 2 + 1 + 1);
  ceilings.product_flops = 10;  // products take 10 s
  CHECK(predict(cost, ceilings).bound() == Bound::compute);
  CHECK(name(predict(cost, ceilings).bound()) == "compute-bound");

  DecodingCost heavy = cost;
  heavy.weights = {600, 10};
  CHECK(predict(heavy, without_overhead()).bound() == Bound::weights);

  ceilings = without_overhead();
  ceilings.overlap = Overlap::full;
  CHECK(predict(cost, ceilings).bound() == Bound::cache);
  CHECK(predict(cost, ceilings).seconds(Bound::compute) == 0);
  ceilings.self_attention_flops = ceilings.cross_attention_flops = 1;  // 20 and 40 s
  CHECK(predict(cost, ceilings).seconds(Bound::compute) == 60);
  CHECK(predict(cost, ceilings).seconds(Bound::cache) == 1);
}

TEST_CASE("no ceiling raised makes a prediction longer, and none lowered makes it shorter") {
  const DecodingCost cost = some_cost();
  const double seconds = predict(cost, slow_machine()).seconds();
  for (double DecodingCeilings::*speed : {&DecodingCeilings::product_flops, &DecodingCeilings::self_attention_flops,
                                          &DecodingCeilings::cross_attention_flops}) {
    DecodingCeilings ceilings = slow_machine();
    ceilings.*speed *= 10;
    CHECK(predict(cost, ceilings).seconds() <= seconds);
    ceilings.*speed /= 1000;
    CHECK(predict(cost, ceilings).seconds() > seconds);
  }
  for (double DecodingCeilings::*time :
       {&DecodingCeilings::operation_seconds, &DecodingCeilings::team_seconds, &DecodingCeilings::choosing_seconds}) {
    DecodingCeilings ceilings = slow_machine();
    ceilings.*time *= 2;
    CHECK(predict(cost, ceilings).seconds() > seconds);
  }
}

TEST_CASE("a verdict says what was predicted, and what took longer where it was not") {
  const DecodingCost cost = some_cost();
  const Prediction prediction = predict(cost, without_overhead());  // 13 s
  for (const double measured : {13.0, 9.7, 19.9}) {
    const Verdict verdict = judge(cost, prediction, measured, {});
    CHECK(verdict.predicted);
    CHECK(verdict.bound == Bound::cache);
    CHECK(contains(verdict.why, "38 %"));  // 5 of 13 s
    CHECK_FALSE(contains(verdict.why, "measured"));
  }
  // Attention took 8 s instead of 6, the rest 5 instead of none; measured again, the machine is what it was.
  const auto missed = [&](const DecodingBreakdown& breakdown) {
    return judge(cost, prediction, 21, {breakdown, prediction});
  };
  const Verdict slower = missed({6, 8, 1, 1, 5});
  CHECK_FALSE(slower.predicted);
  CHECK(slower.bound == Bound::overhead);  // 8 s that nothing counted explains, more than the 5 of the caches
  CHECK(contains(slower.why, "mostly everything else of 10 operations: 5000.00 ms where"));
  CHECK(contains(missed({6, 14, 1, 0, 0}).why,
                 "mostly attention: 14000.00 ms where its bytes and operations take 6000.00 ms"));
  CHECK(contains(missed({14, 6, 1, 0, 0}).why, "mostly products"));
  CHECK(contains(missed({6, 6, 1, 8, 0}).why, "mostly choosing tokens"));
  const Verdict faster = judge(cost, prediction, 5, {{}, prediction});
  CHECK_FALSE(faster.predicted);
  CHECK(faster.bound == Bound::cache);
  CHECK(contains(faster.why, "measured 5000.00 ms, less than 13000.00 ms, predicted from speeds measured again"));
  CHECK_FALSE(contains(faster.why, "because"));  // nothing can be faster than its longer half
  // 4 s of reading and 2 of arithmetic each.
  CHECK(contains(judge(cost, prediction, 9, {{6, 4, 1, 0, 0}, prediction}).why,
                 "; attention took 4000.00 ms, because reading, 4000.00 ms, and arithmetic, 2000.00 ms, went"));
  CHECK(contains(judge(cost, prediction, 9, {{4, 6, 1, 0, 0}, prediction}).why, "; products took 4000.00 ms"));
  CHECK_FALSE(
      contains(judge(cost, prediction, 9, {{6, 6, -3, 0, 0}, prediction}).why, "because"));  // moving was faster
}

TEST_CASE("where speeds measured again predict the row, the verdict says that the machine has changed") {
  const DecodingCost cost = some_cost();
  const Prediction prediction = predict(cost, without_overhead());
  DecodingCeilings later = without_overhead();
  for (ReadingSpeed& speed : later.reading) speed.bytes_per_second /= 2;
  later.product_flops = 5;  // 20 s
  const Verdict verdict = judge(cost, prediction, 40, {{}, predict(cost, later)});
  CHECK_FALSE(verdict.predicted);
  CHECK(verdict.bound == Bound::compute);  // as it is now
  CHECK(contains(verdict.why, "the machine has changed: 40000.00 ms are predicted from speeds measured again, "));
  CHECK(contains(verdict.why, "products take 28000.00 ms of it instead of 6000.00 ms (reading at 0.0 GB/s, before"));
}

TEST_CASE("what a machine can do is measured for the decoding asked about, each figure once") {
  const Transformer model(two_layers(grouped_query(4, 2)), 1);
  const Decoder decoder(model);
  const Size MiB = Size{1} << 20;
  CHECK(reading_amounts(Device::cpu, 3 * MiB) == std::vector<Size>{MiB, 2 * MiB, 4 * MiB});
  CHECK(reading_amounts(Device::cpu, 1) == std::vector<Size>{MiB});
  CHECK(reading_amounts(Device::cpu, Size{1} << 40).back() == 512 * MiB);
  CeilingMeter meter(Device::cpu, {MiB, 2 * MiB});
  REQUIRE(meter.reading().size() == 2);
  CHECK(meter.reading()[1].bytes == 2 * MiB);
  for (const ReadingSpeed& speed : meter.reading()) CHECK(speed.bytes_per_second > 0);
  for (const auto& [beam, source] : std::vector<std::array<Size, 2>>{{1, 5}, {3, 130}}) {  // the second: keys in tiles
    const DecodingMeasurement measurement{.batch = 2, .source_length = source, .target_length = 3, .beam = beam};
    const DecodingCeilings first = meter.ceilings(decoder, measurement), again = meter.ceilings(decoder, measurement);
    for (double DecodingCeilings::*figure :
         {&DecodingCeilings::product_flops, &DecodingCeilings::self_attention_flops,
          &DecodingCeilings::cross_attention_flops, &DecodingCeilings::operation_seconds,
          &DecodingCeilings::team_seconds, &DecodingCeilings::choosing_seconds}) {
      CHECK(first.*figure > 0);
      CHECK(std::isfinite(first.*figure));
      CHECK(first.*figure == again.*figure);
    }
  }
}

TEST_CASE("a measured run decodes every sentence to its last token, greedily and with a beam") {
  const Transformer model(two_layers(grouped_query(4, 2)), 1);
  const Decoder decoder(model);
  for (const Size beam : {1, 3}) {
    const DecodingMeasurement measurement{.batch = 4, .source_length = 5, .target_length = 6, .beam = beam};
    DecodingRun run(decoder, measurement);
    // Key and value, 2 layers, 2 heads of 4 numbers of 4 bytes: 6 target positions a row, 5 source positions a
    // sentence.
    CHECK(run.cache_bytes() == 2 * 2 * 2 * 4 * 4 * (4 * beam * 6 + 4 * 5));
    for (Size step = 0; step < 6; ++step) run.step();
    CHECK(run.cache_bytes() == 2 * 2 * 2 * 4 * 4 * (4 * beam * 6 + 4 * 5));
    const DecodingBreakdown parts = measure_breakdown(decoder, measurement);
    for (const double part : {parts.products, parts.attention, parts.choosing, parts.rest}) CHECK(part > 0);
    CHECK((parts.moving > 0) == (beam > 1));
    CHECK(measure_decoding(decoder, measurement).tokens_per_second > 0);
  }
}
