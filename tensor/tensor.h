#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/device.h"
#include "core/element_type.h"
#include "core/error.h"
#include "tensor/shape.h"
#include "tensor/storage.h"

namespace headshare {

struct TensorOptions {
  ElementType type = ElementType::float32;
  Device device = default_device();
};

// A handle on shared memory: storage + offset + shape + strides. Copying a Tensor shares the memory; clone() copies it.
// reshape, transpose, slice and broadcast_to are views: a new shape and new strides on the same memory, at no cost.
// Element (i, j, ...) lies at offset + i * stride(0) + j * stride(1) + ...
class Tensor {
 public:
  Tensor() = default;                                 // holds nothing; defined() is false
  Tensor(const Shape& shape, TensorOptions options);  // contents undefined

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  const Shape& strides() const { return strides_; }
  int rank() const { return shape_.rank(); }
  Size extent(int dimension) const { return shape_[dimension]; }
  Size stride(int dimension) const { return strides_[dimension]; }
  Size count() const { return count_; }
  ElementType type() const { return type_; }
  Device device() const { return storage_ ? storage_->device() : Device::cpu; }
  TensorOptions options() const { return {type_, device()}; }
  Size bytes() const { return count_ * bytes_of(type_); }

  bool is_contiguous() const;
  bool shares_storage() const { return storage_.use_count() > 1; }  // another handle sees the same memory
  bool same_storage(const Tensor& other) const { return storage_ == other.storage_; }

  // First element of a contiguous tensor. Fails when T is not the element type or the tensor is a strided view.
  template <class T>
  T* data() const {
    if (!is_contiguous()) fail("tensor: a view of shape ", shape_, " with strides ", strides_, " is not contiguous");
    return strided_data<T>();
  }
  // First element, for code that follows the strides itself.
  template <class T>
  T* strided_data() const {
    check_type(element_type_of<T>);
    return reinterpret_cast<T*>(storage_->data()) + offset_;
  }

  // --- Views ---
  Tensor reshape(const Shape& shape) const;  // same elements in the same order; copies only if the strides force it
  Tensor transpose(int a, int b) const;      // exchanges two dimensions
  Tensor slice(int dimension, Size begin, Size end) const;  // positions begin .. end-1 of one dimension
  Tensor broadcast_to(const Shape& shape) const;  // repeats extents of 1 (stride 0); adds dimensions at the front
  Tensor contiguous() const;                      // itself, or a contiguous copy of a strided view

  // --- Copies ---
  Tensor clone() const;
  Tensor to(ElementType type) const;
  Tensor to(Device device) const;
  void copy_from(const Tensor& source) const;  // writes source into this tensor (a view too); shapes must be equal

  // --- Single numbers ---
  double item() const;  // of a tensor with one element
  double at(std::initializer_list<Size> position) const;
  void set(std::initializer_list<Size> position, double value) const;
  template <class T>
  std::vector<T> to_vector() const {  // all elements in order
    const Tensor whole = to(Device::cpu).contiguous();
    const T* first = whole.data<T>();
    return std::vector<T>(first, first + whole.count());
  }

 private:
  void check_type(ElementType wanted) const;
  Tensor element(const char* who, std::initializer_list<Size> position) const;

  std::shared_ptr<Storage> storage_;
  Shape shape_;
  Shape strides_;
  Size offset_ = 0;
  Size count_ = 0;
  ElementType type_ = ElementType::float32;
};

Tensor empty_like(const Tensor& x);  // same shape and type, contents undefined
Tensor zeros(const Shape& shape, TensorOptions options = {});
Tensor full(const Shape& shape, double value, TensorOptions options = {});

// from_values<float>({1, 2, 3, 4}, {2, 2})
template <class T>
Tensor from_values(std::span<const T> values, const Shape& shape, Device device = default_device()) {
  if (static_cast<Size>(values.size()) != shape.count())
    fail("tensor: ", values.size(), " values do not fill the shape ", shape);
  Tensor tensor(shape, {element_type_of<T>, Device::cpu});
  std::copy(values.begin(), values.end(), tensor.data<T>());
  return tensor.to(device);
}
template <class T>
Tensor from_values(std::initializer_list<T> values, const Shape& shape, Device device = default_device()) {
  return from_values<T>(std::span<const T>(values.begin(), values.size()), shape, device);
}
template <class T, class Allocator>
Tensor from_values(const std::vector<T, Allocator>& values, const Shape& shape, Device device = default_device()) {
  return from_values<T>(std::span<const T>(values), shape, device);
}

// Readable text of a small tensor, nested brackets; long dimensions shortened.
std::string to_string(const Tensor& x);

}  // namespace headshare
