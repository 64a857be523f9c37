#pragma once

#include "kernels/cpu.h"
#include "kernels/device_memory.h"
#include "kernels/wide.h"
#include "tensor/profile.h"
#include "tensor/tensor.h"

namespace headshare {

// From a tensor's device and element type, which are known at run time, to the kernel instance, which is chosen at
// compile time: calls body(device_tag, T{}) once.
//   dispatch_floating("softmax", x, [&](auto device, auto zero) {
//     using T = decltype(zero);
//     kernels::softmax(device, rows, n, x.data<T>(), y.data<T>());
//   });
template <class Body>
void dispatch_device(const char* who, const Tensor& x, const Body& body) {
  const OperationTimer timer(who, x.device());
  if (x.device() == Device::cpu)
    body(kernels::Cpu{});
  else
    body(kernels::cuda());
}

template <class Body>
void dispatch_floating(const char* who, const Tensor& x, const Body& body) {
  dispatch_device(who, x, [&](auto device) {
    if (x.type() == ElementType::float32)
      body(device, float{});
    else if (x.type() == ElementType::float64)
      body(device, double{});
    else
      fail(who, ": needs float32 or float64, not ", name(x.type()));
  });
}

// The same for the operations that a model trained in bfloat16 needs: on Device::cuda T may be BFloat16 too.
template <class Body>
void dispatch_with_bfloat16(const char* who, const Tensor& x, const Body& body) {
  if (x.type() != ElementType::bfloat16) return dispatch_floating(who, x, body);
  if (x.device() == Device::cpu) fail(who, ": only device cuda computes in bfloat16; the processor stores it at most");
  const OperationTimer timer(who, x.device());
  body(kernels::cuda(), BFloat16{});
}

template <class Body>
void dispatch_any(const char* who, const Tensor& x, const Body& body) {
  if (x.type() == ElementType::int32)
    dispatch_device(who, x, [&](auto device) { body(device, std::int32_t{}); });
  else if (x.type() == ElementType::bfloat16)
    dispatch_device(who, x, [&](auto device) { body(device, BFloat16{}); });
  else
    dispatch_floating(who, x, body);
}

// Fails unless both live on one device and hold one element type.
inline void check_alike(const char* who, const Tensor& a, const Tensor& b) {
  if (a.type() != b.type()) fail(who, ": element types differ: ", name(a.type()), " and ", name(b.type()));
  if (a.device() != b.device()) fail(who, ": devices differ: ", name(a.device()), " and ", name(b.device()));
}

// Fails unless `what`, tokens or lengths, lives where the numbers do.
inline void check_device(const char* who, const char* what, const Tensor& x, Device device) {
  if (x.device() != device) fail(who, ": ", what, " on device ", name(x.device()), ", needed on ", name(device));
}

// Fails unless x has exactly this shape.
inline void check_shape(const char* who, const char* what, const Tensor& x, const Shape& wanted) {
  if (!(x.shape() == wanted)) fail(who, ": ", what, " has shape ", x.shape(), ", needed ", wanted);
}

}  // namespace headshare
