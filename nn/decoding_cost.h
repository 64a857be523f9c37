#pragma once

#include <string>
#include <vector>

#include "nn/decoder.h"

// What decoding one more token of every sentence should take on this machine, and why: counted in the model, divided by
// speeds that were measured before (nn/decoding_ceilings.h), by arithmetic that fits a sheet of paper.
namespace headshare {

// A decoding of random sentences, to count or to measure.
struct DecodingMeasurement {
  Size batch = 64;  // sentences side by side
  Size source_length = 32;
  Size target_length = 32;                  // steps; sentences never end early, so that every run does the same work
  Size repetitions = 3;                     // the median counts
  std::optional<ElementType> cache_type{};  // as DecoderSizes::cache_type
  Size beam = 1;                            // hypotheses of a sentence; 1: greedy

  Size rows() const { return batch * beam; }
};

// ---- Counting -------------------------------------------------------------------------------------------------------

// Bytes read, and floating-point operations done with them; a multiply-add is two.
struct Work {
  double bytes = 0;
  double flops = 0;
};

// One step, on average over the run.
//   weights      every weight of the decoder is read once and multiplied with every row; a processor's matrix unit,
//                which multiplies many rows in float32, reads six bytes of each
//   self_cache   keys and values of the target positions so far, (T + 1) / 2 on average, of every row; no more than the
//                window where attention is local
//   cross_cache  those of the source positions, of every sentence: its hypotheses read the same ones
//   moved_bytes  after a step of beam search hypotheses change places, and their part of the self-attention caches is
//                read and written. Every parent is taken to be equally likely: a row stays with probability 1 / beam
//   operations   kernels, except those that choose the next tokens; `teams` of them are large enough for several
//                threads
// Not counted: the zeros at the end of keys in tiles; the encoder; activations, which stay in the nearest cache from one operation to the next; and that a
// single sentence with a single key/value head keeps one core busy with attention while the others wait.
struct DecodingCost {
  Work weights;
  Work self_cache;
  Work cross_cache;
  double moved_bytes = 0;
  Size operations = 0;
  Size teams = 0;

  double cache_bytes() const { return self_cache.bytes + cross_cache.bytes + moved_bytes; }
  double bytes() const { return weights.bytes + cache_bytes(); }
  double flops() const { return weights.flops + self_cache.flops + cross_cache.flops; }
};
DecodingCost decoding_cost(const Decoder& decoder, const DecodingMeasurement& measurement);

// ---- Predicting -----------------------------------------------------------------------------------------------------

struct ReadingSpeed {
  double bytes;  // when so many are read again and again
  double bytes_per_second;
};

// Whether a device goes on computing while it waits for memory. A GPU does: other warps have their turn, and a part
// takes as long as the slower of reading and computing (the roofline of Williams et al. 2009). A processor's core
// hardly does: lines travel from cache to cache while nothing else is loaded, and the times add up (the
// execution-cache-memory model, Stengel et al. 2015).
enum class Overlap { none, full };

// What the machine can do, all of it measured, in the conditions of one decoding.
struct DecodingCeilings {
  std::vector<ReadingSpeed> reading;  // the fewest bytes first
  double product_flops;               // per second: a product with as many rows, its weights in the nearest cache
  double self_attention_flops;        // per second: attention with as many query rows for each key, keys in the nearest
  double cross_attention_flops;       // cache
  double operation_seconds;           // an operation with next to nothing to do
  double team_seconds;                // starting and joining the threads for an operation
  double choosing_seconds;            // the next tokens of all rows from their logits
  Overlap overlap = Overlap::none;    // the one figure that is known of the device, not measured

  // Between measured amounts along the straight line over log(bytes), beyond them as at the nearest.
  double bytes_per_second(double working_set) const;
};

// Which resource a step waits for most of the time.
enum class Bound { overhead, weights, cache, compute };
std::string name(Bound bound);  // "overhead-bound", "weight-bound", "cache-bound", "compute-bound"

// The two halves of a part, in seconds, less what the other half hides.
struct PredictedPart {
  double reading;
  double computing;
  double seconds() const { return reading + computing; }
};

// A step, in seconds.
struct Prediction {
  double bytes_per_second;  // at which weights and caches are read
  PredictedPart weights;
  PredictedPart self_cache;
  PredictedPart cross_cache;
  double moving;    // rows of the caches, in beam search
  double starting;  // operations and threads
  double choosing;  // the next tokens

  double seconds() const;
  double seconds(Bound bound) const;  // spent on this resource; the four add up to seconds()
  Bound bound() const;                // the resource with the most
};

// Weights and caches are read in every step, so all of them together decide how far away they lie.
Prediction predict(const DecodingCost& cost, const DecodingCeilings& ceilings);

// ---- Judging --------------------------------------------------------------------------------------------------------

constexpr double tolerated_error = 0.35;  // of the measured time

// Where the time of a measured step went, in seconds.
struct DecodingBreakdown {
  double products = 0;
  double attention = 0;
  double moving = 0;
  double choosing = 0;
  double rest = 0;  // all other operations, and what lies between operations
};

// What is looked at where the prediction missed, after the row.
struct DecodingEvidence {
  DecodingBreakdown breakdown;
  Prediction again;  // from speeds measured once more
};

struct Verdict {
  Bound bound;
  bool predicted;   // within tolerated_error of the measurement
  std::string why;  // with numbers; where it was not predicted, what has changed or took longer than was counted
};

// Where a prediction from speeds measured again is right, the machine has changed meanwhile. Otherwise, time that
// neither bytes nor operations explain is overhead. `evidence` is read only where the prediction missed.
bool is_predicted(const Prediction& prediction, double measured_seconds);
Verdict judge(const DecodingCost& cost, const Prediction& prediction, double measured_seconds,
              const DecodingEvidence& evidence);

}  // namespace headshare
