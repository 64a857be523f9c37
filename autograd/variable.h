#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace headshare {

// One gradient per input, in order; an undefined Tensor says "none for this input".
using Gradients = std::vector<Tensor>;

// What an operation leaves behind so that backward() can pass through it: who its inputs were and how the gradient of
// its output becomes those of its inputs. It does not hold the output's value: a closure captures the tensors it needs,
// the others are freed as the forward goes on. Closures capture Tensors, never Variables, so there are no cycles.
struct Node {
  std::string operation;  // "leaf" for a parameter
  Shape shape;            // of the output
  ElementType type = ElementType::float32;
  std::vector<std::shared_ptr<Node>> inputs;            // null where an input is a constant
  std::function<Gradients(const Tensor& dy)> backward;  // empty for a leaf, and after backward() has used and freed it
  Tensor gradient;                                      // of a leaf: summed over backward() calls until cleared
  std::uint64_t order = 0;                              // inputs are always older than what is made of them

  Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node();
};

// A tensor that remembers how it was made.
class Variable {
 public:
  Variable() = default;
  explicit Variable(Tensor value) : value_(std::move(value)) {}  // a constant
  Variable(Tensor value, std::shared_ptr<Node> node) : value_(std::move(value)), node_(std::move(node)) {}

  bool defined() const { return value_.defined(); }
  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  Size extent(int dimension) const { return value_.extent(dimension); }
  bool requires_gradient() const { return node_ != nullptr; }
  const std::shared_ptr<Node>& node() const { return node_; }

  // Of a leaf, after backward(). Undefined before, and for constants.
  Tensor gradient() const { return node_ ? node_->gradient : Tensor(); }
  void clear_gradient() const {
    if (node_) node_->gradient = {};
  }

 protected:
  Tensor value_;
  std::shared_ptr<Node> node_;
};

// A variable whose gradient backward() leaves in gradient().
Variable leaf(Tensor value);

// While one lives, nothing is recorded: for validation and decoding.
class NoGradient {
 public:
  NoGradient();
  ~NoGradient();
  NoGradient(const NoGradient&) = delete;
  NoGradient& operator=(const NoGradient&) = delete;
};
bool is_recording();

std::shared_ptr<Node> make_node(const char* operation, const Tensor& value, const std::vector<Variable>& inputs);

// The result of an operation: `value`, made of `inputs`; `backward` takes the gradient dy of the value and returns one
// gradient per input. Nothing is kept when no input needs a gradient.
template <class Backward>
Variable record(const char* operation, Tensor value, const std::vector<Variable>& inputs, Backward backward) {
  std::shared_ptr<Node> node = make_node(operation, value, inputs);
  if (node) node->backward = std::move(backward);
  return Variable(std::move(value), std::move(node));
}

// Reverse-mode differentiation: adds d root / d leaf to the gradient of every leaf that root was made of, and frees the
// graph on the way. root must hold one element, or `seed` gives its gradient. A second backward() through the same
// graph fails.
void backward(const Variable& root);
void backward(const Variable& root, const Tensor& seed);

}  // namespace headshare
