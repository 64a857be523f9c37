#pragma once

#include "kernels/matmul.h"
#include "tensor/tensor.h"

namespace headshare {

using kernels::Activation;  // none, relu, gelu

// The last two dimensions are multiplied, those before them are the batch and must be equal, or absent in one operand,
// which then serves the whole batch. Transposed views are read in place.  a: [..., M, K]   b: [..., K, N]   [..., M, N]
Tensor matmul(const Tensor& a, const Tensor& b);
// The same; of bfloat16 factors the result may be float32, which the sums are anyway.
Tensor matmul(const Tensor& a, const Tensor& b, ElementType result);

// While one lives, this thread's products of float32 matrices on Device::cuda run on the tensor cores, which round the
// factors to tf32: ten bits of fraction instead of 23 (NVIDIA, "Accelerating AI Training with NVIDIA TF32 Tensor
// Cores"). Sums stay float32.
class Tf32Products {
 public:
  explicit Tf32Products(bool wanted);
  ~Tf32Products();
  Tf32Products(const Tf32Products&) = delete;
  Tf32Products& operator=(const Tf32Products&) = delete;

 private:
  bool before_;
};

// activation(x weight + bias) in one kernel.        x: [..., K]   weight: [K, N]   bias: [N] or undefined      [..., N]
// x and weight of one type, bias of wide(type).
struct LinearResult {
  Tensor y;
  Tensor before_activation;  // GELU only: its backward needs x weight + bias. Undefined otherwise
};
LinearResult linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation);

// A matrix that many products use, copied once into the order in which the kernel reads it.
struct PackedMatrix {
  Tensor data;
  Size k, n;  // what it was: [K, N]

  Size bytes_read(Size rows) const;  // by a product with so many rows
};
PackedMatrix pack_matrix(const Tensor& matrix);  // [K, N], transposed views too

// linear() with a packed weight, into memory that is there already.    x: [M, K] and y: [M, N], contiguous   bias: as
// above   y of the type of x, or float32 where that is bfloat16
void linear_into(const Tensor& x, const PackedMatrix& weight, const Tensor& bias, Activation activation,
                 const Tensor& y);

}  // namespace headshare
