#pragma once

#include <optional>
#include <span>
#include <vector>

#include "kernels/launch_graph.h"
#include "nn/key_value_cache.h"
#include "nn/transformer.h"

namespace headshare {

struct DecoderSizes {
  Size capacity;  // target positions at most
  Size beam = 1;  // hypotheses per sentence
  // Not given: the type that the model computes in. Of float32 also bfloat16, and on Device::cuda int8 of either.
  std::optional<ElementType> cache_type{};
};

// What decoding keeps between steps: per decoder layer the self-attention cache, which grows, and the keys and values
// of the source sentence, which are projected once. Row r of a step continues sentence r / beam; all hypotheses of a
// sentence read the same cross-attention cache.
struct DecoderState {
  struct Layer {
    KeyValueCache self;   // of each row
    KeyValueCache cross;  // of each sentence
  };
  std::vector<Layer> layers;
  Tensor source_lengths;  // int32 [sentences]
  Size beam = 1;
  Size length = 0;                // target positions decoded so far
  std::vector<Tensor> workspace;  // what a step writes on the way, for at least as many rows; used again by the next

  // What changes from step to step lies on the device, so that a step can be recorded once and repeated.
  Tensor tokens;              // int32 [rows]
  Tensor counts;              // int32 [1 + rows]: the position of the next token, then how many positions each row sees
  Tensor ones;                // int32 [1 + rows], what each step adds to counts
  kernels::LaunchGraph step;  // recorded on Device::cuda in the second step with the same rows
  bool warmed_up = false;     // there was a first one

  Size sentences() const { return source_lengths.extent(0); }
  Size rows() const { return sentences() * beam; }
  Size bytes() const;  // of all caches

  // Goes on with these rows, in this order, some perhaps twice. Each `beam` rows must be of one sentence.
  void select(std::span<const std::int32_t> rows);
};

// Decoding one position at a time, at the speed of reading weights and caches: a model's decoder without a graph,
// weights packed once, every intermediate in memory that is there already, residual and normalization in one pass. The
// logits are those of Transformer::decode, which is its specification.
class Decoder {
 public:
  // Any function that takes a Decoder also takes a model and packs it for this one call. The model must live as long,
  // and what is trained later does not change the packed weights.
  Decoder(const Transformer& model);  // NOLINT: implicit on purpose

  const Transformer& model() const { return model_; }
  Size weight_bytes(Size rows = 1) const;  // read by every step with so many rows

  // memory: [sentences, S, C] of Transformer::encode   source_lengths: int32 [sentences]
  DecoderState start(const Variable& memory, const Tensor& source_lengths, const DecoderSizes& sizes) const;

  // The next token of each row, int32 [rows], in; the logits of the one after it out, [rows, V], valid until the next
  // step. Fails when the caches are full.
  Tensor step(const Tensor& tokens, DecoderState& state) const;

 private:
  struct PackedLinear {
    PackedMatrix weight;
    Tensor bias;
  };
  struct Layer {
    PackedLinear self_joint;  // query, key and value side by side: one product instead of three
    PackedLinear self_output;
    PackedLinear cross_query;
    PackedLinear cross_output;
    PackedLinear inner;
    PackedLinear outer;
  };
  PackedLinear joined(const std::vector<const Linear*>& linears);
  void prepare(DecoderState& state) const;
  void queue_step(const DecoderState& state) const;

  void check_cache_type(ElementType type) const;

  const Transformer& model_;
  std::vector<Layer> layers_;
  std::vector<const LayerNormalization*> norms_;  // in the order in which a step meets them
  PackedMatrix output_;                           // the embedding table, transposed
  Size bias_bytes_ = 0;
};

}  // namespace headshare
