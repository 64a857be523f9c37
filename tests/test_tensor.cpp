#include <doctest/doctest.h>

#include <cstdint>
#include <numeric>

#include "tensor/tensor.h"
#include "tests/tensor_helpers.h"

// Handles, views, copies, memory and text of tensors.

using namespace headshare;
using namespace headshare::test;

namespace {

using Values = std::vector<double>;

// 0, 1, 2, ...
Tensor counting(const Shape& shape) {
  Values values(static_cast<std::size_t>(shape.count()));
  std::iota(values.begin(), values.end(), 0.0);
  return from_values(values, shape);
}

Values values_of(const Tensor& x) { return x.to_vector<double>(); }

}  // namespace

TEST_CASE("a new tensor has the shape, type and bytes that were asked for") {
  const Tensor x({2, 3}, {ElementType::float64});
  CHECK(x.defined());
  CHECK(x.shape() == Shape{2, 3});
  CHECK(x.strides() == Shape{3, 1});
  CHECK(x.count() == 6);
  CHECK(x.bytes() == 48);
  CHECK(x.type() == ElementType::float64);
  CHECK(x.device() == default_device());
  CHECK(zeros({7}).to_vector<float>() == std::vector<float>(7, 0.0F));
  CHECK(full({2, 2}, 3, {ElementType::int32}).to_vector<std::int32_t>() == std::vector<std::int32_t>(4, 3));
  CHECK(zeros({3, 0}).to_vector<float>().empty());
  CHECK_FALSE(Tensor().defined());
}

TEST_CASE("copying shares memory and clone copies it") {
  const Tensor x = counting({3}), shared = x, copy = x.clone();
  x.set({1}, 50);
  CHECK(values_of(shared) == Values{0, 50, 2});
  CHECK(values_of(copy) == Values{0, 1, 2});
  CHECK(shared.same_storage(x));
  CHECK_FALSE(copy.same_storage(x));
  CHECK(x.shares_storage());
  CHECK_FALSE(copy.shares_storage());
}

TEST_CASE("reshape shares the memory of a contiguous tensor and copies a strided one") {
  const Tensor x = counting({2, 6});
  CHECK(x.reshape({3, 4}).same_storage(x));
  CHECK(x.reshape({3, 4}).at({1, 2}) == 6);
  CHECK(x.slice(0, 1, 2).reshape({6}).same_storage(x));
  CHECK(values_of(x.slice(0, 1, 2).reshape({2, 3})) == Values{6, 7, 8, 9, 10, 11});
  const Tensor y = x.transpose(0, 1).reshape({12});
  CHECK_FALSE(y.same_storage(x));
  CHECK(values_of(y) == Values{0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11});
  CHECK(counting({1}).reshape({}).item() == 0);
  CHECK_THROWS_WITH_AS(x.reshape({5}), "reshape: [2, 6] has 12 elements, [5] has 5", Error);
}

TEST_CASE("transpose exchanges two dimensions in place") {
  const Tensor x = counting({2, 3, 5}), y = x.transpose(0, -1);
  CHECK(y.shape() == Shape{5, 3, 2});
  CHECK(y.strides() == Shape{1, 5, 15});
  CHECK(y.same_storage(x));
  CHECK_FALSE(y.is_contiguous());
  for (Size i = 0; i < 2; ++i)
    for (Size j = 0; j < 3; ++j)
      for (Size k = 0; k < 5; ++k) CHECK(y.at({k, j, i}) == x.at({i, j, k}));
  CHECK(x.transpose(1, 1).is_contiguous());
  CHECK(counting({7, 1}).transpose(0, 1).is_contiguous());  // the order of one row is that of one column
  CHECK_THROWS_WITH_AS(x.transpose(0, 3), "shape: [2, 3, 5] has no dimension 3", Error);
}

TEST_CASE("slice is a window on the same memory, and windows nest") {
  const Tensor x = counting({4, 5}), y = x.slice(0, 1, 4).slice(-1, 2, 4);
  CHECK(y.shape() == Shape{3, 2});
  CHECK(values_of(y) == Values{7, 8, 12, 13, 17, 18});
  CHECK(y.same_storage(x));
  y.copy_from(zeros({3, 2}, float64));
  CHECK(values_of(x) == Values{0, 1, 2, 3, 4, 5, 6, 0, 0, 9, 10, 11, 0, 0, 14, 15, 16, 0, 0, 19});
  CHECK(x.slice(0, 2, 2).shape() == Shape{0, 5});
  CHECK(values_of(x.slice(0, 4, 4)).empty());
  CHECK_THROWS_WITH_AS(x.slice(1, 3, 6), "slice: positions 3 to 6 of dimension 1 do not lie in [4, 5]", Error);
  CHECK_THROWS_WITH_AS(x.slice(1, -1, 2), "slice: positions -1 to 2 of dimension 1 do not lie in [4, 5]", Error);
  CHECK_THROWS_WITH_AS(x.slice(0, 3, 2), "slice: positions 3 to 2 of dimension 0 do not lie in [4, 5]", Error);
}

TEST_CASE("broadcast_to repeats without copying") {
  const Tensor x = counting({3, 1}), y = x.broadcast_to({2, 3, 2});
  CHECK(y.shape() == Shape{2, 3, 2});
  CHECK(y.strides() == Shape{0, 1, 0});
  CHECK(y.same_storage(x));
  CHECK(values_of(y) == Values{0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2});
  CHECK(values_of(full({}, 7, float64).broadcast_to({3})) == Values{7, 7, 7});
  CHECK(x.broadcast_to({3, 1}).is_contiguous());
  CHECK(x.broadcast_to({3, 0}).count() == 0);
  CHECK_THROWS_WITH_AS(x.broadcast_to({2, 1}), "broadcast_to: [3, 1] does not broadcast to [2, 1]", Error);
  CHECK_THROWS_WITH_AS(x.broadcast_to({3}), "broadcast_to: [3, 1] has more dimensions than [3]", Error);
}

TEST_CASE("a copy of any view holds the same elements in order") {
  const Tensor x = random_tensor({3, 7, 5}, 1);
  const Tensor views[] = {x.transpose(0, 2),
                          x.transpose(0, 1).slice(0, 2, 6),
                          x.slice(1, 3, 4),
                          x.slice(2, 1, 4).transpose(1, 2),
                          x.slice(0, 1, 2).broadcast_to({3, 7, 5}),
                          x.slice(2, 0, 1).broadcast_to({3, 7, 5}).transpose(0, 1)};
  for (const Tensor& view : views) {
    const Tensor copies[] = {view.clone(), view.contiguous(), view.to(ElementType::float64).clone()};
    for (const Tensor& copy : copies) {
      CHECK(copy.is_contiguous());
      bool same = true;
      for (Size i = 0; i < view.extent(0); ++i)
        for (Size j = 0; j < view.extent(1); ++j)
          for (Size k = 0; k < view.extent(2); ++k) same = same && copy.at({i, j, k}) == view.at({i, j, k});
      CHECK(same);
    }
  }
  CHECK(x.contiguous().same_storage(x));
}

TEST_CASE("copy_from writes through views, and reads views") {
  const Tensor x = zeros({3, 4}, float64), y = counting({2, 3});
  x.transpose(0, 1).slice(0, 1, 3).copy_from(y);
  CHECK(values_of(x) == Values{0, 0, 3, 0, 0, 1, 4, 0, 0, 2, 5, 0});
  x.slice(1, 0, 2).copy_from(y.transpose(0, 1));
  CHECK(values_of(x) == Values{0, 3, 3, 0, 1, 4, 4, 0, 2, 5, 5, 0});
  x.slice(0, 0, 2).copy_from(full({}, 9, float64).broadcast_to({2, 4}));
  CHECK(values_of(x) == Values{9, 9, 9, 9, 9, 9, 9, 9, 2, 5, 5, 0});
  CHECK_THROWS_WITH_AS(x.copy_from(y), "copy_from: the source has shape [2, 3], needed [3, 4]", Error);
  CHECK_THROWS_WITH_AS(x.copy_from(zeros({3, 4})), "copy_from: element types differ: float64 and float32", Error);
}

TEST_CASE("copy_from within one tensor reads everything before it writes") {
  const Tensor square = counting({3, 3});
  square.copy_from(square.transpose(0, 1));
  CHECK(values_of(square) == Values{0, 3, 6, 1, 4, 7, 2, 5, 8});
  for (const bool forward : {true, false}) {  // as moving a window of a cache does
    const Size n = 1'000'000;                 // enough for several threads
    const Tensor x = counting({n});
    const Tensor low = x.slice(0, 0, n - 1), high = x.slice(0, 1, n);
    forward ? high.copy_from(low) : low.copy_from(high);
    const Values moved = values_of(forward ? high : low);
    bool shifted = true;
    for (Size i = 0; i < n - 1; ++i)
      shifted = shifted && moved[static_cast<std::size_t>(i)] == static_cast<double>(forward ? i : i + 1);
    CHECK(shifted);
  }
}

TEST_CASE("copy_from refuses to write several elements to one place") {
  const Tensor x = zeros({3, 1}, float64);
  CHECK_THROWS_WITH_AS(
      x.broadcast_to({3, 5}).copy_from(counting({3, 5})),
      "copy_from: a view of shape [3, 5] with strides [1, 0] repeats its elements and cannot be written", Error);
  CHECK(values_of(x) == Values{0, 0, 0});
}

TEST_CASE("elements are converted between all types") {
  const Tensor x = from_values<double>({-2.75, 0, 2.5}, {3});
  CHECK(x.to(ElementType::float32).to_vector<float>() == std::vector<float>{-2.75F, 0, 2.5F});
  CHECK(x.to(ElementType::int32).to_vector<std::int32_t>() == std::vector<std::int32_t>{-2, 0, 2});
  CHECK(from_values<std::int32_t>({-3, 7}, {2}).to(ElementType::float64).to_vector<double>() == Values{-3, 7});
  CHECK(counting({2, 3}).transpose(0, 1).to(ElementType::float32).to_vector<float>() ==
        std::vector<float>{0, 3, 1, 4, 2, 5});
  CHECK(x.to(ElementType::float64).same_storage(x));
}

TEST_CASE("reading elements as another type, or a strided view as an array, is refused") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH_AS(x.data<double>(), "tensor: holds float32, asked for float64", Error);
  CHECK_THROWS_WITH_AS(x.data<std::int32_t>(), "tensor: holds float32, asked for int32", Error);
  CHECK_THROWS_WITH_AS(x.to_vector<double>(), "tensor: holds float32, asked for float64", Error);
  CHECK_THROWS_WITH_AS(x.transpose(0, 1).data<float>(),
                       "tensor: a view of shape [3, 2] with strides [1, 3] is not contiguous", Error);
  CHECK_THROWS_WITH_AS(Tensor().data<float>(), "tensor: it holds nothing yet", Error);
}

TEST_CASE("single elements are read by position") {
  const Tensor x = counting({2, 3});
  CHECK(x.at({1, 2}) == 5);
  CHECK(x.transpose(0, 1).at({2, 1}) == 5);
  CHECK(full({1, 1}, 4, {ElementType::int32}).item() == 4);
  CHECK_THROWS_WITH_AS(x.item(), "item: the tensor of shape [2, 3] has 6 elements, needed one", Error);
  CHECK_THROWS_WITH_AS(x.at({1}), "at: 1 indices for a tensor of shape [2, 3]", Error);
  CHECK_THROWS_AS(x.at({2, 0}), Error);
  CHECK_THROWS_AS(x.at({0, -1}), Error);
}

TEST_CASE("values that do not fill the shape are refused") {
  CHECK_THROWS_WITH_AS(from_values<float>({1, 2, 3}, {2, 2}), "tensor: 3 values do not fill the shape [2, 2]", Error);
}

TEST_CASE("memory starts at cache lines") {
  for (const Size n : {1, 7, 33, 1000, 100'003})
    CHECK(reinterpret_cast<std::uintptr_t>(zeros({n}).data<float>()) % 64 == 0);
}

TEST_CASE("a second tensor of the same or a slightly smaller size reuses the first one's memory") {
  release_cached_memory(default_device());
  { const Tensor first({1000, 100}, float64); }
  const MemoryStatistics before = memory_statistics(default_device());
  CHECK(before.bytes_cached >= 800'000);
  {
    const Tensor second({1000, 100}, float64);
    const MemoryStatistics during = memory_statistics(default_device());
    CHECK(during.system_allocations == before.system_allocations);
    CHECK(during.bytes_cached == before.bytes_cached - (during.bytes_in_use - before.bytes_in_use));
    CHECK(during.bytes_in_use - before.bytes_in_use >= 800'000);
    CHECK(during.bytes_in_use - before.bytes_in_use <= 1'000'000);  // at most a quarter more
    const Tensor third({1000, 100}, float64);                       // while the second lives: new memory
    CHECK(memory_statistics(default_device()).system_allocations == before.system_allocations + 1);
  }
  { const Tensor smaller({99'900}, float64); }
  CHECK(memory_statistics(default_device()).system_allocations == before.system_allocations + 1);
  release_cached_memory(default_device());
  CHECK(memory_statistics(default_device()).bytes_cached == 0);
  CHECK(memory_statistics(default_device()).bytes_in_use == before.bytes_in_use);
}

TEST_CASE("the peak of memory is kept until it is reset, and views cost nothing") {
  reset_peak_memory(default_device());
  const Size start = memory_statistics(default_device()).peak_bytes_in_use;
  CHECK(start == memory_statistics(default_device()).bytes_in_use);
  {
    const Tensor x({1 << 20}, float64);
    const Tensor view = x.reshape({1 << 10, 1 << 10}).transpose(0, 1).slice(0, 1, 5),
                 wide = view.broadcast_to({9, 4, 1 << 10});
    CHECK(memory_statistics(default_device()).bytes_in_use == start + (8 << 20));
  }
  CHECK(memory_statistics(default_device()).bytes_in_use == start);
  CHECK(memory_statistics(default_device()).peak_bytes_in_use == start + (8 << 20));
  reset_peak_memory(default_device());
  CHECK(memory_statistics(default_device()).peak_bytes_in_use == start);
}

TEST_CASE("small tensors read as nested lists, long dimensions are shortened") {
  CHECK(to_string(full({}, 2.5)) == "2.5");
  CHECK(to_string(from_values<float>({1, -0.5, 3}, {3})) == "[1, -0.5, 3]");
  CHECK(to_string(counting({2, 3})) == "[[0, 1, 2],\n [3, 4, 5]]");
  CHECK(to_string(counting({2, 3}).transpose(0, 1)) == "[[0, 3],\n [1, 4],\n [2, 5]]");
  CHECK(to_string(counting({2, 2, 1})) == "[[[0],\n  [1]],\n [[2],\n  [3]]]");
  CHECK(to_string(counting({10})) == "[0, 1, 2, 3, 4, 5, 6, 7, ... 2 more]");
  CHECK(to_string(from_values<std::int32_t>({7, -1}, {2})) == "[7, -1]");
  CHECK(to_string(zeros({0})) == "[]");
  CHECK(to_string(Tensor()) == "(nothing)");
}
