#include "tensor/profile.h"

#include <doctest/doctest.h>

#include <string>

#include "core/report/measurements.h"
#include "nn/training_speed.h"
#include "tests/model_helpers.h"

using namespace headshare;
using namespace headshare::test;

TEST_CASE("a profile records what runs while it lives, with the cost of the definition") {
  const Tensor a = zeros({3, 5}), b = zeros({5, 7});
  matmul(a, b);
  {
    const Profile profile;
    CHECK(profile.records().empty());
    matmul(a, b);
    add(a, a);
    REQUIRE(profile.records().size() == 2);
    const OperationRecord &product = profile.records()[0], &sum = profile.records()[1];
    CHECK(std::string(product.name) == "matmul");
    CHECK(product.flops == 2 * 3 * 5 * 7);
    CHECK(product.bytes == 4 * (3 * 5 + 5 * 7 + 3 * 7));
    CHECK(std::string(sum.name) == "add");
    CHECK(sum.flops == 15);
    CHECK(sum.start >= product.start + product.seconds);
    CHECK(profile.seconds() >= sum.start + sum.seconds);
    CHECK_THROWS_AS(Profile(), Error);
  }
  const Profile next;
  CHECK(next.records().empty());
}

TEST_CASE("after the second step training asks the system for no memory") {
  const Transformer model(tiny_config(), 1);
  const TrainingSpeed speed = measure_training(model, {4, 6}, 3);
  CHECK(speed.new_allocations == 0);
  CHECK(speed.peak_bytes > 3 * count_parameters(model) * 4);  // weights, gradients and two moments at least
  CHECK(speed.seconds_per_step > 0);
}

TEST_CASE("the cost of a training step counts every weight product") {
  // d_model 16, d_ff 32, 1 layer, 4 heads, 2 of them for keys: encoder 16^2 (2 + 2/2) + 2 16 32, decoder twice the
  // attention, and the logits.
  const TransformerConfig config = checked({.vocabulary = 11,
                                            .d_model = 16,
                                            .d_ff = 32,
                                            .layers = 1,
                                            .attention = grouped_query(4, 2),
                                            .max_length = 8,
                                            .dropout = 0});
  const double weights = 3 * 16 * 16 * 3 + 2 * 2 * 16 * 32 + 11 * 16;
  CHECK(training_flops(config, {2, 5}) == 6 * 10 * weights);
}

TEST_CASE("measurements print as a table and as JSON with the same columns") {
  Measurements rows;
  rows.add({{"kernel", "softmax"}, {"ms", 1.23456, 2}, {"tokens/s", 12345.6}});
  rows.add({{"kernel", "adam"}, {"ms", 10.0, 2}, {"tokens/s", 7.0}});
  CHECK(rows.table() ==
        "kernel      ms  tokens/s\n"
        "-------  -----  --------\n"
        "softmax   1.23    12,346\n"
        "adam     10.00         7\n");
  CHECK(rows.json() ==
        "[\n {\n  \"kernel\": \"softmax\",\n  \"ms\": 1.23456,\n  \"tokens/s\": 12345.6\n },\n"
        " {\n  \"kernel\": \"adam\",\n  \"ms\": 10.0,\n  \"tokens/s\": 7.0\n }\n]\n");
  CHECK(Measurements().table().empty());
}
