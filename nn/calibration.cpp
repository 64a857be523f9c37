#include "nn/calibration.h"

#include <array>

#include "tensor/elementwise.h"
#include "tensor/reduce.h"

namespace headshare {
namespace {

Tensor exact(const Tensor& x) { return x.to(Device::cpu).to(ElementType::float64).contiguous(); }

Tensor product_with_itself(const Tensor& x) { return matmul(x.transpose(-1, -2), x); }  // X^T X        [..., n, n]

// The sums while sentences are counted.
struct Sums {
  HeadStatistics moments;
  Tensor attended;     // [H, G D], not products but the values themselves
  double queries = 0;  // counted

  void add(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& weights) {
    const Size T = q.extent(1), H = q.extent(2), S = k.extent(1), width = k.extent(2) * k.extent(3);
    const Tensor by_head = q.reshape({T, H, q.extent(3)}).transpose(0, 1).contiguous();  // [H, T, D]
    const Tensor keys = k.reshape({S, width}), values = v.reshape({S, width});           // [S, G D]
    const Tensor centred = subtract(keys, mean(keys, 0));
    const Tensor seen = matmul(weights.reshape({H, T, S}), values);  // [H, T, G D]
    const HeadStatistics more{
        product_with_itself(by_head), product_with_itself(centred), product_with_itself(seen), {}};
    if (queries == 0) {
      moments = more;
      attended = sum(seen, 1);
    } else {
      accumulate(more.queries, moments.queries);
      accumulate(more.keys, moments.keys);
      accumulate(more.attended, moments.attended);
      accumulate(sum(seen, 1), attended);
    }
    queries += static_cast<double>(T);
  }

  HeadStatistics finish() {
    moments.attended_mean = affine(attended, 1 / queries, 0);
    const Size H = attended.extent(0), width = attended.extent(1);
    const Tensor of_mean = matmul(moments.attended_mean.reshape({H, width, 1}), attended.reshape({H, 1, width}));
    moments.attended = subtract(moments.attended, of_mean);
    return moments;
  }
};

}  // namespace

Calibration calibrate(const Transformer& model, const EncodedCorpus& corpus, Size sentences) {
  const Size available = static_cast<Size>(corpus.pairs.size()), count = std::min(sentences, available);
  if (count < 1) fail("calibrate: needed at least one sentence pair");
  std::map<const Attention*, std::string> names;
  for (const NamedAttention& named : attentions_of(model)) names[named.attention] = named.name;
  std::map<std::string, Sums> sums;
  const NoGradient no_gradient;
  const AttentionObserver observer(
      [&](const Attention& attention, const Variable& queries, const KeysValues& keys_values, const Mask& mask) {
        const Tensor weights = attention_weights(queries.value(), keys_values.key.value(), mask);  // [1, H, T, S]
        sums[names.at(&attention)].add(exact(queries.value()), exact(keys_values.key.value()),
                                       exact(keys_values.value.value()), exact(weights));
      });
  Dropout none = Dropout::none();
  for (Size i = 0; i < count; ++i) {  // one at a time: no padding to leave out of the sums
    const std::array member{i * available / count};
    const Batch batch = make_batch(corpus.pairs, member, model.options().device);
    const Variable memory = model.encode(batch.source.tokens, batch.source.lengths, none);
    model.decode(batch.target_input, memory, batch.source.lengths, none);
  }
  Calibration result;
  for (auto& [name, sum] : sums) result[name] = sum.finish();
  return result;
}

}  // namespace headshare
