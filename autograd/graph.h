#pragma once

#include <string>

#include "autograd/variable.h"

namespace headshare {

// The recorded graph behind a variable, oldest operation first, before backward() frees it.
std::string graph_table(const Variable& root);  // a line per node: number, operation, shape, numbers of its inputs
std::string graph_dot(const Variable& root);    // for Graphviz: headshare inspect graph --dot | dot -Tsvg > graph.svg

}  // namespace headshare
