#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "autograd/variable.h"

// Lesson 3: a first network. It reads the digits of a number, 0 to 999, and says it in English words. All tensors are
// float32, contiguous, on the CPU.
namespace headshare::lesson {

// --- The task, given ---

// A number is said in three pieces, of which some are silent (""):
//   342: "three" "forty" "two"      313: "three" "thirteen" ""      40: "" "forty" ""      0: "" "" "zero"
// The pieces together are the vocabulary: "", zero to nineteen, twenty, thirty ... ninety.
constexpr Size all_numbers = 1000;
constexpr Size piece_slots = 3;
constexpr Size vocabulary = 29;                               // V
const std::string& piece(int id);                             // 0: ""; 1: "zero"; 2: "one" ... 28: "ninety"
std::vector<int> pieces_of(const std::vector<int>& numbers);  // three ids for each number, one number after the other
std::string say(const std::vector<int>& pieces);              // three ids: "three hundred and forty-two"

// The numbers to learn from and the others, in an order that looks random: `count` of them, and all 1000 - count that
// training never sees.
struct Numbers {
  std::vector<int> seen, unseen;
};
Numbers split_numbers(Size count);

// --- Step 1: from digits to scores ---

// The digits of each number as 30 zeros and ones. The first ten say which digit the hundreds are, the next ten the
// tens, the last ten the ones: 342 has ones at 3, 10 + 4 and 20 + 2.                                   result: [B, 30]
Tensor one_hot(const std::vector<int>& numbers);

// y[b, o] = bias[o] + sum_i x[b, i] weight[i, o]            x: [B, in]   weight: [in, out]   bias: [out]   y: [B, out]
Tensor linear_forward(const Tensor& x, const Tensor& weight, const Tensor& bias);
// The same with its way back. Given.
Variable linear_layer(const Variable& x, const Variable& weight, const Variable& bias);

// --- Step 2: how wrong? ---

// The mean over the rows of -log p[target], where p = softmax(row), p_v = exp(x_v) / sum_u exp(x_u).
// Right for logits of any size, 1000 and -1000 too. One target for each row, 0 <= target < V.          logits: [N, V]
double cross_entropy_loss(const Tensor& logits, const std::vector<int>& targets);
// The derivative of that mean by every logit.                                                          result: [N, V]
Tensor cross_entropy_gradient(const Tensor& logits, const std::vector<int>& targets);
// Both as one function of the tape. Given.                                                             result: rank 0
Variable softmax_cross_entropy(const Variable& logits, const std::vector<int>& targets);

// --- Step 3: a step downhill ---

// [show adam]
// Adam (Kingma, Ba 2015, algorithm 1).
struct AdamSettings {
  double learning_rate = 0.01;
  double beta1 = 0.9, beta2 = 0.98;  // how much of the old averages stays
  double epsilon = 1e-9;             // keeps the division from 0
};
// The two running averages of a parameter, of its shape; both begin with zeros.
struct Moments {
  Tensor mean;      // m, of the gradient
  Tensor variance;  // v, of its square
};
// Changes the parameter and its moments in place. `step` counts from 1.
//   m = beta1 m + (1 - beta1) g              m' = m / (1 - beta1^step)
//   v = beta2 v + (1 - beta2) g^2            v' = v / (1 - beta2^step)
//   parameter -= learning_rate m' / (sqrt(v') + epsilon)
void adam_step(const Tensor& parameter, const Tensor& gradient, const Moments& moments, Size step,
               const AdamSettings& settings);
// [end show]

// --- Step 4: learning ---

// Layers one after the other: the first turns the input into widths[1] numbers, the last gives three times V scores.
// Between two layers stands the relu of step 5; a network of one layer has none.
struct Network {
  std::vector<Variable> weights;  // [widths[i], widths[i + 1]]
  std::vector<Variable> biases;   // [widths[i + 1]]

  std::vector<Variable> parameters() const;  // all of them
};
// Random weights, uniform in +-1 / sqrt(inputs); biases 0. The last width is piece_slots * vocabulary. Given.
Network make_network(const std::vector<Size>& widths, std::uint64_t seed);
// A row of scores for each piece of each number.                               x: [B, in]   result: [3 B, V]
Variable scores(const Network& network, const Variable& x);

// How a number is shown to the network: `one_hot`, or the `plain_digits` of step 5.
using Encoding = std::function<Tensor(const std::vector<int>& numbers)>;

struct TrainingOptions {
  Size steps = 400;
  Size batch = 50;  // numbers in a step
  AdamSettings adam = {};
};
// The numbers of one step's batch, the same for the same step; steps count from 1. Given.
std::vector<int> batch_of_step(const std::vector<int>& numbers, Size step, Size batch);
// Trains the network in place. In each step: forward, loss, backward, one Adam step for every parameter with the
// gradient of this batch alone. The result is the loss of every step, as it was before that step's change.
std::vector<double> train(const Network& network, const Encoding& encode, const std::vector<int>& numbers,
                          const TrainingOptions& options);

// What the network says: in each slot the piece with the highest score. Three ids for each number. Given.
std::vector<int> read_aloud(const Network& network, const Encoding& encode, const std::vector<int>& numbers);
// The share of the numbers whose three pieces are all right. Given.
double accuracy(const Network& network, const Encoding& encode, const std::vector<int>& numbers);

// --- Step 5: a hidden layer ---

// The digits as three plain numbers: 342 is 0.3, 0.4, 0.2. Given.                                       result: [B, 3]
Tensor plain_digits(const std::vector<int>& numbers);
// y = max(x, 0), element by element, with its way back: the gradient passes where y > 0, and is 0 elsewhere.
//                                                                                       x: any shape; result: the same
Variable relu_layer(const Variable& x);

}  // namespace headshare::lesson
