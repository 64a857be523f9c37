#include "nn/attention.h"

namespace headshare {
namespace {

thread_local const AttentionObserver* observer = nullptr;

// [B, T, heads * D] seen as [B, T, heads, D].
Variable split_heads(const Variable& x, Size heads) {
  return reshape(x, {x.extent(0), x.extent(1), heads, x.extent(2) / heads});
}

}  // namespace

Attention::Attention(Size d_model, AttentionMode mode_, Generator& generator, TensorOptions options)
    : mode((check(mode_, d_model), mode_)),
      query(d_model, mode_.heads * headshare::head_size(mode_, d_model), generator, options),
      key(d_model, mode_.kv_heads * headshare::head_size(mode_, d_model), generator, options),
      value(d_model, mode_.kv_heads * headshare::head_size(mode_, d_model), generator, options),
      output(mode_.heads * headshare::head_size(mode_, d_model), d_model, generator, options) {}

Variable Attention::operator()(const Variable& x, const Variable& source, const Mask& mask) const {
  return attend(x, keys_values(source), mask);
}

KeysValues Attention::keys_values(const Variable& source) const {
  return {split_heads(key(source), mode.kv_heads), split_heads(value(source), mode.kv_heads)};
}

Variable Attention::queries(const Variable& x) const { return split_heads(query(x), mode.heads); }

Variable Attention::attend(const Variable& x, const KeysValues& keys_values, const Mask& wanted) const {
  Mask mask = wanted;
  if (mask.order == causal) mask.window = mode.window;
  const Variable asking = queries(x);  // [B, T, H, D]
  if (observer != nullptr) observer->tell_(*this, asking, keys_values, mask);
  const Variable heads = attention(asking, keys_values.key, keys_values.value, mask);   // [B, T, H, D]
  return output(reshape(heads, {x.extent(0), x.extent(1), mode.heads * head_size()}));  // [B, T, C]
}

void Attention::visit(const std::string& prefix, const ParameterVisitor& visitor) const {
  query.visit(prefix + ".query", visitor);
  key.visit(prefix + ".key", visitor);
  value.visit(prefix + ".value", visitor);
  output.visit(prefix + ".output", visitor);
}

AttentionObserver::AttentionObserver(Tell tell) : tell_(std::move(tell)) {
  if (observer != nullptr) fail("attention: there is an observer already");
  observer = this;
}
AttentionObserver::~AttentionObserver() { observer = nullptr; }

}  // namespace headshare
