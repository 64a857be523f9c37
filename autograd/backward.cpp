#include <queue>
#include <unordered_set>

#include "autograd/variable.h"
#include "core/error.h"
#include "tensor/elementwise.h"

namespace headshare {
namespace {

// The only place where gradients are added up and checked: a backward function that returns the wrong count, shape or
// type is caught here, by name.
void add_gradient(const Node& from, Node& input, Tensor gradient) {
  if (!(gradient.shape() == input.shape) || gradient.type() != input.type)
    fail("backward of ", from.operation, ": returned a gradient ", gradient.shape(), " ", name(gradient.type()),
         " for an input ", input.shape, " ", name(input.type));
  if (!input.gradient.defined())
    input.gradient = std::move(gradient);
  else if (input.gradient.shares_storage() || !input.gradient.is_contiguous())  // somebody else sees this memory
    input.gradient = add(input.gradient, gradient);
  else
    accumulate(gradient.contiguous(), input.gradient);
}

bool is_leaf(const Node& node) { return node.operation == "leaf"; }

void check_not_used(const Node& node) {
  if (!node.backward)
    fail("backward: the graph behind '", node.operation,
         "' was freed by an earlier backward(); compute the forward pass again");
}

}  // namespace

void backward(const Variable& root) {
  if (root.value().count() != 1)
    fail("backward: starts from a single number, not from shape ", root.shape(), "; sum it, or give the seed gradient");
  backward(root, full(root.shape(), 1.0, root.value().options()));
}

void backward(const Variable& root, const Tensor& seed) {
  if (!root.requires_gradient()) fail("backward: nothing that this was made of needs a gradient");
  if (!(seed.shape() == root.shape())) fail("backward: seed ", seed.shape(), " for a root ", root.shape());

  // An operation is always younger than its inputs: taking the youngest node first means that every gradient is
  // complete when it is used. No recursion, however deep the graph.
  const auto younger = [](const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) {
    return a->order < b->order;
  };
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, decltype(younger)> ready(younger);
  std::unordered_set<const Node*> seen{root.node().get()};
  const NoGradient no_gradient;
  add_gradient(*root.node(), *root.node(), seed);
  ready.push(root.node());

  while (!ready.empty()) {
    const std::shared_ptr<Node> node = ready.top();
    ready.pop();
    if (is_leaf(*node)) continue;
    check_not_used(*node);
    Gradients gradients;
    {
      const Tensor dy = std::move(node->gradient);
      node->gradient = {};
      gradients = node->backward(dy);
    }
    node->backward = nullptr;  // frees what the closure captured
    if (gradients.size() != node->inputs.size())
      fail("backward of ", node->operation, ": returned ", gradients.size(), " gradients for ", node->inputs.size(),
           " inputs");
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const std::shared_ptr<Node>& input = node->inputs[i];
      if (!input || !gradients[i].defined()) continue;
      Tensor gradient = std::move(gradients[i]);
      gradients[i] = {};
      add_gradient(*node, *input, std::move(gradient));
      if (seen.insert(input.get()).second) ready.push(input);
    }
    node->inputs.clear();
  }
}

}  // namespace headshare
