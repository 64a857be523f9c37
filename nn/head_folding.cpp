#include "nn/head_folding.h"

#include "tensor/elementwise.h"

namespace headshare {
namespace {

Tensor exact(const Parameter& parameter) {
  return parameter.value().to(Device::cpu).to(ElementType::float64).contiguous();
}

void write(const Parameter& parameter, const Tensor& value) {
  const TensorOptions options = parameter.value().options();
  parameter.value().copy_from(value.to(options.type).to(options.device));
}

// x: [rows, n] or [n]   matrix: [n, m]
Tensor times(const Tensor& x, const Tensor& matrix) {
  if (x.rank() == 2) return matmul(x, matrix);
  return matmul(x.reshape({1, x.extent(0)}), matrix).reshape({matrix.extent(1)});
}

// The columns (a weight's or a bias's) of each query head times its own matrix.
Tensor by_head(const Tensor& x, const HeadFolding& folding) {
  const Size D = folding.query.extent(-1);
  const Tensor result = empty_like(x);
  for (std::size_t h = 0; h < folding.order.size(); ++h) {
    const Size head = static_cast<Size>(h);
    const Tensor matrix = folding.query.slice(0, head, head + 1).reshape({D, D});
    head_columns(result, head, D).copy_from(times(head_columns(x, folding.order[h], D).contiguous(), matrix));
  }
  return result;
}

}  // namespace

Tensor head_rows(const Tensor& matrix, Size head, Size head_size) {
  return matrix.slice(0, head * head_size, (head + 1) * head_size);
}

Tensor head_columns(const Tensor& matrix, Size head, Size head_size) {
  return matrix.slice(matrix.rank() - 1, head * head_size, (head + 1) * head_size);
}

void fold_heads(const Attention& from, const HeadFolding& folding, const Attention& to) {
  const Size D = from.head_size();
  write(to.key.weight, times(exact(from.key.weight), folding.key));
  write(to.key.bias, times(exact(from.key.bias), folding.key));
  write(to.value.weight, times(exact(from.value.weight), folding.value));
  write(to.value.bias, times(exact(from.value.bias), folding.value));
  write(to.query.weight, by_head(exact(from.query.weight), folding));
  write(to.query.bias, by_head(exact(from.query.bias), folding));

  const Tensor rows = exact(from.output.weight), folded = empty_like(rows);  // [H D, C]
  for (std::size_t h = 0; h < folding.order.size(); ++h) {
    const Size head = static_cast<Size>(h);
    const Tensor matrix = folding.output.slice(0, head, head + 1).reshape({D, D});
    head_rows(folded, head, D).copy_from(matmul(matrix, head_rows(rows, folding.order[h], D).contiguous()));
  }
  write(to.output.weight, folded);
  const Tensor bias = exact(from.output.bias);
  write(to.output.bias, folding.output_bias.defined() ? add(bias, folding.output_bias) : bias);
}

}  // namespace headshare
