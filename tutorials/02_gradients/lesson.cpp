#include "lesson.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "tensor/elementwise.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {

// --- The tape: given ---

Value Tape::leaf(Numbers value) { return record("leaf", std::move(value), {}, {}); }

Value Tape::record(const std::string& operation, Numbers value, const std::vector<Value>& inputs, Rule rule) {
  Entry entry{operation, std::move(value), {}, std::move(rule)};
  for (const Value& input : inputs) {
    if (input.tape != this) fail(operation, ": an input lies on another tape");
    entry.inputs.push_back(input.position);
  }
  entries_.push_back(std::move(entry));
  return {this, size() - 1};
}

const Entry& Tape::entry(int position) const {
  if (position < 0 || position >= size()) fail("tape: no entry ", position, " among ", size());
  return entries_[position];
}

void check_same_size(const char* who, const Value& a, const Value& b) {
  if (a.numbers().size() != b.numbers().size())
    fail(who, ": ", a.numbers().size(), " numbers and ", b.numbers().size());
}

// --- Step 1 ---

// [show add]
Value add(const Value& a, const Value& b) {
  check_same_size("add", a, b);
  Numbers y = a.numbers();
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += b.numbers()[i];
  // y = a + b: when a moves by a little, y moves as much. Both gradients are dy.
  return a.tape->record("add", y, {a, b}, [](const Numbers& dy) { return std::vector<Numbers>{dy, dy}; });
}
// [end show]

// [show multiply]
Value multiply(const Value& a, const Value& b) {
  // [step 1] Multiply element by element, and record how dy becomes the gradients of a and of b.
  // [hint] d(a b) = b da + a db. So the gradient of a is dy times b. And that of b?
  // [hint] Let the lambda capture copies of both rows of numbers: [va, vb](const Numbers& dy) { ... }
  check_same_size("multiply", a, b);
  const Numbers va = a.numbers(), vb = b.numbers();
  Numbers y = va;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] *= vb[i];
  return a.tape->record("multiply", y, {a, b}, [va, vb](const Numbers& dy) {
    Numbers da = dy, db = dy;
    for (std::size_t i = 0; i < dy.size(); ++i) {
      da[i] *= vb[i];
      db[i] *= va[i];
    }
    return std::vector<Numbers>{da, db};
  });
  // [end]
}
// [end show]

// [show exp]
Value exp(const Value& x) {
  // [step 1] Take std::exp of each element, and record how dy becomes the gradient of x.
  // [hint] The derivative of exp(x) is exp(x): the result itself. Capture it.
  Numbers y = x.numbers();
  for (double& number : y) number = std::exp(number);
  return x.tape->record("exp", y, {x}, [y](const Numbers& dy) {
    Numbers dx = dy;
    for (std::size_t i = 0; i < dx.size(); ++i) dx[i] *= y[i];
    return std::vector<Numbers>{dx};
  });
  // [end]
}
// [end show]

// [show sum]
Value sum(const Value& x) {
  // [step 1] Add up all elements, and record how the one number dy becomes the gradient of x.
  // [hint] Every element goes into the sum with weight 1, so every element gets the same gradient. How many are there?
  double total = 0;
  for (const double number : x.numbers()) total += number;
  const std::size_t count = x.numbers().size();
  return x.tape->record("sum", {total}, {x},
                        [count](const Numbers& dy) { return std::vector<Numbers>{Numbers(count, dy[0])}; });
  // [end]
}
// [end show]

// --- Step 2 ---

// [show backward_order]
std::vector<int> backward_order(const Value& root) {
  // [step 2] List all entries that root was made of, each after everything that was made of it, without recursion.
  // [hint] Inputs always have smaller positions than what is made of them. What does this say about walking backwards?
  // [hint] Mark root. Go from its position down to 0: take what is marked, and mark its inputs.
  std::vector<bool> needed(root.position + 1, false);
  needed[root.position] = true;
  std::vector<int> order;
  for (int position = root.position; position >= 0; --position) {
    if (!needed[position]) continue;
    order.push_back(position);
    for (const int input : root.tape->entry(position).inputs) needed[input] = true;
  }
  return order;
  // [end]
}
// [end show]

// [show apply_rule]
std::vector<Numbers> apply_rule(const Tape& tape, const Entry& entry, const Numbers& dy) {
  if (!entry.rule) fail("apply_rule: a ", entry.operation, " has no rule, nothing lies behind it");
  const std::vector<Numbers> gradients = entry.rule(dy);
  if (gradients.size() != entry.inputs.size())
    fail("the rule of ", entry.operation, " returned ", gradients.size(), " gradients for ", entry.inputs.size(),
         " inputs");
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const std::size_t wanted = tape.entry(entry.inputs[i]).value.size();
    if (gradients[i].size() != wanted)
      fail("the rule of ", entry.operation, " returned a gradient of ", gradients[i].size(),
           " numbers for an input of ", wanted);
  }
  return gradients;
}
// [end show]

// [show backward]
std::vector<Numbers> backward(const Value& root, const Numbers& seed) {
  if (seed.size() != root.numbers().size())
    fail("backward: ", seed.size(), " seeds for ", root.numbers().size(), " numbers");
  std::vector<Numbers> gradients;  // for each position of the tape, zeros to begin with
  for (int position = 0; position < root.tape->size(); ++position)
    gradients.emplace_back(root.tape->entry(position).value.size(), 0.0);
  // [step 2] Start from the seed and pass each gradient on to the inputs; what comes from several sides adds up.
  // [hint] In backward_order a gradient is complete when its entry's turn comes. Leaves have no rule: pass them over.
  // [hint] Two inputs may be the same entry, as in multiply(a, a). Then both gradients belong to it.
  gradients[root.position] = seed;
  for (const int position : backward_order(root)) {
    const Entry& entry = root.tape->entry(position);
    if (!entry.rule) continue;
    const std::vector<Numbers> parts = apply_rule(*root.tape, entry, gradients[position]);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      Numbers& target = gradients[entry.inputs[i]];
      for (std::size_t j = 0; j < target.size(); ++j) target[j] += parts[i][j];
    }
  }
  // [end]
  return gradients;
}
// [end show]

// --- Step 3 ---

// [show numeric_gradient]
Numbers numeric_gradient(const Function& f, const Numbers& x, const Numbers& upstream, double step) {
  // [step 3] Move one element at a time a little up and a little down, and see how far the result moves.
  // [hint] Only one element may be away from x at a time: start from a fresh copy of x for each.
  // [hint] f returns many numbers. What counts is their sum, each times its upstream.
  Numbers gradient(x.size());
  for (std::size_t j = 0; j < x.size(); ++j) {
    Numbers above = x, below = x;
    above[j] += step;
    below[j] -= step;
    const Numbers high = f(above), low = f(below);
    for (std::size_t i = 0; i < upstream.size(); ++i) gradient[j] += upstream[i] * (high[i] - low[i]) / (2 * step);
  }
  return gradient;
  // [end]
}
// [end show]

// [show largest_error]
double largest_error(const Numbers& got, const Numbers& expected) {
  // [step 3] Find the largest error, and let neither NaN nor a missing number pass.
  // [hint] Every comparison with NaN is false, `error > largest` too. Look for NaN with std::isnan.
  // [hint] std::numeric_limits<double>::infinity()
  const double infinity = std::numeric_limits<double>::infinity();
  if (got.size() != expected.size()) return infinity;
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double scale = std::max({1.0, std::abs(got[i]), std::abs(expected[i])});
    const double error = std::abs(got[i] - expected[i]) / scale;
    if (std::isnan(error)) return infinity;
    largest = std::max(largest, error);
  }
  return largest;
  // [end]
}
// [end show]

// [show gradient_error]
double gradient_error(const std::function<Value(const Value&)>& f, const Numbers& x, const Numbers& upstream) {
  Tape tape;
  const Value input = tape.leaf(x);
  const Numbers by_rules = backward(f(input), upstream)[input.position];
  const Function forward = [&f](const Numbers& moved) {
    Tape scratch;
    return f(scratch.leaf(moved)).numbers();
  };
  return largest_error(by_rules, numeric_gradient(forward, x, upstream, 1e-6));
}
// [end show]

// --- Step 4 ---

// [show softmax_values]
Numbers softmax_values(const Numbers& x) {
  // [step 4] Turn any numbers into positive ones that sum to 1, also where exp(x) alone would overflow.
  // [hint] exp(1000) is infinite, and infinity / infinity is NaN. What if all x move by the same amount?
  // [hint] Take away the largest x first.
  const double largest = *std::max_element(x.begin(), x.end());
  Numbers y = x;
  double total = 0;
  for (double& number : y) {
    number = std::exp(number - largest);
    total += number;
  }
  for (double& number : y) number /= total;
  return y;
  // [end]
}
// [end show]

// [show softmax_gradient]
Numbers softmax_gradient(const Numbers& y, const Numbers& dy) {
  // [step 4] Find the gradient of x from the result y and its gradient dy.
  // [hint] d y_i / d x_j = y_i (1 - y_i) where i = j, and - y_i y_j elsewhere. Sum over i, each times dy_i.
  // [hint] One number is shared by all elements: sum_i y_i dy_i. Compute it first.
  double shared = 0;
  for (std::size_t i = 0; i < y.size(); ++i) shared += y[i] * dy[i];
  Numbers dx = dy;
  for (std::size_t i = 0; i < y.size(); ++i) dx[i] = y[i] * (dy[i] - shared);
  return dx;
  // [end]
}
// [end show]

Value softmax(const Value& x) {
  const Numbers y = softmax_values(x.numbers());
  return x.tape->record("softmax", y, {x},
                        [y](const Numbers& dy) { return std::vector<Numbers>{softmax_gradient(y, dy)}; });
}

// --- Step 5 ---

// [show columns]
std::vector<int> columns(const Value& root) {
  // [step 5] Find the column of each entry, so that all arrows point forwards.
  // [hint] backward_order(root) says which entries belong to the picture. In which direction are inputs done first?
  // [hint] A leaf has no inputs: let the last column of no inputs be -1.
  std::vector<int> column(root.tape->size(), -1);
  const std::vector<int> order = backward_order(root);
  for (auto position = order.rbegin(); position != order.rend(); ++position) {
    int last = -1;
    for (const int input : root.tape->entry(*position).inputs) last = std::max(last, column[input]);
    column[*position] = last + 1;
  }
  return column;
  // [end]
}
// [end show]

std::string graph_dot(const Value& root) {
  std::string edges, nodes;
  for (const int position : backward_order(root)) {
    const Entry& entry = root.tape->entry(position);
    nodes += text("  n", position, " [label=\"", entry.operation, "\"];\n");
    for (const int input : entry.inputs) edges += text("  n", input, " -> n", position, ";\n");
  }
  return "digraph tape {\n  rankdir=LR;\n  node [shape=box];\n" + nodes + edges + "}\n";
}

// [show silu]
Variable silu(const Variable& x) {
  // [step 5] Give the library y = x sigmoid(x) as one operation, value and rule side by side.
  // [hint] With s = sigmoid(x) and y = x s the derivative is s + x s (1 - s) = s + y (1 - s).
  // [hint] Tensors have sigmoid, multiply, add, and affine(s, -1, 1) for 1 - s. See autograd/functions_elementwise.cpp.
  const Tensor s = sigmoid(x.value());
  const Tensor y = multiply(x.value(), s);
  return record("silu", y, {x}, [s, y](const Tensor& dy) -> Gradients {
    return {multiply(dy, add(s, multiply(y, affine(s, -1, 1))))};
  });
  // [end]
}
// [end show]

}  // namespace headshare::lesson
