#pragma once

#include <cmath>

// One function of one or two numbers per object, for `map` in elementwise.h. A type instead of a function pointer, so
// that the loop around it is compiled with the function inside. `constexpr` lets CUDA kernels call the same source.
// NaN in gives NaN out, everywhere.
namespace headshare::kernels {

// ---- One operand ----------------------------------------------------------------------------------------------------

struct Negate {
  template <class T>
  constexpr T operator()(T x) const {
    return -x;
  }
};

struct Exp {
  template <class T>
  constexpr T operator()(T x) const {
    return std::exp(x);
  }
};

struct Log {
  template <class T>
  constexpr T operator()(T x) const {
    return std::log(x);
  }
};

struct Sqrt {
  template <class T>
  constexpr T operator()(T x) const {
    return std::sqrt(x);
  }
};

struct Square {
  template <class T>
  constexpr T operator()(T x) const {
    return x * x;
  }
};

struct Reciprocal {
  template <class T>
  constexpr T operator()(T x) const {
    return T(1) / x;
  }
};

struct Tanh {
  template <class T>
  constexpr T operator()(T x) const {
    return std::tanh(x);
  }
};

struct Sigmoid {
  template <class T>
  constexpr T operator()(T x) const {
    return T(1) / (T(1) + std::exp(-x));
  }
};

struct Relu {
  template <class T>
  constexpr T operator()(T x) const {
    return x < T(0) ? T(0) : x;
  }  // in this order NaN stays NaN
};

// x times the probability that a standard normal number is below x. Hendrycks and Gimpel 2016; the exact form, not the
// one with tanh. erfc(-x) = 1 + erf(x), without the cancellation where x is far below 0.
struct Gelu {
  template <class T>
  constexpr T operator()(T x) const {
    return T(0.5) * x * std::erfc(x * T(-0.70710678118654752440));
  }
};

// ---- Two operands ---------------------------------------------------------------------------------------------------

struct Add {
  template <class T>
  constexpr T operator()(T a, T b) const {
    return a + b;
  }
};

struct Subtract {
  template <class T>
  constexpr T operator()(T a, T b) const {
    return a - b;
  }
};

struct Multiply {
  template <class T>
  constexpr T operator()(T a, T b) const {
    return a * b;
  }
};

struct Divide {
  template <class T>
  constexpr T operator()(T a, T b) const {
    return a / b;
  }
};

// ---- Backward: the gradient of the operand from what the forward kept and the gradient dy of its result -------------

// y = relu(x) is 0 exactly where x is not above 0, so the result is enough.
struct ReluBackward {
  template <class T>
  constexpr T operator()(T y, T dy) const {
    return y <= T(0) ? T(0) : dy;
  }
};

// d/dx [x Phi(x)] = Phi(x) + x phi(x), Phi the standard normal distribution and phi its density.
struct GeluBackward {
  template <class T>
  constexpr T operator()(T x, T dy) const {
    const T distribution = T(0.5) * std::erfc(x * T(-0.70710678118654752440));
    const T density = T(0.39894228040143267794) * std::exp(T(-0.5) * x * x);
    return dy * (distribution + x * density);
  }
};

// tanh' = 1 - tanh^2
struct TanhBackward {
  template <class T>
  constexpr T operator()(T y, T dy) const {
    return dy * (T(1) - y * y);
  }
};

// sigmoid' = sigmoid (1 - sigmoid)
struct SigmoidBackward {
  template <class T>
  constexpr T operator()(T y, T dy) const {
    return dy * y * (T(1) - y);
  }
};

}  // namespace headshare::kernels
