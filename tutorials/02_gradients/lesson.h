#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "autograd/variable.h"

// Lesson 2: a program that remembers what it computed can say how each input moved the result.
namespace headshare::lesson {

// A small row of numbers, in float64; a single number is a row of one.
using Numbers = std::vector<double>;

// [show tape]
// The local rule of an operation: takes dy, the gradient of its result (as many numbers as the result), and returns one
// gradient for each of its inputs, in order (as many numbers as that input).
using Rule = std::function<std::vector<Numbers>(const Numbers& dy)>;

// One line of the tape: an operation that was carried out.
struct Entry {
  std::string operation;    // "leaf" for what did not come from an operation
  Numbers value;            // its result
  std::vector<int> inputs;  // the positions of its inputs: always smaller than its own
  Rule rule;                // empty for a leaf
};

struct Value;

// Everything that was computed, in the order in which it was computed.
class Tape {
 public:
  Value leaf(Numbers value);
  // Fails unless all inputs lie on this tape.
  Value record(const std::string& operation, Numbers value, const std::vector<Value>& inputs, Rule rule);
  const Entry& entry(int position) const;  // fails outside
  int size() const { return static_cast<int>(entries_.size()); }

 private:
  std::deque<Entry> entries_;  // a deque, so that entries stay where they are while the tape grows
};

// A handle on one line of a tape; the tape must outlive it.
struct Value {
  Tape* tape;
  int position;

  const Numbers& numbers() const { return tape->entry(position).value; }
};
// [end show]

// --- Step 1: how does a program remember what it computed? ---

// Element by element; both of the same size, otherwise "multiply: 2 numbers and 3".
Value add(const Value& a, const Value& b);  // given
Value multiply(const Value& a, const Value& b);

Value exp(const Value& x);  // element by element
Value sum(const Value& x);  // all elements, to a row of one; 0 for an empty row

// Given: fails unless a and b hold as many numbers.
void check_same_size(const char* who, const Value& a, const Value& b);

// --- Step 2: which way does the gradient flow? ---

// The positions of all entries that root was made of, root first; each once, and after everything that was made of it.
// Does not recurse.
std::vector<int> backward_order(const Value& root);

// How much each number on the tape moves the root: for each position of the tape the gradient of
// sum_i seed[i] root[i], zeros where root was not made of it. Fails unless there is one seed for each number of root:
//   "backward: 2 seeds for 3 numbers"
// Uses the rule of each entry at most once.
std::vector<Numbers> backward(const Value& root, const Numbers& seed);

// Given: entry.rule(dy). Fails where the rule returns another number of gradients, or another size, than the inputs
// have: the one place where all rules are checked.
std::vector<Numbers> apply_rule(const Tape& tape, const Entry& entry, const Numbers& dy);

// --- Step 3: how do you know that a gradient is right? ---

using Function = std::function<Numbers(const Numbers&)>;

// The gradient of sum_i upstream[i] f(x)[i] by central differences: for each element of x
//   (f(x with x_j + step) - f(x with x_j - step)) / (2 step), times upstream, summed.
// Evaluates f at nothing but x with ONE element moved.
Numbers numeric_gradient(const Function& f, const Numbers& x, const Numbers& upstream, double step);

// max_j |got_j - expected_j| / max(1, |got_j|, |expected_j|): absolute for small numbers, relative for large ones.
// Infinite when the sizes differ or a number is NaN: a check that NaN passes is none.
double largest_error(const Numbers& got, const Numbers& expected);

// Given: the largest error of backward() through f at x, against central differences.
double gradient_error(const std::function<Value(const Value&)>& f, const Numbers& x, const Numbers& upstream);

// --- Step 4: what is the gradient of softmax? ---

// y_i = exp(x_i) / sum_j exp(x_j), safe for large x.                                    x, result: n >= 1 numbers
Numbers softmax_values(const Numbers& x);

// The gradient of x, given the result y and its gradient dy.                            y, dy, result: n numbers
Numbers softmax_gradient(const Numbers& y, const Numbers& dy);

// Given: the two together, on the tape.
Value softmax(const Value& x);

// --- Step 5: what does the graph look like, and what does the library do? ---

// In which column of a picture each entry of the tape stands, so that all arrows point forwards: leaves in column 0, an
// operation one behind the last of its inputs. -1 for what root was not made of.
std::vector<int> columns(const Value& root);

// Given: the graph as text for Graphviz (dot -Tsvg).
std::string graph_dot(const Value& root);

// y = x sigmoid(x), element by element, as ONE operation of the library, with its own rule.   x, result: any shape
// "SiLU" in Elfwing, Uchibe, Doya 2017 (arXiv 1702.03118); the library does not have it.
Variable silu(const Variable& x);

}  // namespace headshare::lesson
