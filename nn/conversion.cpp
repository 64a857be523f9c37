#include "nn/conversion.h"

#include "nn/alignment.h"
#include "nn/subspace.h"
#include "tensor/elementwise.h"
#include "tensor/reduce.h"

namespace headshare {
namespace {

// Key/value heads of the attention that a parameter belongs to, for the parameters of key and value projections.
std::map<std::string, Size> kv_heads_by_parameter(const Transformer& model) {
  std::map<std::string, Size> heads;
  for (const auto& [prefix, site, attention] : attentions_of(model)) {
    const ParameterVisitor note = [&, kv_heads = attention->mode.kv_heads](const std::string& name, const Parameter&) {
      heads[name] = kv_heads;
    };
    attention->key.visit(prefix + ".key", note);
    attention->value.visit(prefix + ".value", note);
  }
  return heads;
}

void check_convertible(const char* site, const AttentionMode& from, const AttentionMode& to) {
  if (from.heads != to.heads)
    fail("convert: ", site, " has ", from.heads, " query heads and must keep them, not get ", to.heads);
  if (to.kv_heads < 1 || from.kv_heads % to.kv_heads != 0)
    fail("convert: ", site, " has ", from.kv_heads, " key/value heads, which cannot be pooled into ", to.kv_heads,
         " evenly");
  if (from.head_size != to.head_size || from.window != to.window)
    fail("convert: ", site, " is ", name(from), " and must keep the size of its heads and its window, not become ",
         name(to));
}

void check_calibration(const Calibration& calibration, const Transformer& model) {
  for (const NamedAttention& named : attentions_of(model))
    if (!calibration.contains(named.name))
      fail("convert: aligned and subspace need calibration text; ", named.name, " has no statistics");
}

void share_subspaces(const Transformer& model, const Transformer& converted, const Calibration& calibration) {
  const std::vector<NamedAttention> before = attentions_of(model), after = attentions_of(converted);
  for (std::size_t i = 0; i < before.size(); ++i) {
    const Attention &from = *before[i].attention, &to = *after[i].attention;
    if (from.mode.kv_heads != to.mode.kv_heads)
      fold_heads(from, subspace_folding(from, calibration.at(before[i].name), to.mode.kv_heads), to);
  }
}

// The moments of every parameter of a converted attention, without what depends on its coordinates.
void forget_coordinates(const Moments& moments, const Transformer& model, const Transformer& converted) {
  const std::vector<NamedAttention> before = attentions_of(model), after = attentions_of(converted);
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i].attention->mode.kv_heads == after[i].attention->mode.kv_heads) continue;
    after[i].attention->visit(after[i].name, [&](const std::string& name, const Parameter&) {
      const auto spread = [&](const std::map<std::string, Tensor>& all, double share_of_mean) {
        const auto found = all.find(name);
        if (found == all.end()) return;
        const Tensor& moment = found->second;
        moment.copy_from(full(moment.shape(), share_of_mean * mean(moment).item(), moment.options()));
      };
      spread(moments.means, 0);
      spread(moments.variances, 1);
    });
  }
}

}  // namespace

std::string name(Pooling pooling) {
  constexpr std::array names{"mean", "first", "random", "aligned", "subspace"};
  return names.at(static_cast<std::size_t>(pooling));
}

Pooling parse_pooling(const std::string& word) {
  for (const Pooling pooling : all_poolings)
    if (word == name(pooling)) return pooling;
  fail("pooling '", word, "' is unknown; choose mean, first, random, aligned or subspace");
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
                              std::uint64_t seed, const Calibration& calibration) {
  TransformerConfig config = model.config();
  for (Size layer = 0; layer < config.layers; ++layer) {
    const AttentionSites& from = config.sites(layer);
    check_convertible("encoder self-attention", from.encoder_self, attention.encoder_self);
    check_convertible("decoder self-attention", from.decoder_self, attention.decoder_self);
    check_convertible("cross-attention", from.cross, attention.cross);
  }
  if (needs_calibration(pooling)) check_calibration(calibration, model);
  if (pooling == Pooling::aligned)
    return convert_attention(align_heads(model, attention, calibration), attention, Pooling::mean);
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
    } else if (pooling == Pooling::mean || pooling == Pooling::first) {
      const HeadPooling how = pooling == Pooling::mean ? HeadPooling::mean : HeadPooling::first;
      parameter.value().copy_from(pool_heads(value, heads_before.at(name), heads_after.at(name), how));
    }  // random: the new model's own initial weights stay
  });
  if (pooling == Pooling::subspace) share_subspaces(model, converted, calibration);
  return converted;
}

Moments convert_moments(const Moments& moments, const Transformer& model, const Transformer& converted,
                        Pooling pooling) {
  const std::map<std::string, Size> before = kv_heads_by_parameter(model), after = kv_heads_by_parameter(converted);
  Moments result;
  for (const auto& [from, to] : {std::pair{&moments.means, &result.means}, {&moments.variances, &result.variances}})
    for (const auto& [name, moment] : *from) {
      const auto heads = before.find(name);
      const bool pooled = heads != before.end() && after.at(name) != heads->second;
      (*to)[name] = pooled ? pool_heads(moment, heads->second, after.at(name), HeadPooling::sum) : moment.clone();
    }
  if (needs_calibration(pooling)) forget_coordinates(result, model, converted);
  return result;
}

}  // namespace headshare
