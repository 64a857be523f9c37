#include "lesson.h"

#include <algorithm>
#include <cmath>

#include "autograd/functions.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {

// --- Step 1: where does a word stand? ---

namespace {

// [show speed]
// How far the hand of channels 2i and 2i + 1 turns at each position, in radians.
double speed(Size i, Size d_model) {
  return std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(d_model));
}
// [end show]

}  // namespace

// [show positions]
Tensor positions(Size length, Size d_model) {
  const Tensor result = zeros({length, d_model});
  float* number = result.data<float>();  // channel c of position p at number[p * d_model + c]
  // [step 1] Fill in the sines and cosines of all positions: even channels sine, odd channels cosine.
  // speed(i, d_model) is 1 / 10000^(2i/C). Compute angles in double: they reach hundreds.
  // [hint] Channels 0 and 1 share speed(0, C), channels 2 and 3 share speed(1, C): i is c / 2.
  // [hint] angle = p * speed(c / 2, d_model); std::sin where c is even, std::cos where it is odd.
  for (Size p = 0; p < length; ++p)
    for (Size c = 0; c < d_model; ++c) {
      const double angle = static_cast<double>(p) * speed(c / 2, d_model);
      number[p * d_model + c] = static_cast<float>(c % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  // [end]
  return result;
}
// [end show]

// [show shift]
Tensor shift_matrix(Size d_model, double distance) {
  if (d_model % 2 != 0) fail("shift_matrix: d_model ", d_model, ", needed an even one: a cosine to each sine");
  const Tensor result = zeros({d_model, d_model});
  float* number = result.data<float>();  // row r, column c at number[r * d_model + c]
  // [step 1] Fill in the four numbers of each pair of channels that turn its hand by distance * speed.
  // A row vector is multiplied from the left: column c of the matrix says how channel c comes from the others.
  // [hint] sin(a + b) = sin a cos b + cos a sin b. Here a is the position's angle, b = distance * speed(i, d_model).
  // [hint] Column 2i: cos b in row 2i, sin b in row 2i + 1. Column 2i + 1: cos(a + b) = cos a cos b - sin a sin b.
  for (Size i = 0; i < d_model / 2; ++i) {
    const double b = distance * speed(i, d_model);
    float* pair = number + 2 * i * d_model + 2 * i;
    pair[0] = pair[d_model + 1] = static_cast<float>(std::cos(b));
    pair[d_model] = static_cast<float>(std::sin(b));
    pair[1] = static_cast<float>(-std::sin(b));
  }
  // [end]
  return result;
}
// [end show]

// --- Step 2: what a layer is made of ---

// [show normalize]
Variable normalize(const Variable& z, const Variable& gain, const Variable& bias) {
  Shape one_each = z.shape();
  one_each[-1] = 1;  // [B, T, 1]: a number for each position, which broadcasts over its C channels
  // [step 2] Normalise each position: subtract its mean, divide by its deviation, times gain, plus bias.
  // mean(x, -1) is [B, T]; reshape(..., one_each) makes it fit. Functions of Variables: autograd/functions.h.
  // affine(x, scale, shift) is scale x + shift with two numbers; the epsilon is layer_norm_epsilon.
  // [hint] centred = subtract(z, mean); the variance is the mean of square(centred).
  // [hint] affine(variance, 1, layer_norm_epsilon) is the variance with the epsilon; then sqrt, divide, multiply, add.
  const Variable centred = subtract(z, reshape(mean(z, -1), one_each));
  const Variable variance = reshape(mean(square(centred), -1), one_each);
  const Variable unit = divide(centred, sqrt(affine(variance, 1, layer_norm_epsilon)));
  return add(multiply(unit, gain), bias);
  // [end]
}
// [end show]

// [show feed_forward]
Variable feed_forward(const FeedForward& layer, const Variable& x) {
  // [step 2] Return relu(x W + b) W' + b', with the layer's inner and outer weight and bias.
  // [hint] linear(x, layer.inner.weight, layer.inner.bias) is x W + b.
  const Variable hidden = relu(linear(x, layer.inner.weight, layer.inner.bias));  // [B, T, F]
  return linear(hidden, layer.outer.weight, layer.outer.bias);                    // [B, T, C]
  // [end]
}
// [end show]

// [show add_and_norm]
Variable add_and_norm(const LayerNormalization& norm, const Variable& x, const Variable& change) {
  // [step 2] Return the norm of x + change.
  return normalize(add(x, change), norm.gain, norm.bias);
  // [end]
}
// [end show]

// --- Step 3: the encoder ---

// [show encoder]
Variable encoder_layer(const EncoderLayer& layer, const Variable& x, const Tensor& source_lengths) {
  const Mask no_padding{source_lengths, any_order};
  // [step 3] Self-attention in its frame, then the feed-forward layer in its frame.
  // layer.self(asks, answers, mask) is the layer of lesson 4. Each frame has a norm of its own: layer.self_norm, ...
  // [hint] In self-attention the same x asks and answers.
  // [hint] The second frame begins with what the first gave, in both of its places, not with x.
  const Variable y = add_and_norm(layer.self_norm, x, layer.self(x, x, no_padding));
  return add_and_norm(layer.feed_forward_norm, y, feed_forward(layer.feed_forward, y));
  // [end]
}
// [end show]

// --- Step 4: the decoder ---

// [show decoder]
Variable decoder_layer(const DecoderLayer& layer, const Variable& x, const Variable& memory,
                       const Tensor& source_lengths) {
  // [step 4] Causal self-attention, cross-attention to the memory, feed-forward, each in its frame.
  // Two masks are needed, Mask{lengths, order}: which of the two attentions must hide the future, which the padding?
  // The orders are any_order and causal; with {} for lengths no padding is hidden.
  // [hint] Mask{{}, causal} for self-attention: what is padding in the target comes last, so nobody before it sees it.
  // [hint] Mask{source_lengths, any_order} for layer.cross: the target asks, the memory answers.
  // [hint] Three frames, one after the other: layer.self_norm, layer.cross_norm, layer.feed_forward_norm.
  const Variable y = add_and_norm(layer.self_norm, x, layer.self(x, x, Mask{{}, causal}));
  const Variable z = add_and_norm(layer.cross_norm, y, layer.cross(y, memory, Mask{source_lengths, any_order}));
  return add_and_norm(layer.feed_forward_norm, z, feed_forward(layer.feed_forward, z));
  // [end]
}
// [end show]

// --- Step 5: the whole model ---

Variable table_of(const Transformer& model) {
  Variable table;
  model.visit([&](const std::string& name, const Parameter& parameter) {
    if (name == "embedding") table = parameter;
  });
  return table;
}

// [show embed]
Variable embed(const Transformer& model, const Tensor& tokens) {
  const Size T = tokens.extent(1), C = model.config().d_model;
  const Variable table = table_of(model);  // [V, C]
  // [step 5] Look up each token's row, scale it by the square root of C, and add the positions.
  // embedding(tokens, table, scale) looks up rows and scales them.                                         [B, T, C]
  // add() takes Variables only; Variable(tensor) is a constant one.
  // [hint] A tensor becomes a constant Variable: Variable(positions(T, C)). [B, T, C] + [T, C] broadcasts.
  return add(embedding(tokens, table, std::sqrt(static_cast<double>(C))), Variable(positions(T, C)));
  // [end]
}
// [end show]

// [show logits]
Variable model_logits(const Transformer& model, const Tensor& source, const Tensor& source_lengths,
                      const Tensor& target) {
  const TransformerConfig& config = model.config();
  if (config.norm != NormPlacement::post || config.positions != Positions::sinusoidal ||
      config.activation != Activation::relu)
    fail("model_logits: needs a model with the norm after each block, sinusoidal positions and ReLU");
  // [step 5] Encode the source, decode the target, and compare each result with every row of the table.
  // model.encoder() and model.decoder() are the layers in order, as vectors.
  // [hint] The memory is what the last encoder layer gives; every decoder layer looks at this same memory.
  // [hint] The logit of token v is the dot product with row v of the table: matmul(x, transpose(table, 0, 1)).
  Variable memory = embed(model, source);  // [B, S, C]
  for (const EncoderLayer& layer : model.encoder()) memory = encoder_layer(layer, memory, source_lengths);
  Variable x = embed(model, target);  // [B, T, C]
  for (const DecoderLayer& layer : model.decoder()) x = decoder_layer(layer, x, memory, source_lengths);
  return matmul(x, transpose(table_of(model), 0, 1));  // [B, T, V]
  // [end]
}
// [end show]

// [show count]
PartCounts count_parts(const TransformerConfig& config) {
  const Size V = config.vocabulary, C = config.d_model, F = config.d_ff, layers = config.layers;
  PartCounts counts{};
  // [step 5] Fill in how many numbers each part has, over all layers: weights and biases, gains and biases.
  // [hint] A linear layer from n to m numbers has n m weights and m biases. An attention is four of them, C to C.
  // [hint] A norm has 2 C numbers. How many norms has an encoder layer? A decoder layer?
  const Size attention = 4 * (C * C + C), feed_forward = C * F + F + F * C + C, norm = 2 * C;
  counts.embedding = V * C;
  counts.encoder_attention = counts.decoder_self_attention = counts.decoder_cross_attention = layers * attention;
  counts.encoder_feed_forward = counts.decoder_feed_forward = layers * feed_forward;
  counts.encoder_norms = layers * 2 * norm;
  counts.decoder_norms = layers * 3 * norm;
  // [end]
  return counts;
}
// [end show]

// --- Step 6: who depends on whom? ---

// [show influence]
Tensor influence(const Run& run, const Tensor& tokens, std::int32_t other) {
  const Size N = tokens.extent(1);
  const Tensor before = run(tokens);  // [1, M, ...]
  const Size M = before.extent(1), row = before.count() / M;
  const Tensor result = zeros({M, N});
  // [step 6] For each n: replace token n alone, run again, and note by how much each output row has moved at most.
  // [hint] Copying a Tensor shares its memory. clone() it, or token n - 1 stays replaced, and the caller's tokens too.
  // [hint] x.data<float>()[m * row + i], i below `row`, are the numbers of output row m.
  for (Size n = 0; n < N; ++n) {
    const Tensor changed = tokens.clone();
    changed.data<std::int32_t>()[n] = other;
    const Tensor after = run(changed);
    for (Size m = 0; m < M; ++m) {
      float& moved = result.data<float>()[m * N + n];
      for (Size i = m * row; i < (m + 1) * row; ++i)
        moved = std::max(moved, std::abs(after.data<float>()[i] - before.data<float>()[i]));
    }
  }
  // [end]
  return result;
}
// [end show]

}  // namespace headshare::lesson
