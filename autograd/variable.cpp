#include "autograd/variable.h"

#include <atomic>

namespace headshare {
namespace {

thread_local int no_gradient_scopes = 0;
std::atomic<std::uint64_t> next_order = 1;

}  // namespace

NoGradient::NoGradient() { ++no_gradient_scopes; }
NoGradient::~NoGradient() { --no_gradient_scopes; }
bool is_recording() { return no_gradient_scopes == 0; }

// Releasing the last handle on a long chain would recurse once per node and overflow the stack: take the chain apart
// here.
Node::~Node() {
  std::vector<std::shared_ptr<Node>> doomed = std::move(inputs);
  while (!doomed.empty()) {
    const std::shared_ptr<Node> node = std::move(doomed.back());
    doomed.pop_back();
    if (!node || node.use_count() > 1) continue;
    for (std::shared_ptr<Node>& input : node->inputs) doomed.push_back(std::move(input));
    node->inputs.clear();
  }
}

Variable leaf(Tensor value) {
  auto node = std::make_shared<Node>();
  node->operation = "leaf";
  node->shape = value.shape();
  node->type = value.type();
  node->order = next_order++;
  return Variable(std::move(value), std::move(node));
}

std::shared_ptr<Node> make_node(const char* operation, const Tensor& value, const std::vector<Variable>& inputs) {
  if (!is_recording()) return nullptr;
  bool needed = false;
  for (const Variable& input : inputs) needed = needed || input.requires_gradient();
  if (!needed) return nullptr;
  auto node = std::make_shared<Node>();
  node->operation = operation;
  node->shape = value.shape();
  node->type = value.type();
  node->order = next_order++;
  for (const Variable& input : inputs) node->inputs.push_back(input.node());
  return node;
}

}  // namespace headshare
