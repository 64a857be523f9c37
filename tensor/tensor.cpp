#include "tensor/tensor.h"

#include "kernels/copy.h"
#include "tensor/dispatch.h"

namespace headshare {

Tensor::Tensor(const Shape& shape, TensorOptions options)
    : storage_(std::make_shared<Storage>(shape.count() * bytes_of(options.type), options.device)),
      shape_(shape),
      strides_(contiguous_strides(shape)),
      count_(shape.count()),
      type_(options.type) {}

void Tensor::check_type(ElementType wanted) const {
  if (!defined()) fail("tensor: it holds nothing yet");
  if (type_ != wanted) fail("tensor: holds ", name(type_), ", asked for ", name(wanted));
}

bool Tensor::is_contiguous() const {
  Size expected = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != expected) return count_ == 0;
    expected *= shape_[i];
  }
  return true;
}

// --- Views ---

Tensor Tensor::reshape(const Shape& shape) const {
  if (shape.count() != count_) fail("reshape: ", shape_, " has ", count_, " elements, ", shape, " has ", shape.count());
  Tensor view = contiguous();
  view.shape_ = shape;
  view.strides_ = contiguous_strides(shape);
  return view;
}

Tensor Tensor::transpose(int a, int b) const {
  Tensor view = *this;
  std::swap(view.shape_[a], view.shape_[b]);
  std::swap(view.strides_[a], view.strides_[b]);
  return view;
}

Tensor Tensor::slice(int dimension, Size begin, Size end) const {
  if (begin < 0 || begin > end || end > shape_[dimension])
    fail("slice: positions ", begin, " to ", end, " of dimension ", dimension, " do not lie in ", shape_);
  Tensor view = *this;
  view.offset_ += begin * strides_[dimension];
  view.shape_[dimension] = end - begin;
  view.count_ = view.shape_.count();
  return view;
}

Tensor Tensor::broadcast_to(const Shape& shape) const {
  const int added = shape.rank() - rank();
  if (added < 0) fail("broadcast_to: ", shape_, " has more dimensions than ", shape);
  Tensor view = *this;
  view.shape_ = shape;
  view.strides_ = shape;
  view.count_ = shape.count();
  for (int i = 0; i < shape.rank(); ++i) {
    const bool repeats = i < added || (shape_[i - added] == 1 && shape[i] != 1);
    if (!repeats && shape_[i - added] != shape[i]) fail("broadcast_to: ", shape_, " does not broadcast to ", shape);
    view.strides_[i] = repeats ? 0 : strides_[i - added];
  }
  return view;
}

Tensor Tensor::contiguous() const { return is_contiguous() ? *this : clone(); }

// --- Copies ---

Tensor Tensor::clone() const {
  Tensor copy(shape_, options());
  note_work(0, 2 * bytes());
  dispatch_any("clone", *this, [&](auto device, auto zero) {
    using T = decltype(zero);
    const kernels::StridedSizes sizes{rank(), shape_.array(), strides_.array()};
    kernels::copy_strided(device, sizes, strided_data<T>(), copy.data<T>());
  });
  return copy;
}

void Tensor::copy_from(const Tensor& source) const {
  check_shape("copy_from", "the source", source, shape_);
  check_alike("copy_from", *this, source);
  for (int i = 0; i < rank(); ++i)
    if (strides_[i] == 0 && shape_[i] > 1)
      fail("copy_from: a view of shape ", shape_, " with strides ", strides_,
           " repeats its elements and cannot be written");
  // Where both see one storage, writing could change what is still to be read.
  const Tensor from = same_storage(source) ? source.clone() : source.contiguous();
  note_work(0, 2 * bytes());
  dispatch_any("copy_from", *this, [&](auto device, auto zero) {
    using T = decltype(zero);
    const kernels::StridedSizes sizes{rank(), shape_.array(), strides_.array()};
    kernels::scatter_strided(device, sizes, from.data<T>(), strided_data<T>());
  });
}

Tensor Tensor::to(ElementType type) const {
  if (type == type_) return *this;
  // A transposed matrix stays one: neither the copy nor who reads the result need move its elements around.
  if (rank() == 2 && !is_contiguous() && transpose(0, 1).is_contiguous())
    return transpose(0, 1).to(type).transpose(0, 1);
  const Tensor from = contiguous();
  Tensor result(shape_, {type, device()});
  dispatch_any("convert", from, [&](auto device, auto zero) {
    using From = decltype(zero);
    dispatch_any("convert", result, [&](auto, auto other) {
      using To = decltype(other);
      if constexpr (!std::is_same_v<From, To>) kernels::convert(device, count_, from.data<From>(), result.data<To>());
    });
  });
  return result;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  const Tensor from = contiguous();
  Tensor result(shape_, {type_, device});
  dispatch_any("copy", from, [&](auto, auto zero) {
    using T = decltype(zero);
    if (device == Device::cpu)
      kernels::copy_to_host(kernels::cuda(), from.data<T>(), result.data<T>(), bytes());
    else
      kernels::copy_to_device(kernels::cuda(), from.data<T>(), result.data<T>(), bytes());
  });
  return result;
}

// --- Single numbers ---

double Tensor::item() const {
  if (count_ != 1) fail("item: the tensor of shape ", shape_, " has ", count_, " elements, needed one");
  return to(Device::cpu).to(ElementType::float64).to_vector<double>()[0];
}

Tensor Tensor::element(const char* who, std::initializer_list<Size> position) const {
  if (static_cast<int>(position.size()) != rank())
    fail(who, ": ", position.size(), " indices for a tensor of shape ", shape_);
  Tensor element = *this;
  int dimension = 0;
  for (const Size index : position) {
    element = element.slice(dimension, index, index + 1);
    ++dimension;
  }
  return element;
}

double Tensor::at(std::initializer_list<Size> position) const { return element("at", position).item(); }

void Tensor::set(std::initializer_list<Size> position, double value) const {
  const Tensor one = element("set", position);
  one.copy_from(full(one.shape(), value, options()));
}

Tensor empty_like(const Tensor& x) { return Tensor(x.shape(), x.options()); }
Tensor zeros(const Shape& shape, TensorOptions options) { return full(shape, 0, options); }

Tensor full(const Shape& shape, double value, TensorOptions options) {
  Tensor result(shape, options);
  note_work(0, result.bytes());
  dispatch_any("full", result, [&](auto device, auto zero) {
    using T = decltype(zero);
    kernels::fill(device, result.count(), static_cast<T>(value), result.data<T>());
  });
  return result;
}

namespace {

constexpr Size shown_at_most = 8;  // elements of one dimension

void print(std::ostream& out, const Tensor& x, int indent) {
  if (x.rank() == 0) {
    out << x.item();
    return;
  }
  out << '[';
  const Size shown = std::min(x.extent(0), shown_at_most);
  for (Size i = 0; i < shown; ++i) {
    if (i > 0) out << (x.rank() == 1 ? ", " : ",\n" + std::string(static_cast<std::size_t>(indent) + 1, ' '));
    print(out, x.slice(0, i, i + 1).reshape(x.shape().without(0)), indent + 1);
  }
  if (shown < x.extent(0)) out << ", ... " << x.extent(0) - shown << " more";
  out << ']';
}

}  // namespace

std::string to_string(const Tensor& x) {
  if (!x.defined()) return "(nothing)";
  std::ostringstream out;
  print(out, x, 0);
  return std::move(out).str();
}

}  // namespace headshare
