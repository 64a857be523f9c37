#include <cmath>
#include <limits>

#include "autograd/functions.h"
#include "tensor/elementwise.h"
#include "tensor/layer_norm.h"
#include "tensor/reduce.h"
#include "tensor/softmax.h"

namespace headshare {
namespace {

// All dimensions but the last as one: [N, n].
Tensor as_rows(const Tensor& x) { return x.reshape({x.count() / std::max(x.extent(-1), Size{1}), x.extent(-1)}); }

}  // namespace

// C = A B:  dA = dC B^T,  dB = A^T dC; an operand that served the whole batch gets the sum over it.
Variable matmul(const Variable& a, const Variable& b) {
  const Tensor va = a.value(), vb = b.value().to(va.type());
  const ElementType type = b.value().type();
  return record("matmul", matmul(va, vb), {a, b}, [va, vb, type](const Tensor& dc) -> Gradients {
    if (vb.rank() == 2) {  // one matrix for all rows: one large product instead of a sum of small ones
      return {matmul(dc, vb.transpose(0, 1)), matmul(as_rows(va).transpose(0, 1), as_rows(dc), type)};
    }
    const Tensor da = matmul(dc, vb.transpose(-1, -2)), db = matmul(va.transpose(-1, -2), dc);
    return {sum_to(da, va.shape()), sum_to(db, vb.shape())};
  });
}

// y = f(z), z = x W + b:  dz = f'(z) dy,  dx = dz W^T,  dW = x^T dz,  db = sum of the rows of dz
Variable linear(const Variable& x, const Variable& weight, const Variable& bias, Activation activation) {
  const Tensor vx = x.value(), vw = weight.value().to(vx.type());
  const ElementType type = weight.value().type();
  const LinearResult forward = linear(vx, vw, bias.value(), activation);
  const Tensor kept = activation == Activation::relu ? forward.y : forward.before_activation;
  const bool has_bias = bias.defined();
  const auto backward = [vx, vw, type, kept, activation, has_bias](const Tensor& dy) -> Gradients {
    const Tensor dz = activation == Activation::relu   ? relu_backward(kept, dy)
                      : activation == Activation::gelu ? gelu_backward(kept, dy)
                                                       : dy.contiguous();
    const Tensor rows = as_rows(dz);
    Gradients gradients = {matmul(dz, vw.transpose(0, 1)), matmul(as_rows(vx).transpose(0, 1), rows, type)};
    if (has_bias) gradients.push_back(sum(rows, 0));
    return gradients;
  };
  return has_bias ? record("linear", forward.y, {x, weight, bias}, backward)
                  : record("linear", forward.y, {x, weight}, backward);
}

// y = softmax(x) over the last dimension.                            x, y: [..., n]
//   forward    y_i  = exp(x_i - max x) / sum_j exp(x_j - max x)
//   backward   dx_i = y_i (dy_i - sum_j y_j dy_j)
Variable softmax(const Variable& x) {
  const Tensor y = softmax(x.value());
  return record("softmax", y, {x}, [y](const Tensor& dy) -> Gradients { return {softmax_backward(dy, y)}; });
}

Variable log_softmax(const Variable& x) {
  const Tensor y = log_softmax(x.value());
  return record("log_softmax", y, {x}, [y](const Tensor& dy) -> Gradients { return {log_softmax_backward(dy, y)}; });
}

Variable layer_norm(const Variable& x, const Variable& residual, const Variable& gain, const Variable& bias,
                    double epsilon) {
  const Tensor g = gain.value();
  LayerNorm forward = layer_norm(x.value(), residual.value(), g, bias.value(), epsilon);
  const Tensor y = forward.y;
  forward.y = {};  // the backward does not need it
  if (!residual.defined())
    return record("layer_norm", y, {x, gain, bias}, [forward, g](const Tensor& dy) -> Gradients {
      const LayerNormGradients gradients = layer_norm_backward(dy, forward, g);
      return {gradients.dx, gradients.d_gain, gradients.d_bias};
    });
  return record("residual + layer_norm", y, {x, residual, gain, bias}, [forward, g](const Tensor& dy) -> Gradients {
    const LayerNormGradients gradients = layer_norm_backward(dy, forward, g);
    return {gradients.dx, gradients.dx, gradients.d_gain, gradients.d_bias};
  });
}

Variable embedding(const Tensor& tokens, const Variable& table, double scale, const Variable& positions,
                   Size first_position, std::optional<ElementType> type) {
  const Shape table_shape = table.shape();
  const Tensor y = embedding(tokens, table.value(), scale, positions.value(), first_position, type);
  if (!positions.requires_gradient())
    return record("embedding", y, {table}, [tokens, scale, table_shape](const Tensor& dy) -> Gradients {
      return {embedding_backward(dy, tokens, scale, table_shape)};
    });
  const Shape positions_shape = positions.shape();
  return record("embedding", y, {table, positions},
                [tokens, scale, table_shape, positions_shape, first_position](const Tensor& dy) -> Gradients {
                  const Tensor over_sentences = sum(dy, 0);
                  const Tensor d_positions = zeros(positions_shape, over_sentences.options());
                  d_positions.slice(0, first_position, first_position + dy.extent(1)).copy_from(over_sentences);
                  return {embedding_backward(dy, tokens, scale, table_shape), d_positions};
                });
}

Variable attention(const Variable& query, const Variable& key, const Variable& value, const Mask& mask) {
  const Tensor q = query.value(), k = key.value(), v = value.value();
  const AttentionResult forward = attention(q, k, v, mask);
  return record("attention", forward.output, {query, key, value},
                [q, k, v, mask, forward](const Tensor& dy) -> Gradients {
                  const AttentionGradients gradients = attention_backward(dy, q, k, v, mask, forward);
                  return {gradients.d_query, gradients.d_key, gradients.d_value};
                });
}

namespace {

// 0 where query t may see key s, -infinity where not.                                         result: [B, 1, 1, T, S]
Tensor mask_scores(const Mask& mask, Size batch, Size targets, Size sources, TensorOptions options) {
  const double hidden = -std::numeric_limits<double>::infinity();
  std::vector<double> scores(static_cast<std::size_t>(batch * targets * sources), 0.0);
  const std::vector<std::int32_t> lengths =
      mask.source_lengths.defined()
          ? mask.source_lengths.to_vector<std::int32_t>()
          : std::vector<std::int32_t>(static_cast<std::size_t>(batch), static_cast<std::int32_t>(sources));
  for (Size b = 0; b < batch; ++b)
    for (Size t = 0; t < targets; ++t)
      for (Size s = 0; s < sources; ++s) {
        const bool padding = s >= lengths[static_cast<std::size_t>(b)];
        const Size own = t + (sources - targets);  // the query's position
        const bool future = mask.order == causal && s > own;
        const bool too_long_ago = mask.window > 0 && s <= own - mask.window;
        if (padding || future || too_long_ago)
          scores[static_cast<std::size_t>((b * targets + t) * sources + s)] = hidden;
      }
  return from_values(scores, {batch, 1, 1, targets, sources}).to(options.type).to(options.device);
}

}  // namespace

Variable composed_attention(const Variable& query, const Variable& key, const Variable& value, const Mask& mask) {
  const Size B = query.extent(0), T = query.extent(1), H = query.extent(2), D = query.extent(3);
  const Size S = key.extent(1), G = key.extent(2), R = H / G;
  // Query head h = g R + r: the R heads that share key/value head g become a dimension of their own.
  const Variable q = transpose(transpose(reshape(query, {B, T, G, R, D}), 1, 2), 2, 3);  // [B, G, R, T, D]
  const Variable k = broadcast_to(reshape(transpose(key, 1, 2), {B, G, 1, S, D}), {B, G, R, S, D});
  const Variable v = broadcast_to(reshape(transpose(value, 1, 2), {B, G, 1, S, D}), {B, G, R, S, D});
  const Variable scores =
      affine(matmul(q, transpose(k, -1, -2)), 1 / std::sqrt(static_cast<double>(D)), 0);  // [B, G, R, T, S]
  const Variable hidden(mask_scores(mask, B, T, S, query.value().options()));
  const Variable weights = softmax(add(scores, hidden));
  const Variable output = matmul(weights, v);  // [B, G, R, T, D]
  return reshape(transpose(transpose(output, 2, 3), 1, 2), {B, T, H, D});
}

CrossEntropyLoss cross_entropy(const Variable& logits, const Tensor& targets, double smoothing) {
  Tensor vl = logits.value();
  const CrossEntropy forward = cross_entropy(vl, targets, smoothing);
  const Tensor log_sum_exp = forward.log_sum_exp;
  const Variable loss = record("cross_entropy", sum(forward.loss), {logits},
                               [vl, targets, smoothing, log_sum_exp](const Tensor& d_loss) mutable -> Gradients {
                                 const Tensor rows = d_loss.reshape({1}).broadcast_to({targets.count()});
                                 return {cross_entropy_backward(rows, std::move(vl), targets, smoothing, log_sum_exp)};
                               });
  return {loss, sum(forward.nll)};
}

}  // namespace headshare
