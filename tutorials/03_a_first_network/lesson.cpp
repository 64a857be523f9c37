#include "lesson.h"

#include <algorithm>
#include <cmath>

#include "autograd/functions.h"
#include "core/random.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {
namespace {

Size number_of(const std::vector<int>& list) { return static_cast<Size>(list.size()); }

void check_number(int number) {
  if (number < 0 || number >= all_numbers) fail("number ", number, ": needed 0 to ", all_numbers - 1);
}

void check_targets(const Tensor& logits, const std::vector<int>& targets) {
  if (logits.rank() != 2 || logits.extent(0) != number_of(targets))
    fail("cross_entropy: logits of shape ", logits.shape(), " for ", targets.size(),
         " targets, needed one row for each");
  for (const int target : targets)
    if (target < 0 || target >= logits.extent(1))
      fail("cross_entropy: target ", target, ", needed 0 to ", logits.extent(1) - 1);
}

}  // namespace

// --- Step 1: from digits to scores ---

// [show one_hot]
Tensor one_hot(const std::vector<int>& numbers) {
  const Tensor x = zeros({number_of(numbers), 30});  // [B, 30]
  for (Size b = 0; b < number_of(numbers); ++b) {
    const int number = numbers[b];
    // [step 1] Write the three ones of this number into row b.
    // Hundreds at 0 to 9, tens at 10 to 19, ones at 20 to 29; x.set({b, i}, 1) writes element i of row b.
    // [hint] 342 / 100 is 3, 342 / 10 % 10 is 4, 342 % 10 is 2.
    // [hint] x.set({b, 10 + number / 10 % 10}, 1) is the middle one.
    x.set({b, number / 100}, 1);
    x.set({b, 10 + number / 10 % 10}, 1);
    x.set({b, 20 + number % 10}, 1);
    // [end]
  }
  return x;
}
// [end show]

// [show linear]
Tensor linear_forward(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Size B = x.extent(0), in = weight.extent(0), out = weight.extent(1);
  if (x.rank() != 2 || x.extent(1) != in || bias.shape() != Shape{out})
    fail("linear_forward: x ", x.shape(), ", weight ", weight.shape(), ", bias ", bias.shape(), " do not fit");
  const Tensor y = zeros({B, out});  // [B, out]
  const float *inputs = x.data<float>(), *weights = weight.data<float>(), *biases = bias.data<float>();
  float* outputs = y.data<float>();
  // [step 1] Fill outputs: for every row b and output o, the bias and the weighted sum of the inputs.
  // All four are contiguous: element (b, i) of x is inputs[b * in + i].
  // [hint] Three loops: b, o, i. Element (i, o) of the weight is weights[i * out + o].
  // [hint] outputs[b * out + o] = biases[o], then += inputs[b * in + i] * weights[i * out + o] for every i.
  for (Size b = 0; b < B; ++b) {
    for (Size o = 0; o < out; ++o) outputs[b * out + o] = biases[o];
    for (Size i = 0; i < in; ++i)  // o innermost: both reads and writes go along memory
      for (Size o = 0; o < out; ++o) outputs[b * out + o] += inputs[b * in + i] * weights[i * out + o];
  }
  // [end]
  return y;
}
// [end show]

// [show linear_layer]
Variable linear_layer(const Variable& x, const Variable& weight, const Variable& bias) {
  const Tensor input = x.value(), matrix = weight.value();
  return record("linear_layer", linear_forward(input, matrix, bias.value()), {x, weight, bias},
                [input, matrix](const Tensor& dy) -> Gradients {
                  return {matmul(dy, matrix.transpose(0, 1)),  // dx = dy W^T     [B, in]
                          matmul(input.transpose(0, 1), dy),   // dW = x^T dy     [in, out]
                          sum(Variable(dy), 0).value()};       // db = sum_b dy   [out]
                });
}
// [end show]

// --- Step 2: how wrong? ---

// [show loss]
double cross_entropy_loss(const Tensor& logits, const std::vector<int>& targets) {
  check_targets(logits, targets);
  const Size N = logits.extent(0), V = logits.extent(1);
  const float* x = logits.data<float>();  // x[n * V + v]
  double total = 0;
  // [step 2] Add -log p[target] of every row to total, without ever taking exp of a large number.
  // -log p[t] = log(sum_v exp(x_v)) - x_t, and log(sum_v exp(x_v)) = m + log(sum_v exp(x_v - m)) for any m.
  // [hint] With m the largest of the row no exponent is above 0, and one of the terms is exp(0) = 1.
  // [hint] Row by row: largest, then sum of exp(x - largest), then total += largest + log(sum) - x[n * V + target].
  for (Size n = 0; n < N; ++n) {
    const float* row = x + n * V;
    const double largest = *std::max_element(row, row + V);
    double sum = 0;
    for (Size v = 0; v < V; ++v) sum += std::exp(row[v] - largest);
    total += largest + std::log(sum) - row[targets[n]];
  }
  // [end]
  return total / static_cast<double>(N);
}
// [end show]

// [show gradient]
Tensor cross_entropy_gradient(const Tensor& logits, const std::vector<int>& targets) {
  check_targets(logits, targets);
  const Size N = logits.extent(0), V = logits.extent(1);
  const Tensor gradient = zeros({N, V});  // [N, V]
  const float* x = logits.data<float>();
  float* dx = gradient.data<float>();
  // [step 2] Fill dx: the probabilities of the row, minus 1 at the target, all divided by the number of rows.
  // d(log sum_u exp(x_u)) / d x_v = exp(x_v) / sum_u exp(x_u) = p_v, and d(-x_t) / d x_v is -1 where v = t.
  // [hint] p_v = exp(x_v - largest) / sum_u exp(x_u - largest): the same numbers as in the loss.
  // [hint] The loss is a mean over N rows, so each row counts 1 / N.
  for (Size n = 0; n < N; ++n) {
    const float* row = x + n * V;
    const double largest = *std::max_element(row, row + V);
    double sum = 0;
    for (Size v = 0; v < V; ++v) sum += std::exp(row[v] - largest);
    for (Size v = 0; v < V; ++v) {
      const double p = std::exp(row[v] - largest) / sum;
      dx[n * V + v] = static_cast<float>((p - (v == targets[n] ? 1 : 0)) / static_cast<double>(N));
    }
  }
  // [end]
  return gradient;
}
// [end show]

Variable softmax_cross_entropy(const Variable& logits, const std::vector<int>& targets) {
  const Tensor x = logits.value();
  const Tensor loss = full({}, cross_entropy_loss(x, targets));
  return record("softmax_cross_entropy", loss, {logits}, [x, targets](const Tensor& dy) -> Gradients {
    return {affine(Variable(cross_entropy_gradient(x, targets)), dy.item(), 0).value()};
  });
}

// --- Step 3: a step downhill ---

// [show adam]
void adam_step(const Tensor& parameter, const Tensor& gradient, const Moments& moments, Size step,
               const AdamSettings& settings) {
  if (step < 1) fail("adam_step: step ", step, ", they count from 1");
  if (gradient.shape() != parameter.shape())
    fail("adam_step: a gradient of shape ", gradient.shape(), " for a parameter of shape ", parameter.shape());
  float *p = parameter.data<float>(), *m = moments.mean.data<float>(), *v = moments.variance.data<float>();
  const float* g = gradient.data<float>();
  const double beta1 = settings.beta1, beta2 = settings.beta2;
  for (Size i = 0; i < parameter.count(); ++i) {
    // [step 3] Update m[i] and v[i] with the gradient g[i], correct both for their start at 0, and move p[i].
    // [hint] The five formulas stand in lesson.h, in the order in which they are needed.
    // [hint] The corrected averages are new variables: m[i] and v[i] themselves stay as the first two formulas say.
    m[i] = static_cast<float>(beta1 * m[i] + (1 - beta1) * g[i]);
    v[i] = static_cast<float>(beta2 * v[i] + (1 - beta2) * g[i] * g[i]);
    const double mean = m[i] / (1 - std::pow(beta1, step));
    const double variance = v[i] / (1 - std::pow(beta2, step));
    p[i] -= static_cast<float>(settings.learning_rate * mean / (std::sqrt(variance) + settings.epsilon));
    // [end]
  }
}
// [end show]

// --- Step 4: learning ---

std::vector<Variable> Network::parameters() const {
  std::vector<Variable> all = weights;
  all.insert(all.end(), biases.begin(), biases.end());
  return all;
}

Network make_network(const std::vector<Size>& widths, std::uint64_t seed) {
  if (widths.size() < 2 || widths.back() != piece_slots * vocabulary)
    fail("make_network: needed at least two widths, the last ", piece_slots * vocabulary);
  Generator generator(seed);
  Network network;
  for (std::size_t layer = 0; layer + 1 < widths.size(); ++layer) {
    const Tensor weight({widths[layer], widths[layer + 1]}, {});
    for (Size i = 0; i < weight.count(); ++i)
      weight.data<float>()[i] = static_cast<float>((2 * generator.uniform() - 1) / std::sqrt(widths[layer]));
    network.weights.push_back(leaf(weight));
    network.biases.push_back(leaf(zeros({widths[layer + 1]})));
  }
  return network;
}

// [show scores]
Variable scores(const Network& network, const Variable& x) {
  Variable h = x;  // [B, in]
  for (std::size_t layer = 0; layer < network.weights.size(); ++layer) {
    if (layer > 0) h = relu_layer(h);
    h = linear_layer(h, network.weights[layer], network.biases[layer]);  // [B, widths[layer + 1]]
  }
  return reshape(h, {x.extent(0) * piece_slots, vocabulary});  // [3 B, V]
}
// [end show]

std::vector<int> batch_of_step(const std::vector<int>& numbers, Size step, Size batch) {
  if (numbers.empty()) fail("batch_of_step: no numbers to draw from");
  Generator generator(7, static_cast<std::uint64_t>(step));
  std::vector<int> drawn(static_cast<std::size_t>(batch));
  for (int& number : drawn) number = numbers[static_cast<std::size_t>(generator.below(number_of(numbers)))];
  return drawn;
}

// [show train]
std::vector<double> train(const Network& network, const Encoding& encode, const std::vector<int>& numbers,
                          const TrainingOptions& options) {
  const std::vector<Variable> parameters = network.parameters();
  std::vector<Moments> moments;
  for (const Variable& parameter : parameters) moments.push_back({zeros(parameter.shape()), zeros(parameter.shape())});
  std::vector<double> losses;
  for (Size step = 1; step <= options.steps; ++step) {
    const std::vector<int> batch = batch_of_step(numbers, step, options.batch);
    // [step 4] Forward and loss, then backward, then move every parameter and forget its gradient; note the loss.
    // Needed: scores(network, Variable(encode(batch))), softmax_cross_entropy with pieces_of(batch), backward,
    // adam_step(parameter.value(), parameter.gradient(), ...), parameter.clear_gradient().
    // [hint] parameters[k] and moments[k] belong together.
    // [hint] backward() adds to the gradients that are there. When must the old ones go?
    const Variable loss = softmax_cross_entropy(scores(network, Variable(encode(batch))), pieces_of(batch));
    backward(loss);
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      adam_step(parameters[k].value(), parameters[k].gradient(), moments[k], step, options.adam);
      parameters[k].clear_gradient();
    }
    losses.push_back(loss.value().item());
    // [end]
  }
  return losses;
}
// [end show]

// [show read_aloud]
std::vector<int> read_aloud(const Network& network, const Encoding& encode, const std::vector<int>& numbers) {
  const NoGradient no_tape;
  const Tensor logits = scores(network, Variable(encode(numbers))).value();  // [3 B, V]
  std::vector<int> ids;
  for (Size row = 0; row < logits.extent(0); ++row) {
    const float* first = logits.data<float>() + row * vocabulary;
    ids.push_back(static_cast<int>(std::max_element(first, first + vocabulary) - first));
  }
  return ids;
}
// [end show]

double accuracy(const Network& network, const Encoding& encode, const std::vector<int>& numbers) {
  const std::vector<int> said = read_aloud(network, encode, numbers), right = pieces_of(numbers);
  Size correct = 0;
  for (std::size_t first = 0; first < said.size(); first += piece_slots)
    correct += std::equal(said.begin() + first, said.begin() + first + piece_slots, right.begin() + first);
  return static_cast<double>(correct) / static_cast<double>(numbers.size());
}

// --- Step 5: a hidden layer ---

Tensor plain_digits(const std::vector<int>& numbers) {
  const Tensor x({number_of(numbers), 3}, {});  // [B, 3]
  for (Size b = 0; b < number_of(numbers); ++b)
    for (Size slot = 0; slot < 3; ++slot) {
      const int power = slot == 0 ? 100 : slot == 1 ? 10 : 1;
      x.data<float>()[b * 3 + slot] = static_cast<float>(numbers[b] / power % 10) / 10;
    }
  return x;
}

// [show relu]
Variable relu_layer(const Variable& x) {
  const Tensor y = zeros(x.shape());
  const float* in = x.value().data<float>();
  for (Size i = 0; i < y.count(); ++i) y.data<float>()[i] = std::max(in[i], 0.0f);
  return record("relu_layer", y, {x}, [y](const Tensor& dy) -> Gradients {
    const Tensor dx = zeros(y.shape());
    // [step 5] Let the gradient pass where y is positive; elsewhere dx stays 0.
    // dy has the shape of y and is contiguous, as y and dx are.
    // [hint] Where y is 0 the input could move a little and nothing would change: the slope is 0.
    // [hint] One loop over y.count() elements: if y is above 0 there, dx is dy there.
    for (Size i = 0; i < y.count(); ++i)
      if (y.data<float>()[i] > 0) dx.data<float>()[i] = dy.data<float>()[i];
    // [end]
    return {dx};
  });
}
// [end show]

// --- The task, given ---

const std::string& piece(int id) {
  static const std::vector<std::string> pieces = {
      "",         "zero",   "one",    "two",    "three",    "four",     "five",    "six",     "seven",     "eight",
      "nine",     "ten",    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
      "nineteen", "twenty", "thirty", "forty",  "fifty",    "sixty",    "seventy", "eighty",  "ninety"};
  if (id < 0 || id >= vocabulary) fail("piece ", id, ": needed 0 to ", vocabulary - 1);
  return pieces[static_cast<std::size_t>(id)];
}

std::vector<int> pieces_of(const std::vector<int>& numbers) {
  std::vector<int> ids;
  for (const int number : numbers) {
    check_number(number);
    const int hundreds = number / 100, tens = number / 10 % 10, ones = number % 10;
    const int teen = tens == 1 ? 11 + ones : 0, decade = tens >= 2 ? 19 + tens : 0;
    const int one = tens != 1 && (ones > 0 || number == 0) ? 1 + ones : 0;
    ids.insert(ids.end(), {hundreds == 0 ? 0 : 1 + hundreds, teen + decade, one});
  }
  return ids;
}

std::string say(const std::vector<int>& pieces) {
  if (pieces.size() != piece_slots) fail("say: ", pieces.size(), " pieces, needed ", piece_slots);
  const std::string hundreds = piece(pieces[0]), tens = piece(pieces[1]), ones = piece(pieces[2]);
  const std::string rest = tens + (tens.empty() || ones.empty() ? "" : "-") + ones;
  if (hundreds.empty()) return rest;
  return hundreds + " hundred" + (rest.empty() ? "" : " and " + rest);
}

Numbers split_numbers(Size count) {
  std::vector<int> all(static_cast<std::size_t>(all_numbers));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  Generator generator(11);
  generator.shuffle(all);
  std::iter_swap(all.begin(), std::find(all.begin(), all.end(), 0));  // nothing else teaches the word "zero"
  if (count < 1 || count > all_numbers) fail("split_numbers: ", count, " of ", all_numbers, " numbers");
  return {{all.begin(), all.begin() + count}, {all.begin() + count, all.end()}};
}

}  // namespace headshare::lesson
