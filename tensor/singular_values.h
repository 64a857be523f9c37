#pragma once

#include "tensor/tensor.h"

namespace headshare {

// A = U diag(values) V^T: directions V in which a matrix stretches, and by how much. Small dense matrices of the
// processor; a float64 matrix of 256 x 256 takes a fraction of a second.
struct SingularValues {
  Tensor u;       // [m, k], orthonormal columns                                                          k = min(m, n)
  Tensor values;  // [k], descending, not negative
  Tensor v;       // [n, k], orthonormal columns
};

// Rotations of pairs of columns until all are orthogonal (Jacobi's method from one side, Hestenes 1958): every singular
// value, also a small one, to nearly all digits. a: float64 [m, n]. Fails on numbers that are not finite.
SingularValues singular_values(const Tensor& a);

// The orthogonal matrix R nearest to `a` [n, n]: of all rotations and reflections the one with the largest trace of
// R^T a. With a = X^T Y it turns X onto Y as well as can be (orthogonal Procrustes, Schönemann 1966).
Tensor nearest_orthogonal(const Tensor& a);

}  // namespace headshare
