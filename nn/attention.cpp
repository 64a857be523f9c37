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

KeyValueCache::KeyValueCache(Size batch, Size kv_heads, Size capacity, Size head_size, TensorOptions options)
    : key_({batch, kv_heads, capacity, head_size}, options), value_({batch, kv_heads, capacity, head_size}, options) {}

void KeyValueCache::append(const KeysValues& next) {
  const Size end = length_ + next.key.extent(1);
  if (end > key_.extent(2)) fail("key/value cache: position ", end - 1, " does not fit into ", key_.extent(2));
  key_.slice(2, length_, end).copy_from(next.key.value().transpose(1, 2));
  value_.slice(2, length_, end).copy_from(next.value.value().transpose(1, 2));
  length_ = end;
}

KeysValues KeyValueCache::keys_values() const {
  return {Variable(key_.slice(2, 0, length_).transpose(1, 2)), Variable(value_.slice(2, 0, length_).transpose(1, 2))};
}

void KeyValueCache::select(const Tensor& sentences) {
  key_ = gather_rows(key_, sentences);
  value_ = gather_rows(value_, sentences);
}

}  // namespace headshare
