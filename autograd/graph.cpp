#include "autograd/graph.h"

#include <algorithm>
#include <iomanip>
#include <unordered_map>

#include "core/error.h"

namespace headshare {
namespace {

// Every node that the root was made of, oldest first, and its number in that order.
struct NumberedNodes {
  std::vector<const Node*> nodes;
  std::unordered_map<const Node*, std::size_t> number;
};

NumberedNodes collect(const Variable& root) {
  if (!root.requires_gradient())
    fail("graph: nothing was recorded; is a NoGradient scope open, or no parameter involved?");
  NumberedNodes result;
  std::vector<const Node*> open = {root.node().get()};
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    if (!result.number.emplace(node, 0).second) continue;
    result.nodes.push_back(node);
    for (const auto& input : node->inputs)
      if (input) open.push_back(input.get());
  }
  std::sort(result.nodes.begin(), result.nodes.end(), [](const Node* a, const Node* b) { return a->order < b->order; });
  for (std::size_t i = 0; i < result.nodes.size(); ++i) result.number[result.nodes[i]] = i;
  return result;
}

}  // namespace

std::string graph_table(const Variable& root) {
  const NumberedNodes graph = collect(root);
  std::ostringstream out;
  out << "  node  operation              shape                 made of\n";
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = *graph.nodes[i];
    out << std::right << std::setw(6) << i << "  " << std::left << std::setw(23) << node.operation << std::setw(22)
        << to_string(node.shape);
    for (const auto& input : node.inputs)
      out << (input ? std::to_string(graph.number.at(input.get())) : "constant") << ' ';
    out << '\n';
  }
  return std::move(out).str();
}

std::string graph_dot(const Variable& root) {
  const NumberedNodes graph = collect(root);
  std::ostringstream out;
  out << "digraph headshare {\n  rankdir=TB;\n  node [shape=box, fontname=\"sans-serif\"];\n";
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = *graph.nodes[i];
    out << "  n" << i << " [label=\"" << node.operation << "\\n"
        << node.shape << "\"" << (node.operation == "leaf" ? ", style=filled, fillcolor=\"#dce8f5\"" : "") << "];\n";
    for (const auto& input : node.inputs)
      if (input) out << "  n" << graph.number.at(input.get()) << " -> n" << i << ";\n";
  }
  out << "}\n";
  return std::move(out).str();
}

}  // namespace headshare
