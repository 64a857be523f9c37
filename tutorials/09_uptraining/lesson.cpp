#include "lesson.h"

#include <cmath>
#include <map>

#include "nn/optimizer.h"
#include "tensor/elementwise.h"
#include "tensor/reduce.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {

// ---- Step 1: many heads become few ----------------------------------------------------------------------------------

namespace {

void check_groups(const Tensor& columns, Size from, Size to) {
  if (from < 1 || to < 1 || from % to != 0) fail("pooling: ", from, " heads do not make ", to, " groups evenly");
  if (columns.extent(-1) % from != 0) fail("pooling: ", columns.extent(-1), " columns are not ", from, " heads");
}

}  // namespace

// [show mean]
Tensor mean_of_heads(const Tensor& columns, Size from, Size to) {
  check_groups(columns, from, to);
  const Size D = columns.extent(-1) / from, group = from / to, rows = columns.count() / columns.extent(-1);
  Shape shape = columns.shape();
  shape[-1] = to * D;
  // [step 1] Average the heads of each group: column d of the new head g is the mean of column d of the group's heads.
  // `rows` is C for a weight and 1 for a bias, so one loop over rows serves both.
  // [hint] Where is column d of head h in row r? At r * from * D + h * D + d. Group g begins at head g * group.
  // [hint] Or without loops: reshape to [rows, to, group, D], and take the mean over one dimension.
  const Tensor pooled = zeros(shape);
  const float* in = columns.data<float>();
  float* out = pooled.data<float>();
  for (Size row = 0; row < rows; ++row)
    for (Size g = 0; g < to; ++g)
      for (Size d = 0; d < D; ++d) {
        float sum = 0;
        for (Size h = g * group; h < (g + 1) * group; ++h) sum += in[row * from * D + h * D + d];
        out[row * to * D + g * D + d] = sum / static_cast<float>(group);
      }
  return pooled;
  // [end]
}
// [end show]

// [show first]
Tensor first_of_heads(const Tensor& columns, Size from, Size to) {
  check_groups(columns, from, to);
  const Size D = columns.extent(-1) / from, group = from / to, rows = columns.count() / columns.extent(-1);
  Shape shape = columns.shape();
  shape[-1] = to * D;
  // [step 1] Take the first head of each group, without a loop: a view of four dimensions has it in one slice.
  // [hint] Seen as [rows, to, group, D], what is at position 0 of dimension 2?
  // [hint] A slice shares memory with the old weight. The new model must not: clone() it, then reshape it.
  const Tensor heads = columns.reshape({rows, to, group, D});
  return heads.slice(2, 0, 1).clone().reshape(shape);
  // [end]
}
// [end show]

// ---- Step 2: a model with fewer key/value heads ---------------------------------------------------------------------

std::string name_of(Pooling pooling) {
  return pooling == Pooling::mean ? "mean" : pooling == Pooling::first ? "first" : "random";
}

// [show attention]
void convert_attention_into(const Attention& from, const Attention& to, Pooling pooling) {
  const Size heads = from.mode.kv_heads, groups = to.mode.kv_heads;
  // [step 2] Fill the four projections of `to`: two are copied, two are pooled, each a weight and a bias.
  // linear.weight.value() is its tensor, and tensor.copy_from(other) overwrites one tensor with the other.
  // [hint] Query heads stay as many as they were. Which two projections have a block of columns for each query head?
  // [hint] Pooling::random: W_Q and W_O are copied as ever, W_K and W_V of `to` stay as they are, biases too.
  const auto copy = [](const Linear& source, const Linear& destination) {
    destination.weight.value().copy_from(source.weight.value());
    destination.bias.value().copy_from(source.bias.value());
  };
  const auto pool = [&](const Linear& source, const Linear& destination) {
    const auto pooled = pooling == Pooling::mean ? mean_of_heads : first_of_heads;
    destination.weight.value().copy_from(pooled(source.weight.value(), heads, groups));
    destination.bias.value().copy_from(pooled(source.bias.value(), heads, groups));
  };
  copy(from.query, to.query);
  copy(from.output, to.output);
  if (pooling == Pooling::random) return;
  pool(from.key, to.key);
  pool(from.value, to.value);
  // [end]
}
// [end show]

// [show sites]
AttentionSites decoder_sites(const AttentionSites& before, Size kv_heads) {
  // [step 2] Give decoder self-attention and cross-attention this many key/value heads, and leave the encoder alone.
  // with_kv_heads(mode, kv_heads) of nn/attention_mode.h is the same mode but for one number; AttentionSites holds the
  // modes encoder_self, decoder_self and cross.
  // [hint] {encoder_self, decoder_self, cross}, in this order, is an AttentionSites. Which of them comes from `before`?
  return {before.encoder_self, with_kv_heads(before.decoder_self, kv_heads), with_kv_heads(before.cross, kv_heads)};
  // [end]
}
// [end show]

AttentionSites all_sites(const AttentionSites& before, Size kv_heads) {
  return {with_kv_heads(before.encoder_self, kv_heads), with_kv_heads(before.decoder_self, kv_heads),
          with_kv_heads(before.cross, kv_heads)};
}

// [show model]
Transformer convert_model(const Transformer& model, const AttentionSites& sites, Pooling pooling, std::uint64_t seed) {
  TransformerConfig config = model.config();
  config.attention = sites;
  Transformer converted(config, seed, model.options());
  std::map<std::string, Tensor> old;  // every parameter of the old model by its name
  model.visit([&](const std::string& name, const Parameter& parameter) { old[name] = parameter.value(); });
  // [step 2] Copy what is not converted, and convert each attention that has fewer key/value heads than before.
  // attentions_of(model) lists every attention of a model, those of both models in the same order.
  // [hint] converted.visit(...) meets every parameter: copy old.at(name) into those that have the same shape.
  // [hint] Then go through attentions_of(model) and attentions_of(converted) side by side; compare mode.kv_heads.
  converted.visit([&](const std::string& name, const Parameter& parameter) {
    const Tensor& value = old.at(name);
    if (value.shape() == parameter.shape()) parameter.value().copy_from(value);
  });
  const std::vector<NamedAttention> before = attentions_of(model), after = attentions_of(converted);
  for (std::size_t i = 0; i < before.size(); ++i)
    if (after[i].attention->mode.kv_heads != before[i].attention->mode.kv_heads)
      convert_attention_into(*before[i].attention, *after[i].attention, pooling);
  return converted;
  // [end]
}
// [end show]

// ---- Step 3: what the mean keeps ------------------------------------------------------------------------------------

// [show kept]
double kept_by_mean(const Tensor& columns, Size from, Size to) {
  // [step 3] Divide the squared length of all heads' stand-ins by the squared length of all heads.
  // sum_of_squares(x) of tensor/reduce.h adds up the squares of a tensor's numbers.
  // [hint] Each head of the group is replaced by the same mean, so the mean's squares count once for every head.
  const Tensor pooled = mean_of_heads(columns, from, to);
  const double heads_in_group = static_cast<double>(from / to);
  return heads_in_group * sum_of_squares(pooled) / sum_of_squares(columns);
  // [end]
}
// [end show]

// [show turn]
void turn_head(const Attention& attention, Size head, const Tensor& rotation) {
  const Size D = attention.head_size();
  // [step 3] Replace this head's columns of W_Q and W_K, and its part of both biases, by themselves times `rotation`.
  // A slice is a view: copy_from() into a slice of the weight writes into the weight.
  // [hint] weight.slice(1, head * D, head * D + D) is [C, D]; matmul with [D, D] gives [C, D] again.
  // [hint] A bias is [H D]: its slice needs a row dimension, reshape({1, D}), before matmul and none after it.
  for (const Linear* linear : {&attention.query, &attention.key}) {
    const Tensor weight = linear->weight.value().slice(1, head * D, head * D + D);
    const Tensor bias = linear->bias.value().slice(0, head * D, head * D + D);
    weight.copy_from(matmul(weight, rotation));
    bias.copy_from(matmul(bias.reshape({1, D}), rotation).reshape({D}));
  }
  // [end]
}
// [end show]

// Gram-Schmidt: random rows, each made orthogonal to those above it, and of length 1.
Tensor random_rotation(Size D, std::uint64_t seed) {
  Generator generator(seed);
  const Tensor rotation = random_normal({D, D}, 1, generator, {});
  float* rows = rotation.data<float>();
  const auto dot = [&](Size a, Size b) {
    double sum = 0;
    for (Size d = 0; d < D; ++d) sum += double{rows[a * D + d]} * double{rows[b * D + d]};
    return sum;
  };
  for (Size row = 0; row < D; ++row) {
    for (Size above = 0; above < row; ++above) {
      const auto along = static_cast<float>(dot(row, above));
      for (Size d = 0; d < D; ++d) rows[row * D + d] -= along * rows[above * D + d];
    }
    const auto length = static_cast<float>(std::sqrt(dot(row, row)));
    for (Size d = 0; d < D; ++d) rows[row * D + d] /= length;
  }
  return rotation;
}

double relative_error(const Tensor& got, const Tensor& expected) {
  return std::sqrt(sum_of_squares(subtract(got, expected)) / sum_of_squares(expected));
}

// ---- Step 4: alpha --------------------------------------------------------------------------------------------------

Size uptraining_steps(Size original_steps, double alpha) {
  if (!(alpha > 0 && alpha <= 1)) fail("uptrain: alpha ", alpha, " must lie above 0 and at most 1");
  return std::max(Size{1}, static_cast<Size>(std::llround(alpha * static_cast<double>(original_steps))));
}

// [show rate]
double uptraining_rate(double start, Size step, Size steps) {
  // [step 4] Let the learning rate fall along a straight line, from `start` at update 0 to 0 at the last update.
  // [hint] After `step` of `steps` updates, which part of the way is left? Mind that a quotient of two Sizes is a Size.
  const double left = static_cast<double>(steps - step) / static_cast<double>(steps);
  return start * left;
  // [end]
}
// [end show]

// [show uptrain]
void uptrain(const Transformer& model, const EncodedCorpus& corpus, const Uptraining& uptraining) {
  Adam optimizer(model, {});
  Size step = 0;
  for (Size epoch = 0; step < uptraining.steps; ++epoch)
    for (const std::vector<Size>& members : plan_epoch(corpus, uptraining.tokens_per_batch, uptraining.seed, epoch)) {
      if (++step > uptraining.steps) return;
      const Batch batch = make_batch(corpus.pairs, members, model.options().device);
      Dropout dropout(model.config().dropout, uptraining.seed, static_cast<std::uint64_t>(step));
      // [step 4] Make one update: loss of the batch, backward, and Adam with the learning rate of this update.
      // batch_loss(model, batch, label_smoothing, dropout).loss is the loss, a sum over the batch's target tokens.
      // optimizer.step(step, learning_rate, scale) multiplies every gradient by `scale`, updates, and clears them.
      // backward(loss) comes between the two; batch.target_tokens counts the tokens.
      // [hint] The recipe's learning rates are for the mean over tokens, but the loss is a sum. Which scale is right?
      const Variable loss = batch_loss(model, batch, uptraining.label_smoothing, dropout).loss;
      backward(loss);
      const double rate = uptraining_rate(uptraining.start_rate, step, uptraining.steps);
      optimizer.step(step, rate, 1.0 / static_cast<double>(batch.target_tokens));
      // [end]
    }
}
// [end show]

// ---- Step 5: the control --------------------------------------------------------------------------------------------

// [show control]
Comparison compare_with_control(const Transformer& model, const std::vector<Candidate>& candidates,
                                const EncodedCorpus& train, const EncodedCorpus& valid, const Uptraining& uptraining) {
  Comparison comparison{};
  comparison.before = validation_nll(model, valid);
  // [step 5] Train a copy of the multi-head model on; convert, train on and measure each candidate; compare both ways.
  // clone(model) of nn/transformer.h is a second model with the same weights. Use uptraining.seed for convert_model.
  // [hint] Train the copy, never `model` itself: every candidate is made of it as it was.
  // [hint] The same `uptraining` for all of them: as many updates, the same rates, the same batches.
  const Transformer control = clone(model);
  uptrain(control, train, uptraining);
  comparison.control = validation_nll(control, valid);
  for (const Candidate& candidate : candidates) {
    const Transformer converted = convert_model(model, candidate.sites, candidate.pooling, uptraining.seed);
    Outcome outcome{};
    outcome.converted = validation_nll(converted, valid);
    uptrain(converted, train, uptraining);
    outcome.uptrained = validation_nll(converted, valid);
    outcome.against_before = outcome.uptrained - comparison.before;
    outcome.against_control = outcome.uptrained - comparison.control;
    comparison.outcomes.push_back(outcome);
  }
  // [end]
  return comparison;
}
// [end show]

}  // namespace headshare::lesson
