#include "nn/training.h"

#include <cmath>
#include <utility>

#include "core/numbers.h"
#include "core/report/progress.h"
#include "tensor/adam.h"
#include "tensor/elementwise.h"

namespace headshare {
namespace {

using Metadata = std::map<std::string, std::string>;

// Calls field("train.steps", recipe.steps) and so on: one list serves writing and reading.
template <class R, class Field>
void visit_recipe(R& recipe, const Field& field) {
  field("train.steps", recipe.steps);
  field("train.tokens_per_batch", recipe.tokens_per_batch);
  field("train.accumulate", recipe.accumulate);
  field("train.label_smoothing", recipe.label_smoothing);
  field("train.clip", recipe.clip);
  field("train.peak_learning_rate", recipe.schedule.peak);
  field("train.warmup", recipe.schedule.warmup);
  field("train.decay_after", recipe.schedule.decay_after);
  field("train.decay_steps", recipe.schedule.decay_steps);
  field("train.beta1", recipe.adam.beta1);
  field("train.beta2", recipe.adam.beta2);
  field("train.epsilon", recipe.adam.epsilon);
  field("train.weight_decay", recipe.adam.weight_decay);
  field("train.seed", recipe.seed);
}

template <class S, class Field>
void visit_state(S& state, const Field& field) {
  field("state.step", state.step);
  field("state.epoch", state.epoch);
  field("state.batch", state.batch);
  field("state.target_tokens", state.target_tokens);
  field("state.seconds", state.seconds);
  field("state.best_nll", state.best_nll);
  field("state.validations_without_gain", state.validations_without_gain);
}

auto write_to(Metadata& metadata) {
  return [&metadata](const char* name, const auto& value) { metadata[name] = exact_text(value); };
}

auto read_from(const Metadata& metadata) {
  return [&metadata](const char* name, auto& value) {
    const auto found = metadata.find(name);
    if (found == metadata.end())
      fail("checkpoint: ", name, " is missing; it was not written by a training run of this program");
    value = parse_number<std::remove_reference_t<decltype(value)>>(found->second, text("checkpoint: ", name));
  };
}

}  // namespace

Metadata to_metadata(const Recipe& recipe) {
  Metadata metadata;
  visit_recipe(recipe, write_to(metadata));
  return metadata;
}

Recipe recipe(const Metadata& metadata) {
  Recipe recipe;
  visit_recipe(recipe, read_from(metadata));
  return recipe;
}

Metadata to_metadata(const TrainingState& state) {
  Metadata metadata;
  visit_state(state, write_to(metadata));
  return metadata;
}

TrainingState training_state(const Metadata& metadata) {
  TrainingState state;
  visit_state(state, read_from(metadata));
  visit_state(state, [](const char* name, const auto& value) {  // a negative batch would be an index outside the plan
    if (!(value >= 0)) fail("checkpoint: ", name, " is ", value, ", needed at least 0");
  });
  return state;
}

Trainer::Trainer(const Transformer& model, const EncodedCorpus& corpus, const Recipe& recipe)
    : model_(model), corpus_(corpus), recipe_(recipe), optimizer_(model, recipe.adam) {
  if (corpus.pairs.empty())
    fail("train: no sentence pair to train on",
         corpus.too_long > 0 ? "; all are longer than the model's max_length" : "");
  if (recipe.accumulate < 1 || recipe.tokens_per_batch < 1)
    fail("train: accumulate and tokens_per_batch must be at least 1");
}

const std::vector<Size>& Trainer::next_batch() {
  if (planned_epoch_ == state.epoch && state.batch >= static_cast<Size>(plan_.size())) {
    ++state.epoch;
    state.batch = 0;
  }
  if (planned_epoch_ != state.epoch) {
    plan_ = plan_epoch(corpus_, recipe_.tokens_per_batch, recipe_.seed, state.epoch);
    planned_epoch_ = state.epoch;
    if (state.batch >= static_cast<Size>(plan_.size())) return next_batch();  // a checkpoint at the end of an epoch
  }
  return plan_[static_cast<std::size_t>(state.batch++)];
}

BatchLoss batch_loss(const Transformer& model, const Batch& batch, double label_smoothing, Dropout& dropout) {
  const Variable memory = model.encode(batch.source.tokens, batch.source.lengths, dropout);    // [B, S, C]
  const Variable x = model.decode(batch.target_input, memory, batch.source.lengths, dropout);  // [B, T, C]
  const Size rows = batch.target_output.count();
  const Variable logits = model.logits(reshape(x, {rows, model.config().d_model}));  // [B T, V]
  const CrossEntropyLoss loss = cross_entropy(logits, batch.target_output, label_smoothing);
  return {loss.loss, loss.nll};
}

void Trainer::update() {
  const TensorOptions scalar{ElementType::float64, model_.options().device};
  const TrainingState before = state;
  const Tf32Products tf32(model_.precision() == Precision::tf32);  // of the backward too
  Dropout dropout(model_.config().dropout, recipe_.seed, static_cast<std::uint64_t>(state.step));
  const Tensor loss = zeros({}, scalar), nll = zeros({}, scalar);
  Size tokens = 0;
  for (Size i = 0; i < recipe_.accumulate; ++i) {
    const Batch batch = make_batch(corpus_.pairs, next_batch(), scalar.device);
    const BatchLoss result = batch_loss(model_, batch, recipe_.label_smoothing, dropout);
    backward(result.loss);
    accumulate(result.loss.value().to(ElementType::float64), loss);
    accumulate(result.nll.to(ElementType::float64), nll);
    tokens += batch.target_tokens;
  }
  if (unreported_.updates++ == 0) unreported_.before = before;
  ++state.step;
  state.target_tokens += tokens;

  // The gradients are those of the summed loss; the mean per token is a factor that Adam's pass applies.
  const double per_token = 1.0 / static_cast<double>(tokens);
  const double learning_rate = recipe_.schedule.learning_rate(state.step);
  const Tensor squared_norm = optimizer_.squared_gradient_norm();
  optimizer_.step(state.step, learning_rate, gradient_scale(per_token, recipe_.clip, loss, squared_norm));

  if (unreported_.tokens > 0) {  // infinity and NaN stay in the sums
    accumulate(unreported_.loss, loss);
    accumulate(unreported_.nll, nll);
    accumulate(affine(unreported_.squared_norm, 0, 0), squared_norm);
  }
  unreported_.loss = loss;
  unreported_.nll = nll;
  unreported_.squared_norm = squared_norm;
  unreported_.tokens += tokens;
  unreported_.tokens_of_last = tokens;
  unreported_.learning_rate = learning_rate;
}

StepReport Trainer::report() {
  const auto done = std::exchange(unreported_, {});
  if (done.tokens == 0) fail("train: no update since the last report");
  const double loss = done.loss.item(), norm = std::sqrt(done.squared_norm.item());
  if (!std::isfinite(loss) || !std::isfinite(norm)) {
    const Size last = std::exchange(state, done.before).step;
    fail("train: the loss or its gradient is not a finite number ",
         done.updates == 1 ? text("at step ", last) : text("between steps ", done.before.step + 1, " and ", last),
         "; lower the learning rate, lengthen the warm-up or clip the gradient");
  }
  const double tokens = static_cast<double>(done.tokens);
  return {loss / tokens, done.nll.item() / tokens, norm / static_cast<double>(done.tokens_of_last), done.learning_rate,
          done.tokens};
}

double validation_nll(const Transformer& model, const EncodedCorpus& corpus, Size tokens_per_batch) {
  if (corpus.pairs.empty()) fail("validate: no sentence pair to validate on");
  const NoGradient no_gradient;
  Dropout dropout = Dropout::none();
  double nll = 0;
  Size tokens = 0;
  for (const std::vector<Size>& members : plan_in_order(corpus, tokens_per_batch)) {
    const Batch batch = make_batch(corpus.pairs, members, model.options().device);
    nll += batch_loss(model, batch, 0, dropout).nll.item();
    tokens += batch.target_tokens;
  }
  return nll / static_cast<double>(tokens);
}

void train(const Transformer& model, const Corpus& corpus, const Tokenizer& tokenizer, const Recipe& recipe) {
  const EncodedCorpus encoded = encode(corpus, tokenizer, model.config().max_length);
  Trainer trainer(model, encoded, recipe);
  Progress progress("train", recipe.steps, {.unit = "tokens"});
  for (Size step = 1; step <= recipe.steps; ++step) {
    const StepReport report = trainer.step();
    progress.update(step, trainer.state.target_tokens, text("loss ", report.loss));
  }
  progress.finish();
}

}  // namespace headshare
