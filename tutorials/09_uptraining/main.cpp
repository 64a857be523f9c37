#include <algorithm>
#include <iostream>
#include <optional>

#include "core/report/line_chart.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "lesson.h"
#include "tensor/attention.h"
#include "tensor/elementwise.h"
#include "tensor/reduce.h"
#include "tutorials/support/step.h"
#include "tutorials/support/translator.h"

namespace headshare::lesson {
namespace {

constexpr Alignment right = Alignment::right;
constexpr Pooling poolings[] = {Pooling::mean, Pooling::first, Pooling::random};

// A number that training made: other machines get a slightly different one.
std::string about(double number, int decimals = 3) { return "~" + with_decimals(number, decimals); }
const char* yes_or_no(bool answer) { return answer ? "yes" : "no"; }

// The trained translator, what it was trained and validated on, and the rate at which training may go on: the one that
// its schedule would have at its end without the last fall to 0.
struct Material {
  Transformer model;
  EncodedCorpus train, valid;
  Recipe recipe;
  double rate;
};
Material material() {
  Translator translator = toy_translator();
  const ToyLanguage language = translator_language();
  const Size longest = translator.model.config().max_length;
  EncodedCorpus train = encode(language.train, translator.tokenizer, longest),
                valid = encode(language.valid, translator.tokenizer, longest);
  const Recipe recipe = translator_recipe();
  Schedule undecayed = recipe.schedule;
  undecayed.decay_steps = 0;
  return {std::move(translator.model), std::move(train), std::move(valid), recipe,
          undecayed.learning_rate(recipe.steps)};
}

Uptraining uptraining_of(const Material& given, double alpha) {
  return {.steps = uptraining_steps(given.recipe.steps, alpha),
          .start_rate = given.rate,
          .tokens_per_batch = given.recipe.tokens_per_batch,
          .label_smoothing = given.recipe.label_smoothing,
          .seed = 2};
}

// ---- Step 1 ---------------------------------------------------------------------------------------------------------

// "1 1 | 3 3": heads of two numbers.
std::string heads_of(const Tensor& row) {
  std::string words;
  for (Size column = 0; column < row.extent(-1); ++column)
    words += text(column == 0 ? "" : column % 2 == 0 ? " | " : " ", row.at({0, column}));
  return words;
}

void step_1() {
  const Tensor row = from_values<float>({1, 1, 3, 5, 10, 20, 30, 20}, {1, 8});
  Table table({{"heads"}, {"pooling"}, {"one row of W_K"}});
  table.add_row({"4", "", heads_of(row)});
  for (const Size heads : {2, 1}) {
    table.add_row({text(heads), "mean", heads_of(mean_of_heads(row, 4, heads))});
    table.add_row({text(heads), "first", heads_of(first_of_heads(row, 4, heads))});
  }
  std::cout << table.plain();
}

// ---- Step 2 ---------------------------------------------------------------------------------------------------------

void step_2() {
  const Material given = material();
  const AttentionSites& before = given.model.config().attention;
  Table table({{"KV heads", right},
               {"who shares"},
               {"parameters", right},
               {"cache B/token", right},
               {"NLL mean", right},
               {"first", right},
               {"random", right}});
  const auto shape_of = [](const Transformer& model) {
    return std::vector{with_thousands(count_parameters(model)), with_thousands(cache_bytes_per_token(model))};
  };
  const std::vector<std::string> whole = shape_of(given.model);
  const double loss = validation_nll(given.model, given.valid);
  table.add_row({"8", "nobody", whole[0], whole[1], about(loss), "", ""});
  bool smaller = true, worse = true;
  const auto add = [&](const std::string& who, Size kv_heads, const AttentionSites& sites) {
    std::vector<std::string> row = {text(kv_heads), who};
    for (const Pooling pooling : poolings) {
      const Transformer converted = convert_model(given.model, sites, pooling, 1);
      if (pooling == Pooling::mean)
        for (const std::string& number : shape_of(converted)) row.push_back(number);
      const double nll = validation_nll(converted, given.valid);
      row.push_back(about(nll));
      smaller = smaller && count_parameters(converted) < count_parameters(given.model);
      worse = worse && nll > loss;
    }
    table.add_row(row);
  };
  for (const Size kv_heads : {4, 2, 1}) add("decoder", kv_heads, decoder_sites(before, kv_heads));
  add("all three", 1, all_sites(before, 1));
  std::cout << table.plain() << "Every converted model is smaller: " << yes_or_no(smaller)
            << "\nEvery converted model is worse, before it is trained: " << yes_or_no(worse) << '\n';
}

// ---- Step 3 ---------------------------------------------------------------------------------------------------------

// Mean share that survives in the decoder's attentions.
double kept_in_decoder(const Transformer& model, Size kv_heads, Linear Attention::*projection) {
  double sum = 0;
  Size count = 0;
  for (const NamedAttention& named : attentions_of(model)) {
    if (named.site == AttentionSite::encoder_self) continue;
    const Attention& attention = *named.attention;
    sum += kept_by_mean((attention.*projection).weight.value(), attention.mode.kv_heads, kv_heads);
    ++count;
  }
  return sum / static_cast<double>(count);
}

// Decoder states of the first validation batch.                                                              [B, T, C]
Tensor decoder_states(const Transformer& model, const Batch& batch) {
  const NoGradient no_gradient;
  Dropout dropout = Dropout::none();
  const Variable memory = model.encode(batch.source.tokens, batch.source.lengths, dropout);
  return model.decode(batch.target_input, memory, batch.source.lengths, dropout).value();
}

// How far the output of every cross-attention lies from what it was, when it gets the same queries and source as in the
// multi-head model; mean over the layers.
double cross_attention_error(const Transformer& model, const Transformer& converted, const Batch& batch) {
  const NoGradient no_gradient;
  Dropout dropout = Dropout::none();
  const Variable memory = model.encode(batch.source.tokens, batch.source.lengths, dropout);
  double error = 0;
  {
    const AttentionObserver observer(
        [&](const Attention& asked, const Variable& queries, const KeysValues& old, const Mask& mask) {
          for (std::size_t layer = 0; layer < model.decoder().size(); ++layer) {
            if (&asked != &model.decoder()[layer].cross) continue;
            const KeysValues pooled = converted.decoder()[layer].cross.keys_values(memory);
            error += relative_error(attention(queries.value(), pooled.key.value(), pooled.value.value(), mask).output,
                                    attention(queries.value(), old.key.value(), old.value.value(), mask).output);
          }
        });
    model.decode(batch.target_input, memory, batch.source.lengths, dropout);
  }
  return error / static_cast<double>(model.decoder().size());
}

void step_3() {
  const Material given = material();
  const AttentionSites& before = given.model.config().attention;
  Table kept(
      {{"heads in a group", right}, {"unrelated heads keep", right}, {"W_K keeps", right}, {"W_V keeps", right}});
  bool unrelated = true;
  for (const Size kv_heads : {4, 2, 1}) {
    const double keys = kept_in_decoder(given.model, kv_heads, &Attention::key),
                 values = kept_in_decoder(given.model, kv_heads, &Attention::value);
    const double expected = static_cast<double>(kv_heads) / 8;
    kept.add_row({text(8 / kv_heads), with_decimals(expected, 3), about(keys), about(values)});
    unrelated = unrelated && keys < 1.2 * expected && values < 1.2 * expected;
  }
  std::cout << kept.plain() << "Trained heads share hardly more than unrelated ones (less than 1.2 times as much): "
            << yes_or_no(unrelated) << "\n\n";

  const Transformer turned = clone(given.model);
  std::uint64_t seed = 0;
  for (const DecoderLayer& layer : turned.decoder())
    for (const Attention* attention : {&layer.self, &layer.cross})
      for (Size head = 0; head < attention->mode.heads; ++head)
        turn_head(*attention, head, random_rotation(attention->head_size(), ++seed));
  const Batch batch = make_batch(given.valid.pairs, plan_in_order(given.valid, 768).front(), Device::cpu);
  const double change = relative_error(decoder_states(turned, batch), decoder_states(given.model, batch));
  const double weights =
      relative_error(turned.decoder()[0].cross.key.weight.value(), given.model.decoder()[0].cross.key.weight.value());
  const auto loss_of_mean = [&](const Transformer& model) {
    return about(validation_nll(convert_model(model, decoder_sites(before, 4), Pooling::mean, 1), given.valid));
  };
  std::cout << "All keys and queries of the decoder turned: W_K moved by more than its own length: "
            << yes_or_no(weights > 1) << ", what the decoder computes by more than 0.1 %: " << yes_or_no(change > 1e-3)
            << "\nNLL with the mean of every two heads: " << loss_of_mean(given.model)
            << ", of every two turned heads: " << loss_of_mean(turned) << "\n\n";

  Table errors({{"cross-attention's error with KV heads"}, {"4", right}, {"2", right}, {"1", right}});
  std::map<Pooling, std::vector<double>> all;
  for (const Pooling pooling : poolings) {
    std::vector<std::string> row = {name_of(pooling)};
    for (const Size kv_heads : {4, 2, 1}) {
      const Transformer converted = convert_model(given.model, decoder_sites(before, kv_heads), pooling, 1);
      all[pooling].push_back(cross_attention_error(given.model, converted, batch));
      row.push_back(about(all[pooling].back(), 2));
    }
    errors.add_row(row);
  }
  bool least = true;
  for (std::size_t i = 0; i < 3; ++i)
    least = least && all[Pooling::mean][i] < std::min(all[Pooling::first][i], all[Pooling::random][i]);
  std::cout << errors.plain() << "The mean has the smallest error: " << yes_or_no(least) << '\n';
}

// ---- Step 4 ---------------------------------------------------------------------------------------------------------

constexpr double alphas[] = {0.01, 0.02, 0.05, 0.1};

void step_4() {
  const Material given = material();
  const AttentionSites sites = decoder_sites(given.model.config().attention, 2);
  Series shared{.name = "2 KV heads, mean"}, whole{.name = "8 KV heads, trained on as well"};
  Table table({{"alpha", right}, {"updates", right}, {"2 KV heads, mean", right}, {"8 KV heads", right}});
  const auto add = [&](double alpha, Size updates, const Transformer& converted, const Transformer& control) {
    shared.x.push_back(100 * alpha), whole.x.push_back(100 * alpha);
    shared.y.push_back(validation_nll(converted, given.valid));
    whole.y.push_back(validation_nll(control, given.valid));
    table.add_row({with_decimals(100 * alpha, 0) + " %", text(updates), about(shared.y.back()), about(whole.y.back())});
  };
  const auto converted = [&] { return convert_model(given.model, sites, Pooling::mean, 1); };
  add(0, 0, converted(), given.model);
  for (const double alpha : alphas) {
    const Uptraining uptraining = uptraining_of(given, alpha);
    const Transformer model = converted(), control = clone(given.model);
    uptrain(model, given.train, uptraining);
    uptrain(control, given.train, uptraining);
    add(alpha, uptraining.steps, model, control);
  }
  write_png(LineChart{.title = "What uptraining repairs",
                      .x_label = "alpha: updates in per cent of the original training",
                      .y_label = "validation NLL per token",
                      .series = {shared, whole},
                      .y_scale = AxisScale::logarithmic,
                      .width = 900,
                      .height = 540},
            "09_alpha.png");
  const double lost = shared.y.front() - whole.y.front();
  const auto repaired = [&](std::size_t i) { return (shared.y.front() - shared.y[i]) / lost; };
  std::cout << table.plain()
            << "5 % of the updates repair more than half of the damage: " << yes_or_no(repaired(3) > 0.5)
            << "\nMore updates, less loss, at every alpha: "
            << yes_or_no(std::is_sorted(shared.y.rbegin(), shared.y.rend())) << "\n09_alpha.png\n";
}

// ---- Step 5 ---------------------------------------------------------------------------------------------------------

// The translator as it would be had its training been stopped before the learning rate fell to 0, as that of many
// published models is: some updates with a rate that rises to two thirds of the highest of its training.
void unfinish(const Material& given) {
  constexpr Size updates = 150;
  Recipe recipe = given.recipe;
  recipe.steps = updates;
  recipe.schedule = {.peak = 2 * given.recipe.schedule.peak / 3, .warmup = updates};
  Trainer trainer(given.model, given.train, recipe);
  for (Size step = 0; step < updates; ++step) trainer.update();
  trainer.report();
}

Comparison compare(const Material& given, double alpha, const std::vector<std::pair<Size, Pooling>>& wanted) {
  std::vector<Candidate> candidates;
  for (const auto& [kv_heads, pooling] : wanted)
    candidates.push_back({decoder_sites(given.model.config().attention, kv_heads), pooling});
  const Comparison comparison =
      compare_with_control(given.model, candidates, given.train, given.valid, uptraining_of(given, alpha));
  Table table({{"KV heads", right},
               {"pooling"},
               {"converted", right},
               {"uptrained", right},
               {"less before", right},
               {"less control", right}});
  table.add_row({"8", "control", about(comparison.before), about(comparison.control),
                 about(comparison.control - comparison.before), about(0)});
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const Outcome& outcome = comparison.outcomes[i];
    table.add_row({text(wanted[i].first), name_of(wanted[i].second), about(outcome.converted), about(outcome.uptrained),
                   about(outcome.against_before), about(outcome.against_control)});
  }
  std::cout << table.plain();
  return comparison;
}

void step_5() {
  const Material given = material();
  std::cout << "The translator, 5 % more\n";
  const Comparison ranks =
      compare(given, 0.05,
              {{2, Pooling::mean}, {2, Pooling::first}, {2, Pooling::random}, {4, Pooling::mean}, {1, Pooling::mean}});
  const std::vector<Outcome>& of = ranks.outcomes;
  std::cout << "mean < first < random with 2 KV heads: "
            << yes_or_no(of[0].uptrained < of[1].uptrained && of[1].uptrained < of[2].uptrained)
            << "\nmore KV heads, less loss: "
            << yes_or_no(of[3].uptrained < of[0].uptrained && of[0].uptrained < of[4].uptrained)
            << "\n\nA translator whose training was not brought to its end, 10 % more\n";
  unfinish(given);
  const Comparison lie = compare(given, 0.1, {{4, Pooling::mean}});
  std::cout << "4 KV heads are better than 8, says the comparison with the model before: "
            << yes_or_no(lie.outcomes[0].against_before < 0)
            << "\n4 KV heads are better than 8, says the comparison with the control: "
            << yes_or_no(lie.outcomes[0].against_control < 0) << '\n';
}

}  // namespace
}  // namespace headshare::lesson

int main(int count, char** arguments) {
  using namespace headshare::lesson;
  return lesson_program(9, {step_1, step_2, step_3, step_4, step_5}, count, arguments);
}
