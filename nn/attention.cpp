#include "nn/attention.h"

namespace headshare {
namespace {

// [B, T, heads * D] seen as [B, T, heads, D].
Variable split_heads(const Variable& x, Size heads) {
  return reshape(x, {x.extent(0), x.extent(1), heads, x.extent(2) / heads});
}

}  // namespace

Attention::Attention(Size d_model, AttentionMode mode_, Generator& generator, TensorOptions options)
    : mode((check(mode_, d_model), mode_)),
      query(d_model, d_model, generator, options),
      key(d_model, d_model / mode_.heads * mode_.kv_heads, generator, options),
      value(d_model, d_model / mode_.heads * mode_.kv_heads, generator, options),
      output(d_model, d_model, generator, options) {}

Variable Attention::operator()(const Variable& x, const Variable& source, const Mask& mask) const {
  return attend(x, keys_values(source), mask);
}

KeysValues Attention::keys_values(const Variable& source) const {
  return {split_heads(key(source), mode.kv_heads), split_heads(value(source), mode.kv_heads)};
}

Variable Attention::queries(const Variable& x) const { return split_heads(query(x), mode.heads); }

Variable Attention::attend(const Variable& x, const KeysValues& keys_values, const Mask& mask) const {
  const Variable heads = attention(queries(x), keys_values.key, keys_values.value, mask);  // [B, T, H, D]
  return output(reshape(heads, x.shape()));                                                // [B, T, C]
}

void Attention::visit(const std::string& prefix, const ParameterVisitor& visitor) const {
  query.visit(prefix + ".query", visitor);
  key.visit(prefix + ".key", visitor);
  value.visit(prefix + ".value", visitor);
  output.visit(prefix + ".output", visitor);
}

}  // namespace headshare
