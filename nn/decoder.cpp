#include "nn/decoder.h"

#include <cmath>

#include "tensor/attention.h"
#include "tensor/elementwise.h"
#include "tensor/embedding.h"
#include "tensor/layer_norm.h"
#include "tensor/profile.h"

namespace headshare {
namespace {

// The tensors of DecoderState::workspace. Each is as large as any use of it needs; a use takes the beginning.
enum Work : std::size_t {
  residual_work,  // x, what every sublayer adds to                                                           [rows, C]
  input_work,     // what a sublayer reads, where that is not x itself (pre-norm)                             [rows, C]
  joint_work,     // query, key and value                                                        [rows, H D + 2 G D]
  heads_work,     // what attention gives                                                                   [rows, H D]
  branch_work,    // what the sublayer gives                                                                  [rows, C]
  hidden_work,    // of the feed-forward layer                                                                [rows, F]
  logits_work,    //                                                                                          [rows, V]
  works
};

Tensor beginning(const Tensor& memory, Size rows, Size width) {
  return memory.slice(0, 0, rows * width).reshape({rows, width});
}

// Columns [begin, begin + heads * D) of x [rows, width], as `targets` targets of rows / targets sentences.
//                                                                           result: [rows / targets, targets, heads, D]
Tensor heads_of(const Tensor& x, Size begin, Size heads, Size head_size, Size targets) {
  const Size rows = x.extent(0);
  return x.reshape({rows / targets, targets, x.extent(1) / head_size, head_size})
      .slice(2, begin / head_size, begin / head_size + heads);
}

}  // namespace

// ---- State ----------------------------------------------------------------------------------------------------------

Size DecoderState::bytes() const {
  Size bytes = 0;
  for (const Layer& layer : layers) bytes += layer.self.bytes() + layer.cross.bytes();
  return bytes;
}

void DecoderState::select(std::span<const std::int32_t> rows) {
  std::vector<std::int32_t> kept;
  bool all_in_place = static_cast<Size>(rows.size()) == this->rows();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto sentence = static_cast<std::int32_t>(rows[i] / beam);
    if (static_cast<Size>(i) % beam == 0) {
      all_in_place = all_in_place && sentence == static_cast<std::int32_t>(kept.size());
      kept.push_back(sentence);
    } else if (sentence != kept.back()) {
      fail("decoder: rows of two sentences in one beam");
    }
  }
  if (static_cast<Size>(rows.size()) % beam != 0) fail("decoder: ", rows.size(), " rows are no whole beams of ", beam);
  for (Layer& layer : layers) {
    layer.self.select(rows);
    if (!all_in_place) layer.cross.select(kept);
  }
  if (all_in_place) return;
  source_lengths =
      gather_rows(source_lengths, from_values(kept, {static_cast<Size>(kept.size())}, source_lengths.device()));
  step.forget();  // it knows the memory and the number of the old rows
  warmed_up = false;
}

// ---- Preparation ----------------------------------------------------------------------------------------------------

Decoder::PackedLinear Decoder::joined(const std::vector<const Linear*>& linears) {
  const Tensor& first = linears[0]->weight.value();
  Size width = 0;
  for (const Linear* linear : linears) width += linear->weight.extent(1);
  const Tensor weight({first.extent(0), width}, first.options()), bias({width}, first.options());
  Size column = 0;
  for (const Linear* linear : linears) {
    const Size end = column + linear->weight.extent(1);
    weight.slice(1, column, end).copy_from(linear->weight.value());
    bias.slice(0, column, end).copy_from(linear->bias.value());
    column = end;
  }
  const Tensor rounded = weight.to(model_.activations().type);
  bias_bytes_ += bias.bytes();
  return {pack_matrix(rounded), bias};
}

Decoder::Decoder(const Transformer& model) : model_(model) {
  const bool pre = model.config().norm == NormPlacement::pre;
  for (const DecoderLayer& layer : model.decoder()) {
    layers_.push_back({joined({&layer.self.query, &layer.self.key, &layer.self.value}), joined({&layer.self.output}),
                       joined({&layer.cross.query}), joined({&layer.cross.output}), joined({&layer.feed_forward.inner}),
                       joined({&layer.feed_forward.outer})});
    norms_.insert(norms_.end(), {&layer.self_norm, &layer.cross_norm, &layer.feed_forward_norm});
  }
  if (pre) norms_.push_back(&model.decoder_norm());
  const Tensor table = model.embedding_table().to(model.activations().type);
  output_ = pack_matrix(table.transpose(0, 1));
}

Size Decoder::weight_bytes(Size rows) const {
  Size bytes = bias_bytes_ + output_.bytes_read(rows);
  for (const Layer& layer : layers_)
    for (const PackedLinear* linear :
         {&layer.self_joint, &layer.self_output, &layer.cross_query, &layer.cross_output, &layer.inner, &layer.outer})
      bytes += linear->weight.bytes_read(rows);
  return bytes;
}

void Decoder::check_cache_type(ElementType type) const {
  const TensorOptions computed = model_.activations();
  const bool narrower = type == ElementType::bfloat16 && computed.type == ElementType::float32;
  const bool quantized =
      type == ElementType::int8 && computed.device == Device::cuda && computed.type != ElementType::float64;
  if (type != computed.type && !narrower && !quantized)
    fail("decoder: a cache of ", name(type), " does not serve a model that computes in ", name(computed.type),
         " on device ", name(computed.device));
}

DecoderState Decoder::start(const Variable& memory, const Tensor& source_lengths, const DecoderSizes& sizes) const {
  const ElementType cache_type = sizes.cache_type.value_or(model_.activations().type);
  check_cache_type(cache_type);
  const NoGradient no_gradient;
  const Tf32Products tf32(model_.precision() == Precision::tf32);
  const Size sentences = memory.extent(0), rows = sentences * sizes.beam;
  const TensorOptions cache_options{cache_type, model_.options().device};
  DecoderState state;
  state.source_lengths = source_lengths;
  state.beam = sizes.beam;
  for (const DecoderLayer& layer : model_.decoder()) {
    const auto cache = [&](const Attention& attention, Size batch, Size capacity, KeyOrder order) {
      const AttentionMode& mode = attention.mode;
      return KeyValueCache(batch, mode.kv_heads, capacity, attention.head_size(), cache_options, mode.window, order);
    };
    DecoderState::Layer caches{
        cache(layer.self, rows, sizes.capacity, KeyOrder::positions),
        cache(layer.cross, sentences, memory.extent(1),
              order_of_source_keys(layer.cross.mode, sizes.beam, memory.extent(1), cache_options.device))};
    caches.cross.append(layer.cross.keys_values(memory));
    state.layers.push_back(std::move(caches));
  }
  return state;
}

// Memory for the state's rows, unless it is there from before.
void Decoder::prepare(DecoderState& state) const {
  const TransformerConfig& config = model_.config();
  const Size rows = state.rows();
  const TensorOptions integers{ElementType::int32, model_.options().device};
  if (!state.counts.defined() || state.counts.extent(0) != 1 + rows) {
    state.tokens = Tensor({rows}, integers);
    state.ones = full({1 + rows}, 1, integers);
    state.counts = full({1 + rows}, static_cast<double>(state.length + 1), integers);
    state.counts.set({0}, static_cast<double>(state.length));
  }
  if (!state.workspace.empty() && state.workspace[residual_work].count() >= rows * config.d_model) return;
  Size joint = 0, heads = 0;
  for (const Layer& layer : layers_) {
    joint = std::max({joint, layer.self_joint.weight.n, layer.cross_query.weight.n});
    heads = std::max({heads, layer.self_output.weight.k, layer.cross_output.weight.k});
  }
  state.workspace.clear();
  for (std::size_t work = 0; work < works; ++work) {
    const Size width = work == joint_work    ? joint
                       : work == heads_work  ? heads
                       : work == hidden_work ? config.d_ff
                       : work == logits_work ? config.vocabulary
                                             : config.d_model;
    // Logits are what tokens are chosen by: of bfloat16 ones, several would often be the largest.
    state.workspace.push_back(Tensor({rows * width}, work == logits_work ? model_.options() : model_.activations()));
  }
}

// ---- A step ---------------------------------------------------------------------------------------------------------

Tensor Decoder::step(const Tensor& tokens, DecoderState& state) const {
  const Size rows = state.rows();
  if (tokens.count() != rows) fail("decoder: ", tokens.count(), " tokens for ", rows, " rows");
  prepare(state);
  for (DecoderState::Layer& layer : state.layers) layer.self.advance(1);
  state.tokens.copy_from(tokens);
  // A small model's step is dozens of short kernels: on a GPU starting them one by one takes longer than running them.
  if (model_.options().device == Device::cpu || !state.warmed_up || profiling()) {
    queue_step(state);
  } else {
    if (!state.step.recorded()) state.step.record(kernels::cuda(), [&] { queue_step(state); });
    state.step.repeat(kernels::cuda());
  }
  state.warmed_up = true;
  ++state.length;
  return beginning(state.workspace[logits_work], rows, model_.config().vocabulary);
}

// The device's part: the same calls with the same addresses in every step.
void Decoder::queue_step(const DecoderState& state) const {
  const TransformerConfig& config = model_.config();
  const Size rows = state.rows(), C = config.d_model;
  const bool pre = config.norm == NormPlacement::pre;
  const Tf32Products tf32(model_.precision() == Precision::tf32);
  const Tensor position = state.counts.slice(0, 0, 1), visible = state.counts.slice(0, 1, 1 + rows);
  const auto work = [&](Work which, Size width) { return beginning(state.workspace[which], rows, width); };
  const Tensor x = work(residual_work, C), branch = work(branch_work, C);
  const Tensor input = pre ? work(input_work, C) : x;  // of the next sublayer
  const auto apply = [&](const PackedLinear& linear, const Tensor& from, const Tensor& to,
                         Activation activation = Activation::none) {
    linear_into(from, linear.weight, linear.bias, activation, to);
  };
  // Post-norm: x = norm(x + branch). Pre-norm: x = x + branch, and the next sublayer reads norm(x). Both in one pass.
  auto norm = norms_.begin();
  const auto normalize = [&](const Tensor& from, const Tensor& residual) {
    layer_norm_into(from, residual, (*norm)->gain.value(), (*norm)->bias.value(), layer_norm_epsilon,
                    pre && residual.defined() ? residual : Tensor(), input);
    ++norm;
  };

  embedding_into(state.tokens.reshape({rows, 1}), model_.embedding_table(), std::sqrt(static_cast<double>(C)),
                 model_.positions(), position, x);
  if (pre) normalize(x, {});
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const DecoderLayer& parameters = model_.decoder()[i];
    const DecoderState::Layer& caches = state.layers[i];
    const Size D = parameters.self.head_size(), H = parameters.self.mode.heads, G = parameters.self.mode.kv_heads;

    const Tensor joint = work(joint_work, (H + 2 * G) * D), self_heads = work(heads_work, H * D);
    apply(layer.self_joint, input, joint);
    caches.self.write({Variable(heads_of(joint, H * D, G, D, 1)), Variable(heads_of(joint, (H + G) * D, G, D, 1))},
                      position);
    // Of a ring, `visible` counts more than there are once it is full: then all of them are visible.
    const KeysValues self = caches.self.all_places();
    attention_into(heads_of(joint, 0, H, D, 1), self.key.value(), self.value.value(), {visible, any_order},
                   heads_of(self_heads, 0, H, D, 1), caches.self.scales());
    apply(layer.self_output, self_heads, branch);
    normalize(branch, x);

    const Size cross_H = parameters.cross.mode.heads, cross_D = parameters.cross.head_size();
    const Tensor query = work(joint_work, cross_H * cross_D), cross_heads = work(heads_work, cross_H * cross_D);
    apply(layer.cross_query, input, query);
    const KeysValues cross = caches.cross.keys_values();
    attention_into(heads_of(query, 0, cross_H, cross_D, state.beam), cross.key.value(), cross.value.value(),
                   {state.source_lengths, any_order}, heads_of(cross_heads, 0, cross_H, cross_D, state.beam),
                   caches.cross.scales());
    apply(layer.cross_output, cross_heads, branch);
    normalize(branch, x);

    const Tensor hidden = work(hidden_work, config.d_ff);
    apply(layer.inner, input, hidden, config.activation);
    apply(layer.outer, hidden, branch);
    normalize(branch, x);
  }
  linear_into(input, output_, {}, Activation::none, work(logits_work, config.vocabulary));
  accumulate(state.ones, state.counts);
}

}  // namespace headshare
