#include <array>
#include <cmath>

#include "lesson.h"
#include "nn/conversion.h"
#include "tensor/attention.h"
#include "tensor/elementwise.h"
#include "tutorials/support/check.h"

namespace headshare::lesson {
namespace {

// Random tokens: enough to train on, nothing to learn.
EncodedCorpus random_corpus(Size pairs, Size vocabulary, std::uint64_t seed) {
  Generator generator(seed);
  const auto sentence = [&](std::vector<std::int32_t> tokens) {
    for (Size length = 3 + generator.below(4); length > 0; --length)
      tokens.push_back(static_cast<std::int32_t>(3 + generator.below(vocabulary - 3)));
    tokens.push_back(end_id);
    return tokens;
  };
  EncodedCorpus corpus;
  for (Size pair = 0; pair < pairs; ++pair) corpus.pairs.push_back({sentence({}), sentence({begin_id})});
  return corpus;
}

constexpr Size vocabulary = 17;

Transformer small_model(Size heads, std::uint64_t seed) {
  Transformer model({.vocabulary = vocabulary,
                     .d_model = 12,
                     .d_ff = 20,
                     .layers = 2,
                     .attention = multi_head(heads),
                     .max_length = 16,
                     .dropout = 0},
                    seed);
  std::uint64_t next = 100 * seed;  // biases begin at zero, where no mistake would show
  model.visit([&](const std::string&, const Parameter& parameter) {
    if (parameter.shape().rank() == 1)
      accumulate(affine(random_tensor(parameter.shape(), ++next), 0.1, 0), parameter.value());
  });
  return model;
}

Attention small_attention(AttentionMode mode, std::uint64_t seed) {
  Generator generator(seed);
  Attention attention(12, mode, generator, {});
  attention.visit("", [&](const std::string&, const Parameter& parameter) {
    parameter.value().copy_from(random_tensor(parameter.shape(), ++seed));
  });
  return attention;
}

Tensor values(std::initializer_list<float> numbers, const Shape& shape) { return from_values<float>(numbers, shape); }

}  // namespace

// ---- Step 1 ---------------------------------------------------------------------------------------------------------

TEST_CASE("9.1 two heads of two numbers become their mean") {
  const Tensor columns = values({1, 2, 3, 6, 10, 20, 30, 60}, {2, 4});  // two rows; head 0 has the columns 0 and 1
  check_close(mean_of_heads(columns, 2, 1), values({2, 4, 20, 40}, {2, 2}), "two heads of two columns, averaged");
}

TEST_CASE("9.1 the heads of a group are neighbours") {
  check_close(mean_of_heads(values({1, 3, 10, 20}, {1, 4}), 4, 2), values({2, 15}, {1, 2}),
              "heads 1 and 3, then heads 10 and 20, averaged");
}

TEST_CASE("9.1 a bias is pooled like a weight") {
  check_close(mean_of_heads(values({1, 2, 3, 6}, {4}), 2, 1), values({2, 4}, {2}), "the mean of a bias");
  check_close(first_of_heads(values({1, 2, 3, 6, 5, 5, 7, 7}, {8}), 4, 2), values({1, 2, 5, 5}, {4}),
              "the first heads of a bias");
}

TEST_CASE("9.1 the mean of random weights of any size") {
  constexpr Size rows = 7, from = 6, to = 2, D = 3;
  const Tensor columns = random_tensor({rows, from * D}, 1), expected = zeros({rows, to * D});
  for (Size row = 0; row < rows; ++row)
    for (Size column = 0; column < to * D; ++column) {
      const Size first = column / D * 3;  // head
      double sum = 0;
      for (Size head = first; head < first + 3; ++head) sum += columns.at({row, head * D + column % D});
      expected.set({row, column}, sum / 3);
    }
  check_close(mean_of_heads(columns, from, to), expected, "the mean of three heads");
}

TEST_CASE("9.1 the first head of every group, in memory of its own") {
  const Tensor columns = values({1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18}, {2, 8});
  const Tensor first = first_of_heads(columns, 4, 2);
  check_close(first, values({1, 2, 5, 6, 11, 12, 15, 16}, {2, 4}), "the first of every two heads");
  const Tensor bias = values({1, 2, 3, 4}, {4}), first_of_bias = first_of_heads(bias, 2, 1);
  bias.set({0}, 99);
  check_close(first_of_bias, values({1, 2}, {2}), "the pooled head after the old bias has changed");
}

// ---- Step 2 ---------------------------------------------------------------------------------------------------------

TEST_CASE("9.2 queries and output are copied, keys and values pooled") {
  const Attention from = small_attention(multi_head(4), 1), to = small_attention(grouped_query(4, 2), 50);
  convert_attention_into(from, to, Pooling::mean);
  check_close(to.query.weight.value(), from.query.weight.value(), "W_Q");
  check_close(to.query.bias.value(), from.query.bias.value(), "the bias of the queries");
  check_close(to.output.weight.value(), from.output.weight.value(), "W_O");
  check_close(to.output.bias.value(), from.output.bias.value(), "the bias of the output");
  check_close(to.key.weight.value(), mean_of_heads(from.key.weight.value(), 4, 2), "W_K");
  check_close(to.key.bias.value(), mean_of_heads(from.key.bias.value(), 4, 2), "the bias of the keys");
  check_close(to.value.weight.value(), mean_of_heads(from.value.weight.value(), 4, 2), "W_V");
  check_close(to.value.bias.value(), mean_of_heads(from.value.bias.value(), 4, 2), "the bias of the values");
}

TEST_CASE("9.2 first takes the first head, random leaves the new keys and values alone") {
  const Attention from = small_attention(multi_head(4), 1), first = small_attention(multi_query(4), 50),
                  random = small_attention(multi_query(4), 50), untouched = small_attention(multi_query(4), 50);
  convert_attention_into(from, first, Pooling::first);
  check_close(first.key.weight.value(), first_of_heads(from.key.weight.value(), 4, 1), "W_K, first");
  check_close(first.value.weight.value(), first_of_heads(from.value.weight.value(), 4, 1), "W_V, first");
  convert_attention_into(from, random, Pooling::random);
  check_close(random.key.weight.value(), untouched.key.weight.value(), "W_K, random");
  check_close(random.value.bias.value(), untouched.value.bias.value(), "the bias of the values, random");
  check_close(random.query.weight.value(), from.query.weight.value(), "W_Q, random");
}

TEST_CASE("9.2 the encoder keeps its heads where only the decoder shares") {
  const AttentionSites sites = decoder_sites(multi_head(6), 2);
  check_equal(sites.encoder_self.kv_heads, 6, "key/value heads of the encoder");
  check_equal(sites.decoder_self.kv_heads, 2, "key/value heads of decoder self-attention");
  check_equal(sites.cross.kv_heads, 2, "key/value heads of cross-attention");
  check_equal(sites.cross.heads, 6, "query heads of cross-attention");
}

TEST_CASE("9.2 what is not shared is copied, and the old model stays") {
  const Transformer model = small_model(4, 1), before = clone(model);
  const Transformer converted = convert_model(model, decoder_sites(multi_head(4), 1), Pooling::mean, 7);
  check_close(converted.embedding_table(), model.embedding_table(), "the embedding table");
  check_close(converted.encoder()[1].self.key.weight.value(), model.encoder()[1].self.key.weight.value(),
              "W_K of the encoder");
  check_close(converted.decoder()[1].feed_forward.inner.bias.value(),
              model.decoder()[1].feed_forward.inner.bias.value(), "a bias of the feed-forward layer");
  check_close(converted.decoder()[1].cross.key.weight.value(),
              mean_of_heads(model.decoder()[1].cross.key.weight.value(), 4, 1), "W_K of cross-attention");
  check_equal(converted.decoder()[0].self.value.weight.shape(), {12, 3}, "W_V of decoder self-attention: shape");
  std::vector<Tensor> old;
  before.visit([&](const std::string&, const Parameter& parameter) { old.push_back(parameter.value()); });
  std::size_t i = 0;
  model.visit([&](const std::string& name, const Parameter& parameter) {
    check_close(parameter.value(), old[i++], name + " of the old model");
  });
}

TEST_CASE("9.2 heads that are equal lose nothing by sharing") {
  const EncodedCorpus corpus = random_corpus(9, vocabulary, 3);
  for (const Size kv_heads : {2, 1}) {
    const Transformer model = small_model(4, 2);
    for (const NamedAttention& named : attentions_of(model))
      for (const Linear* linear : {&named.attention->key, &named.attention->value}) {
        const Tensor weight = linear->weight.value(), bias = linear->bias.value();
        for (Size head = 0; head < 4; ++head) {  // heads of 3 numbers; all become like the first of their group
          const Size first = 3 * (head - head % (4 / kv_heads));
          weight.slice(1, 3 * head, 3 * head + 3).copy_from(weight.slice(1, first, first + 3));
          bias.slice(0, 3 * head, 3 * head + 3).copy_from(bias.slice(0, first, first + 3));
        }
      }
    const double before = validation_nll(model, corpus);
    for (const Pooling pooling : {Pooling::mean, Pooling::first})
      check_close(
          validation_nll(convert_model(model, all_sites(model.config().attention, kv_heads), pooling, 5), corpus),
          before, text("loss with ", kv_heads, " key/value heads, ", name_of(pooling)), 1e-5);
  }
}

// ---- Step 3 ---------------------------------------------------------------------------------------------------------

TEST_CASE("9.3 equal heads are kept, opposite heads cancel, unrelated ones keep half") {
  check_close(kept_by_mean(values({1, 2, 1, 2}, {1, 4}), 2, 1), 1, "kept of two equal heads");
  check_close(kept_by_mean(values({1, 2, -1, -2}, {1, 4}), 2, 1), 0, "kept of two opposite heads");
  check_close(kept_by_mean(values({1, 0, 0, 1}, {1, 4}), 2, 1), 0.5, "kept of two heads at a right angle");
  check_close(kept_by_mean(values({3, 1}, {2}), 2, 1), 0.8, "kept of the heads 3 and 1: two times 2 squared, over 10");
}

TEST_CASE("9.3 of many unrelated heads, one part in the size of the group is kept") {
  const Tensor columns = random_tensor({200, 8 * 16}, 4);
  for (const Size groups : {4, 2, 1})
    check_close(kept_by_mean(columns, 8, groups), static_cast<double>(groups) / 8, text("kept by ", groups, " groups"),
                0.02);
}

TEST_CASE("9.3 turning a head by a quarter exchanges its two coordinates") {
  Generator generator(1);
  const Attention attention(4, multi_head(2), generator, {});  // heads of two numbers
  attention.key.weight.value().copy_from(values({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, {4, 4}));
  attention.key.bias.value().copy_from(values({1, 2, 3, 4}, {4}));
  turn_head(attention, 1, values({0, 1, -1, 0}, {2, 2}));
  check_close(attention.key.weight.value(), values({1, 2, -4, 3, 5, 6, -8, 7, 9, 10, -12, 11, 13, 14, -16, 15}, {4, 4}),
              "W_K with head 1 turned");
  check_close(attention.key.bias.value(), values({1, 2, -4, 3}, {4}), "the bias of the keys with head 1 turned");
}

TEST_CASE("9.3 a turned head attends as before, though its weights are others") {
  const Attention attention = small_attention(multi_head(3), 8);  // heads of four numbers
  const Variable x(random_tensor({2, 5, 12}, 9));
  const NoGradient no_gradient;
  const Tensor before = attention(x, x, {}).value(), query = attention.query.weight.value().clone(),
               key = attention.key.weight.value().clone();
  turn_head(attention, 1, random_rotation(4, 10));
  check_close(attention(x, x, {}).value(), before, "the output of attention after turning head 1", 1e-4);
  CHECK(relative_error(attention.query.weight.value(), query) > 0.1);
  CHECK(relative_error(attention.key.weight.value(), key) > 0.1);
}

// ---- Step 4 ---------------------------------------------------------------------------------------------------------

TEST_CASE("9.4 the learning rate falls along a line, to 0 at the last update") {
  check_close(uptraining_rate(0.8, 1, 4), 0.6, "rate of update 1 of 4");
  check_close(uptraining_rate(0.8, 2, 4), 0.4, "rate of update 2 of 4");
  check_close(uptraining_rate(0.8, 4, 4), 0, "rate of the last update");
  check_close(uptraining_rate(1e-3, 30, 120) * 1e3, 0.75, "1000 times the rate of update 30 of 120");
}

TEST_CASE("9.4 uptraining makes the updates that the library's trainer makes") {
  const EncodedCorpus corpus = random_corpus(40, vocabulary, 6);
  const Transformer model = small_model(2, 3), expected = clone(model);
  uptrain(model, corpus, {.steps = 7, .start_rate = 4e-3, .tokens_per_batch = 48, .seed = 5});
  Trainer trainer(expected, corpus,
                  {.steps = 7,
                   .tokens_per_batch = 48,
                   .clip = 0,
                   .schedule = {.peak = 4e-3, .warmup = 1, .decay_after = 0, .decay_steps = 7},
                   .seed = 5});
  for (Size step = 0; step < 7; ++step) trainer.step();
  check_close(model.embedding_table(), expected.embedding_table(), "the embedding table after 7 updates", 1e-4);
  check_close(model.decoder()[0].cross.key.weight.value(), expected.decoder()[0].cross.key.weight.value(),
              "W_K of cross-attention after 7 updates", 1e-4);
}

// ---- Step 5 ---------------------------------------------------------------------------------------------------------

TEST_CASE("9.5 where nothing is shared, sharing costs nothing") {
  const EncodedCorpus train = random_corpus(40, vocabulary, 6), valid = random_corpus(10, vocabulary, 7);
  const Transformer model = small_model(2, 4);
  const Comparison comparison = compare_with_control(model, {{model.config().attention, Pooling::mean}}, train, valid,
                                                     {.steps = 6, .start_rate = 1e-2, .tokens_per_batch = 48});
  check_equal(static_cast<Size>(comparison.outcomes.size()), 1, "outcomes of one candidate");
  const Outcome& outcome = comparison.outcomes[0];
  check_close(outcome.converted, comparison.before, "the loss after a conversion to as many heads");
  check_close(outcome.uptrained, comparison.control, "the loss after training, against the control's", 1e-4);
  check_close(outcome.against_control, 0, "what sharing costs", 1e-4);
  CHECK(std::abs(outcome.against_before) > 1e-3);  // both have been trained on
}

TEST_CASE("9.5 every candidate is made of the model as it was") {
  const EncodedCorpus train = random_corpus(40, vocabulary, 6), valid = random_corpus(10, vocabulary, 7);
  const Transformer model = small_model(4, 5);
  const double loss = validation_nll(model, valid);
  const Uptraining uptraining{.steps = 5, .start_rate = 1e-2, .tokens_per_batch = 48, .seed = 3};
  const AttentionSites one = decoder_sites(model.config().attention, 1), two = all_sites(model.config().attention, 2);
  const Comparison comparison =
      compare_with_control(model, {{one, Pooling::mean}, {two, Pooling::random}}, train, valid, uptraining);
  check_close(validation_nll(model, valid), loss, "the loss of the given model afterwards");
  check_close(comparison.before, loss, "before");
  check_equal(static_cast<Size>(comparison.outcomes.size()), 2, "outcomes of two candidates");
  const Outcome &first = comparison.outcomes[0], &second = comparison.outcomes[1];
  check_close(first.converted, validation_nll(convert_model(model, one, Pooling::mean, 3), valid), "first, converted");
  check_close(second.converted, validation_nll(convert_model(model, two, Pooling::random, 3), valid),
              "second, random weights of uptraining.seed, converted");
  const Transformer control = clone(model);
  uptrain(control, train, uptraining);
  check_close(comparison.control, validation_nll(control, valid), "control", 1e-4);
  check_close(first.against_before, first.uptrained - loss, "first, against before");
  check_close(second.against_control, second.uptrained - comparison.control, "second, against the control");
}

}  // namespace headshare::lesson
