#include <cmath>

#include "lesson.h"
#include "tensor/elementwise.h"
#include "tutorials/support/check.h"

namespace headshare::lesson {
namespace {

std::uint64_t fresh(std::uint64_t seed) { return 1000 * grading_seed() + seed; }
Size drawn(Size from, Size to, std::uint64_t seed) { return from + Generator(fresh(seed)).below(to - from + 1); }

EncodedCorpus random_corpus(Size pairs, Size vocabulary, std::uint64_t seed) {
  Generator generator(seed);
  const auto sentence = [&](std::vector<std::int32_t> tokens) {
    for (Size length = 2 + generator.below(5); length > 0; --length)
      tokens.push_back(static_cast<std::int32_t>(3 + generator.below(vocabulary - 3)));
    tokens.push_back(end_id);
    return tokens;
  };
  EncodedCorpus corpus;
  for (Size pair = 0; pair < pairs; ++pair) corpus.pairs.push_back({sentence({}), sentence({begin_id})});
  return corpus;
}

Transformer random_model(Size heads, Size D, std::uint64_t seed) {
  Transformer model({.vocabulary = 15,
                     .d_model = heads * D,
                     .d_ff = 11,
                     .layers = 1,
                     .attention = multi_head(heads),
                     .max_length = 16,
                     .dropout = 0},
                    seed);
  model.visit([&](const std::string&, const Parameter& parameter) {
    if (parameter.shape().rank() == 1)
      accumulate(affine(random_tensor(parameter.shape(), ++seed), 0.1, 0), parameter.value());
  });
  return model;
}

}  // namespace

TEST_CASE("9.1 pooling of unseen sizes") {
  const Size group = drawn(2, 4, 1), to = drawn(2, 5, 2), D = drawn(2, 9, 3), rows = drawn(3, 20, 4);
  const Size from = group * to;
  for (const Size with_rows : {rows, Size{0}}) {  // a weight, then a bias
    const Tensor flat = random_tensor({std::max(with_rows, Size{1}), from * D}, fresh(5));
    const Tensor mean = zeros({flat.extent(0), to * D}), first = zeros({flat.extent(0), to * D});
    for (Size row = 0; row < flat.extent(0); ++row)
      for (Size g = 0; g < to; ++g)
        for (Size d = 0; d < D; ++d) {
          double sum = 0;
          for (Size member = 0; member < group; ++member) sum += flat.at({row, (g * group + member) * D + d});
          mean.set({row, g * D + d}, sum / static_cast<double>(group));
          first.set({row, g * D + d}, flat.at({row, g * group * D + d}));
        }
    const std::string what = text(" of ", from, " heads in ", to, " groups, D ", D);
    const Shape shape = with_rows > 0 ? Shape{rows, to * D} : Shape{to * D};
    const Tensor columns = with_rows > 0 ? flat : flat.reshape({from * D});
    check_close(mean_of_heads(columns, from, to), mean.reshape(shape), "mean" + what);
    check_close(first_of_heads(columns, from, to), first.reshape(shape), "first" + what);
  }
}

TEST_CASE("9.2 a converted model is the multi-head model whose heads are the groups' means") {
  const Size D = drawn(2, 4, 6), heads = 6;
  for (const Size kv_heads : {3, 2, 1}) {
    const Transformer model = random_model(heads, D, fresh(7));
    const EncodedCorpus corpus = random_corpus(8, 15, fresh(8));
    const AttentionSites& before = model.config().attention;
    for (const AttentionSites& sites : {decoder_sites(before, kv_heads), all_sites(before, kv_heads)}) {
      // The same without sharing: every head of a group gets a copy of the group's mean.
      const Transformer expected = clone(model);
      for (const NamedAttention& named : attentions_of(expected)) {
        if (sites.at(named.site).kv_heads == heads) continue;
        for (const Linear* linear : {&named.attention->key, &named.attention->value})
          for (const Tensor& tensor : {linear->weight.value(), linear->bias.value()}) {
            const Tensor pooled = mean_of_heads(tensor, heads, kv_heads);
            for (Size head = 0; head < heads; ++head) {
              const Size g = head / (heads / kv_heads);
              tensor.slice(-1, head * D, head * D + D).copy_from(pooled.slice(-1, g * D, g * D + D));
            }
          }
      }
      const Transformer converted = convert_model(model, sites, Pooling::mean, fresh(9));
      check_close(validation_nll(converted, corpus), validation_nll(expected, corpus),
                  text("loss with ", kv_heads, " key/value heads, ", name(sites)), 1e-5);
    }
  }
}

TEST_CASE("9.2 random keeps nothing of the keys and values, and all of the rest") {
  const Transformer model = random_model(4, 3, fresh(10));
  const AttentionSites sites = decoder_sites(model.config().attention, 2);
  const Transformer converted = convert_model(model, sites, Pooling::random, fresh(11));
  TransformerConfig config = model.config();
  config.attention = sites;
  const Transformer drawn_first(config, fresh(11));
  check_close(converted.decoder()[0].cross.key.weight.value(), drawn_first.decoder()[0].cross.key.weight.value(),
              "W_K of cross-attention");
  check_close(converted.decoder()[0].cross.query.weight.value(), model.decoder()[0].cross.query.weight.value(),
              "W_Q of cross-attention");
  check_close(converted.decoder()[0].self.output.bias.value(), model.decoder()[0].self.output.bias.value(),
              "the bias of the output of decoder self-attention");
}

TEST_CASE("9.3 what is lost by the mean is the distance to it") {
  const Size group = drawn(2, 4, 12), to = drawn(1, 3, 13), D = drawn(2, 5, 14), rows = drawn(2, 9, 15);
  const Size from = group * to;
  const Tensor columns = random_tensor({rows, from * D}, fresh(16)), mean = mean_of_heads(columns, from, to);
  double all = 0, lost = 0;  // |head|^2 = |mean|^2 + |head - mean|^2, summed over a group
  for (Size row = 0; row < rows; ++row)
    for (Size column = 0; column < from * D; ++column) {
      const double x = columns.at({row, column});
      const double m = mean.at({row, column / D / group * D + column % D});
      all += x * x;
      lost += (x - m) * (x - m);
    }
  check_close(kept_by_mean(columns, from, to), 1 - lost / all, "kept by the mean");
}

TEST_CASE("9.3 only the head that is turned changes, and attention does not") {
  const Size D = drawn(2, 5, 17), heads = 3, C = 7;
  Generator generator(fresh(18));
  const Attention attention(C, with_head_size(multi_head(heads), D), generator, {});
  std::uint64_t seed = fresh(19);
  attention.visit("", [&](const std::string&, const Parameter& parameter) {
    parameter.value().copy_from(random_tensor(parameter.shape(), ++seed));
  });
  const Variable x(random_tensor({2, 4, C}, fresh(20))), source(random_tensor({2, 6, C}, fresh(21)));
  const NoGradient no_gradient;
  const Tensor before = attention(x, source, {}).value(), key = attention.key.weight.value().clone(),
               value = attention.value.weight.value().clone();
  const Tensor rotation = random_rotation(D, fresh(22));
  for (const Size head : {2, 0}) turn_head(attention, head, rotation);
  check_close(attention(x, source, {}).value(), before, "the output after turning heads 2 and 0", 1e-4);
  check_close(attention.key.weight.value().slice(1, D, 2 * D).clone(), key.slice(1, D, 2 * D).clone(), "W_K of head 1");
  check_close(attention.key.weight.value().slice(1, 2 * D, 3 * D).clone(), matmul(key.slice(1, 2 * D, 3 * D), rotation),
              "W_K of head 2");
  check_close(attention.value.weight.value(), value, "W_V");
}

TEST_CASE("9.4 rates and updates of unseen lengths") {
  const Size steps = drawn(5, 9, 23);
  for (Size step = 1; step <= steps; ++step)
    check_close(uptraining_rate(3, step, steps), 3.0 * static_cast<double>(steps - step) / static_cast<double>(steps),
                text("rate of update ", step, " of ", steps));
  const EncodedCorpus corpus = random_corpus(30, 15, fresh(24));  // several epochs
  const Transformer model = random_model(2, 4, fresh(25)), expected = clone(model);
  const Uptraining uptraining{
      .steps = 2 * steps, .start_rate = 5e-3, .tokens_per_batch = 60, .label_smoothing = 0.2, .seed = fresh(26)};
  uptrain(model, corpus, uptraining);
  Trainer trainer(expected, corpus,
                  {.steps = 2 * steps,
                   .tokens_per_batch = 60,
                   .label_smoothing = 0.2,
                   .clip = 0,
                   .schedule = {.peak = 5e-3, .warmup = 1, .decay_after = 0, .decay_steps = 2 * steps},
                   .seed = fresh(26)});
  for (Size step = 0; step < 2 * steps; ++step) trainer.step();
  check_close(validation_nll(model, corpus), validation_nll(expected, corpus), "the loss after the updates", 1e-4);
  check_close(model.embedding_table(), expected.embedding_table(), "the embedding table after the updates", 1e-3);
}

TEST_CASE("9.5 converted model and control are trained alike") {
  const EncodedCorpus train = random_corpus(30, 15, fresh(27)), valid = random_corpus(8, 15, fresh(28));
  const Transformer model = random_model(4, 2, fresh(29));
  const Uptraining uptraining{.steps = 4, .start_rate = 1e-2, .tokens_per_batch = 60, .seed = fresh(30)};
  const AttentionSites sites = all_sites(model.config().attention, 2);
  const Comparison comparison = compare_with_control(model, {{sites, Pooling::first}}, train, valid, uptraining);
  check_equal(static_cast<Size>(comparison.outcomes.size()), 1, "outcomes of one candidate");
  const Outcome& outcome = comparison.outcomes[0];
  const Transformer control = clone(model), converted = convert_model(model, sites, Pooling::first, uptraining.seed);
  check_close(outcome.converted, validation_nll(converted, valid), "converted", 1e-5);
  uptrain(control, train, uptraining);
  uptrain(converted, train, uptraining);
  check_close(outcome.uptrained, validation_nll(converted, valid), "uptrained", 1e-4);
  check_close(comparison.control, validation_nll(control, valid), "control", 1e-4);
  check_close(outcome.against_control, outcome.uptrained - comparison.control, "against the control");
  check_close(outcome.against_before, outcome.uptrained - validation_nll(model, valid), "against before");
}

}  // namespace headshare::lesson
