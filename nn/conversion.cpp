#include "nn/conversion.h"

#include "tensor/elementwise.h"
#include "tensor/reduce.h"

namespace headshare {
namespace {

// Key/value heads of the attention that a parameter belongs to, for the parameters of key and value projections.
std::map<std::string, Size> kv_heads_by_parameter(const Transformer& model) {
  std::map<std::string, Size> heads;
  const auto add = [&](const std::string& prefix, const Attention& attention) {
    const ParameterVisitor note = [&](const std::string& name, const Parameter&) {
      heads[name] = attention.mode.kv_heads;
    };
    attention.key.visit(prefix + ".key", note);
    attention.value.visit(prefix + ".value", note);
  };
  for (std::size_t i = 0; i < model.encoder().size(); ++i) add(text("encoder.", i, ".self"), model.encoder()[i].self);
  for (std::size_t i = 0; i < model.decoder().size(); ++i) {
    add(text("decoder.", i, ".self"), model.decoder()[i].self);
    add(text("decoder.", i, ".cross"), model.decoder()[i].cross);
  }
  return heads;
}

void check_convertible(const char* site, const AttentionMode& from, const AttentionMode& to) {
  if (from.heads != to.heads)
    fail("convert: ", site, " has ", from.heads, " query heads and must keep them, not get ", to.heads);
  if (to.kv_heads < 1 || from.kv_heads % to.kv_heads != 0)
    fail("convert: ", site, " has ", from.kv_heads, " key/value heads, which cannot be pooled into ", to.kv_heads,
         " evenly");
}

}  // namespace

std::string name(Pooling pooling) {
  return pooling == Pooling::mean ? "mean" : pooling == Pooling::first ? "first" : "random";
}

Pooling parse_pooling(const std::string& word) {
  for (const Pooling pooling : {Pooling::mean, Pooling::first, Pooling::random})
    if (word == name(pooling)) return pooling;
  fail("pooling '", word, "' is unknown; choose mean, first or random");
}

Tensor pool_heads(const Tensor& columns, Size from, Size to, HeadPooling pooling) {
  const Size group = from / to, D = columns.extent(-1) / from;
  const Size rows = columns.count() / columns.extent(-1);
  const Tensor grouped = columns.reshape({rows, to, group, D});
  Shape shape = columns.shape();
  shape[-1] = to * D;
  if (pooling == HeadPooling::first) return grouped.slice(2, 0, 1).clone().reshape(shape);
  return (pooling == HeadPooling::sum ? sum(grouped, 2) : mean(grouped, 2)).reshape(shape);
}

Transformer convert_attention(const Transformer& model, const AttentionSites& attention, Pooling pooling,
                              std::uint64_t seed) {
  TransformerConfig config = model.config();
  for (Size layer = 0; layer < config.layers; ++layer) {
    const AttentionSites& from = config.sites(layer);
    check_convertible("encoder self-attention", from.encoder_self, attention.encoder_self);
    check_convertible("decoder self-attention", from.decoder_self, attention.decoder_self);
    check_convertible("cross-attention", from.cross, attention.cross);
  }
  config.attention = attention;
  config.attention_per_layer.clear();
  Transformer converted(config, seed, model.options());

  const std::map<std::string, Size> heads_before = kv_heads_by_parameter(model),
                                    heads_after = kv_heads_by_parameter(converted);
  std::map<std::string, Tensor> source;
  model.visit([&](const std::string& name, const Parameter& parameter) { source[name] = parameter.value(); });
  converted.visit([&](const std::string& name, const Parameter& parameter) {
    const Tensor& value = source.at(name);
    if (value.shape() == parameter.shape()) {
      parameter.value().copy_from(value);
    } else if (pooling != Pooling::random) {
      const HeadPooling how = pooling == Pooling::mean ? HeadPooling::mean : HeadPooling::first;
      parameter.value().copy_from(pool_heads(value, heads_before.at(name), heads_after.at(name), how));
    }  // random: the new model's own initial weights stay
  });
  return converted;
}

std::map<std::string, Tensor> convert_moments(const std::map<std::string, Tensor>& moments, const Transformer& model,
                                              const Transformer& converted) {
  const std::map<std::string, Size> before = kv_heads_by_parameter(model), after = kv_heads_by_parameter(converted);
  std::map<std::string, Tensor> result;
  for (const auto& [name, moment] : moments) {
    const auto heads = before.find(name);
    const bool pooled = heads != before.end() && after.at(name) != heads->second;
    result[name] = pooled ? pool_heads(moment, heads->second, after.at(name), HeadPooling::sum) : moment.clone();
  }
  return result;
}

}  // namespace headshare
