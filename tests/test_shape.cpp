#include <doctest/doctest.h>

#include <sstream>

#include "core/error.h"
#include "tensor/shape.h"

using namespace headshare;

TEST_CASE("a shape knows its rank, its extents from both ends, and the product of them") {
  const Shape shape = {2, 3, 5};
  CHECK(shape.rank() == 3);
  CHECK(shape.count() == 30);
  CHECK(shape[0] == 2);
  CHECK(shape[2] == 5);
  CHECK(shape[-1] == 5);
  CHECK(shape[-3] == 2);
  CHECK(shape.index(-2) == 1);
  CHECK(Shape{}.rank() == 0);
  CHECK(Shape{}.count() == 1);
  CHECK(Shape{3, 0, 5}.count() == 0);
}

TEST_CASE("a dimension that a shape does not have is refused") {
  const Shape shape = {2, 3};
  CHECK_THROWS_WITH_AS(shape[2], "shape: [2, 3] has no dimension 2", Error);
  CHECK_THROWS_WITH_AS(shape[-3], "shape: [2, 3] has no dimension -3", Error);
  CHECK_THROWS_WITH_AS(shape.without(5), "shape: [2, 3] has no dimension 5", Error);
  CHECK_THROWS_WITH_AS(Shape{}[0], "shape: [] has no dimension 0", Error);
}

TEST_CASE("negative extents, too many dimensions and too many elements are refused") {
  CHECK_THROWS_WITH_AS((Shape{2, -1}), "shape: an extent of -1 is negative", Error);
  CHECK_THROWS_WITH_AS((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), "shape: more than 8 dimensions", Error);
  const Size large = Size{1} << 31;
  CHECK_THROWS_WITH_AS((Shape{large, large}).count(), "shape: [2147483648, 2147483648] has too many elements", Error);
  CHECK((Shape{large, 1 << 20}).count() == Size{1} << 51);
}

TEST_CASE("shapes are equal when rank and extents are") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK_FALSE(Shape{2, 3} == Shape{3, 2});
  CHECK_FALSE(Shape{2} == Shape{2, 1});
  CHECK_FALSE(Shape{} == Shape{1});
  const Size extents[] = {2, 3};
  CHECK(Shape(extents) == Shape{2, 3});
}

TEST_CASE("appending, removing and changing a dimension") {
  Shape shape = {2, 3};
  shape.append(5);
  CHECK(shape == Shape{2, 3, 5});
  CHECK(shape.without(1) == Shape{2, 5});
  CHECK(shape.without(-1) == Shape{2, 3});
  CHECK(shape.without(0) == Shape{3, 5});
  shape[-1] = 7;
  CHECK(shape == Shape{2, 3, 7});
}

TEST_CASE("a shape reads as a list") {
  CHECK(to_string(Shape{2, 3}) == "[2, 3]");
  CHECK(to_string(Shape{}) == "[]");
  std::ostringstream out;
  out << Shape{7};
  CHECK(out.str() == "[7]");
}

TEST_CASE("contiguous strides are products of the later extents") {
  CHECK(contiguous_strides({2, 3, 5}) == Shape{15, 5, 1});
  CHECK(contiguous_strides({7}) == Shape{1});
  CHECK(contiguous_strides({}) == Shape{});
}

TEST_CASE("broadcasting aligns at the right, repeats extents of 1, and gives the same from both sides") {
  struct Case {
    Shape a, b, result;
  };
  for (const Case& c : {Case{{3}, {3}, {3}},
                        {{2, 3}, {3}, {2, 3}},
                        {{2, 1}, {1, 3}, {2, 3}},
                        {{4, 1, 5}, {3, 1}, {4, 3, 5}},
                        {{}, {2, 3}, {2, 3}},
                        {{1}, {0}, {0}},
                        {{}, {}, {}}}) {
    CHECK(broadcast_shape(c.a, c.b, "add") == c.result);
    CHECK(broadcast_shape(c.b, c.a, "add") == c.result);
  }
}

TEST_CASE("shapes that do not broadcast are refused in the name of the operation") {
  CHECK_THROWS_WITH_AS(broadcast_shape({2, 3}, {2}, "add"),
                       "add: shapes [2, 3] and [2] do not fit: an extent must be equal or 1", Error);
  CHECK_THROWS_WITH_AS(broadcast_shape({0}, {3}, "multiply"),
                       "multiply: shapes [0] and [3] do not fit: an extent must be equal or 1", Error);
}
