#include "lesson.h"
#include "tutorials/support/check.h"

namespace headshare::lesson {
namespace {

std::shared_ptr<std::vector<float>> random_numbers(Size count, std::uint64_t seed) {
  return std::make_shared<std::vector<float>>(random_tensor({count}, seed).to_vector<float>());
}

// A view that no shape alone explains: it starts late, and its strides leave gaps.          [3, 5], strides [2, 7]
View odd_view(std::uint64_t seed) { return {random_numbers(50, seed), {3, 5}, {2, 7}, 4}; }

// Its elements, one formula at a time.
float odd_element(const View& x, Size i, Size j) { return (*x.storage)[4 + 2 * i + 7 * j]; }

void check_same_memory(const View& view, const View& x, const std::string& what) {
  check_equal(view.storage == x.storage ? "the storage of x" : "another storage", "the storage of x", what + " sees");
}

}  // namespace

TEST_CASE("1.1 the last index runs fastest") {
  check_equal(row_major_strides({2, 3, 4}), {12, 4, 1}, "strides of [2, 3, 4]");
  check_equal(row_major_strides({7, 33}), {33, 1}, "strides of [7, 33]");
  check_equal(row_major_strides({5}), {1}, "strides of [5]");
  check_equal(row_major_strides({6, 1, 2, 5}), {10, 10, 5, 1}, "strides of [6, 1, 2, 5]");
  check_equal(row_major_strides({}), {}, "strides of a single number, shape []");
}

TEST_CASE("1.1 an element lives at the offset plus one stride for each step") {
  const View x = odd_view(1);
  check_equal(position_of(x, {0, 0}), 4, "offset 4, strides [2, 7], place of (0, 0)");
  check_equal(position_of(x, {1, 0}), 6, "offset 4, strides [2, 7], place of (1, 0)");
  check_equal(position_of(x, {2, 3}), 29, "offset 4, strides [2, 7], place of (2, 3)");
  const View three{nullptr, {2, 3, 4}, {12, 4, 1}, 0};
  check_equal(position_of(three, {1, 2, 3}), 23, "shape [2, 3, 4], place of (1, 2, 3)");
  const View single{nullptr, {}, {}, 9};
  check_equal(position_of(single, {}), 9, "a single number at offset 9, its place");
}

TEST_CASE("1.1 an index outside is refused") {
  const View x = odd_view(2);
  check_equal(position_of(x, {2, 4}), 36, "the place of the last element, (2, 4)");
  check_fails([&] { position_of(x, {0, 5}); }, "index 5 of dimension 1 does not lie in [3, 5]", "(0, 5) of [3, 5]");
  check_fails([&] { position_of(x, {3, 0}); }, "index 3 of dimension 0 does not lie in [3, 5]", "(3, 0) of [3, 5]");
  check_fails([&] { position_of(x, {0, -1}); }, "index -1 of dimension 1", "(0, -1) of [3, 5]");
  check_fails([&] { position_of(x, {1}); }, "1 indices for a view of shape [3, 5]", "one index for two dimensions");
  check_fails([&] { position_of(x, {1, 1, 0}); }, "3 indices", "three indices for two dimensions");
}

TEST_CASE("1.2 a transpose exchanges shape and strides and copies nothing") {
  const View x = odd_view(3), turned = transpose(x, 0, 1);
  check_equal(turned.shape, {5, 3}, "shape of the transpose of [3, 5]");
  for (Size i = 0; i < 3; ++i)
    for (Size j = 0; j < 5; ++j)
      check_close(at(turned, {j, i}), odd_element(x, i, j), text("transpose(x) at (", j, ", ", i, ')'));
  check_same_memory(turned, x, "a transpose");
  check_equal(x.shape, {3, 5}, "shape of x afterwards");

  const View three = make_view({2, 3, 4}, *random_numbers(24, 4));
  check_equal(transpose(three, 0, 2).strides, {1, 4, 12}, "strides of [2, 3, 4] after transpose(x, 0, 2)");
  check_equal(transpose(three, -1, 1).strides, {12, 1, 4}, "strides of [2, 3, 4] after transpose(x, -1, 1)");
}

TEST_CASE("1.2 a slice starts later, and a slice of a slice later still") {
  const View x = odd_view(5), part = slice(x, 1, 2, 5), smaller = slice(slice(part, 1, 1, 3), 0, 1, 2);
  check_equal(part.shape, {3, 3}, "shape of slice(x, 1, 2, 5)");
  check_equal(smaller.shape, {1, 2}, "shape of slice(slice(slice(x, 1, 2, 5), 1, 1, 3), 0, 1, 2)");
  for (Size i = 0; i < 3; ++i)
    for (Size j = 0; j < 3; ++j)
      check_close(at(part, {i, j}), odd_element(x, i, j + 2), text("slice(x, 1, 2, 5) at (", i, ", ", j, ')'));
  check_close(at(smaller, {0, 1}), odd_element(x, 1, 4), "slice(slice(slice(x, 1, 2, 5), 1, 1, 3), 0, 1, 2) at (0, 1)");
  check_same_memory(part, x, "a slice");
  check_equal(slice(x, -1, 0, 1).shape, {3, 1}, "shape of slice(x, -1, 0, 1)");
}

TEST_CASE("1.2 a slice may be empty but not lie outside") {
  const View x = odd_view(6);
  check_equal(slice(x, 1, 5, 5).shape, {3, 0}, "shape of slice(x, 1, 5, 5)");
  check_fails([&] { slice(x, 1, 2, 6); }, "positions 2 to 6 of dimension 1 do not lie in [3, 5]", "positions 2 to 6");
  check_fails([&] { slice(x, 1, 3, 2); }, "positions 3 to 2 of dimension 1", "positions 3 to 2");
  check_fails([&] { slice(x, 0, -1, 2); }, "positions -1 to 2 of dimension 0", "positions -1 to 2");
}

TEST_CASE("1.2 a diagonal is a view too") {
  const View x = odd_view(7), across = diagonal(x);
  check_equal(across.shape, {3}, "shape of the diagonal of [3, 5]");
  for (Size i = 0; i < 3; ++i) check_close(at(across, {i}), odd_element(x, i, i), text("diagonal(x) at (", i, ')'));
  check_same_memory(across, x, "a diagonal");
  at(across, {2}) = 42;
  check_close(odd_element(x, 2, 2), 42, "x at (2, 2) after its diagonal was written");
  const View high{random_numbers(12, 8), {4, 3}, {3, 1}, 0};
  check_equal(diagonal(high).shape, {3}, "shape of the diagonal of [4, 3]");
  check_fails(
      [&] {
        diagonal(View{x.storage, {2, 3, 4}, {12, 4, 1}, 0});
      },
      "needs a matrix, not shape [2, 3, 4]", "the diagonal of three dimensions");
}

TEST_CASE("1.3 walking visits every element once, in the order of the indices") {
  const View x = odd_view(9);
  const std::vector<Size> places = positions(x);
  check_equal(static_cast<Size>(places.size()), 15, "number of places of a view of shape [3, 5]");
  for (Size i = 0; i < 3; ++i)
    for (Size j = 0; j < 5; ++j)
      check_equal(places[i * 5 + j], 4 + 2 * i + 7 * j,
                  text("offset 4, shape [3, 5], strides [2, 7]: place number ", i * 5 + j, " of the walk"));

  const View three{nullptr, {2, 3, 2}, {1, 10, 100}, 5};
  const std::vector<Size> walk = positions(three);
  check_equal(static_cast<Size>(walk.size()), 12, "number of places of a view of shape [2, 3, 2]");
  for (Size n = 0; n < 12; ++n)
    check_equal(walk[n], 5 + n / 6 + n / 2 % 3 * 10 + n % 2 * 100,
                text("offset 5, shape [2, 3, 2], strides [1, 10, 100]: place number ", n, " of the walk"));
}

TEST_CASE("1.3 no elements, no places; a single number, one place") {
  check_equal(static_cast<Size>(positions(View{nullptr, {3, 0}, {7, 1}, 0}).size()), 0, "places of shape [3, 0]");
  const std::vector<Size> single = positions(View{nullptr, {}, {}, 6});
  check_equal(static_cast<Size>(single.size()), 1, "places of shape []");
  check_equal(single[0], 6, "place of a single number at offset 6");
}

TEST_CASE("1.3 contiguous is a matter of strides, not of where it starts") {
  const auto storage = random_numbers(100, 10);
  const auto answer = [&](const Shape& shape, const Shape& strides, Size offset) {
    return std::string(is_contiguous({storage, shape, strides, offset}) ? "yes" : "no");
  };
  check_equal(answer({3, 4}, {4, 1}, 0), "yes", "shape [3, 4], strides [4, 1]: contiguous?");
  check_equal(answer({4, 3}, {1, 4}, 0), "no", "shape [4, 3], strides [1, 4]: contiguous?");
  check_equal(answer({3, 4}, {6, 1}, 0), "no", "shape [3, 4], strides [6, 1]: contiguous?");
  check_equal(answer({2, 4}, {4, 1}, 8), "yes", "shape [2, 4], strides [4, 1], offset 8: contiguous?");
  check_equal(answer({1, 4}, {77, 1}, 0), "yes", "shape [1, 4], strides [77, 1]: contiguous?");
  check_equal(answer({4, 1}, {1, 0}, 0), "yes", "shape [4, 1], strides [1, 0]: contiguous?");
  check_equal(answer({4, 2}, {0, 1}, 0), "no", "shape [4, 2], strides [0, 1]: contiguous?");
  check_equal(answer({3, 0}, {5, 9}, 0), "yes", "shape [3, 0], strides [5, 9]: contiguous?");
  check_equal(answer({}, {}, 3), "yes", "shape []: contiguous?");
}

TEST_CASE("1.3 a reshape copies only where the strides force it") {
  const View x = make_view({4, 6}, *random_numbers(24, 11));
  const View rows = slice(x, 0, 1, 3), seen = reshape(rows, {3, 4});
  check_equal(seen.shape, {3, 4}, "shape of rows 1 and 2 of [4, 6], reshaped to [3, 4]");
  check_same_memory(seen, x, "a reshape of contiguous rows");
  check_close(at(seen, {1, 2}), at(rows, {1, 0}), "rows 1 and 2 of [4, 6], reshaped to [3, 4], at (1, 2)");

  const View turned = transpose(x, 0, 1), flat = reshape(turned, {24});
  for (Size i = 0; i < 6; ++i)
    for (Size j = 0; j < 4; ++j)
      check_close(at(flat, {i * 4 + j}), at(x, {j, i}), text("reshape(transpose(x), {24}) at (", i * 4 + j, ')'));
  check_equal(flat.storage == x.storage ? "the storage of x" : "another storage", "another storage",
              "a reshape of a transpose sees");
  check_fails([&] { reshape(x, {5, 5}); }, "[4, 6] has 24 elements, [5, 5] has 25", "[4, 6] reshaped to [5, 5]");
}

TEST_CASE("1.4 shapes are aligned at the right, and 1 repeats") {
  check_equal(common_shape({3, 4}, {4}), {3, 4}, "[3, 4] with [4]");
  check_equal(common_shape({4}, {3, 4}), {3, 4}, "[4] with [3, 4]");
  check_equal(common_shape({4, 1}, {3}), {4, 3}, "[4, 1] with [3]");
  check_equal(common_shape({2, 1, 5}, {7, 1}), {2, 7, 5}, "[2, 1, 5] with [7, 1]");
  check_equal(common_shape({}, {2, 3}), {2, 3}, "[] with [2, 3]");
  check_equal(common_shape({6, 5}, {6, 5}), {6, 5}, "[6, 5] with itself");
  check_equal(common_shape({1, 3}, {0, 3}), {0, 3}, "[1, 3] with [0, 3]");
  check_fails([] { common_shape({2, 3}, {4}); }, "shapes [2, 3] and [4] do not fit", "[2, 3] with [4]");
  check_fails([] { common_shape({2, 3}, {2}); }, "shapes [2, 3] and [2] do not fit", "[2, 3] with [2]");
  check_fails([] { common_shape({6}, {3}); }, "shapes [6] and [3] do not fit", "[6] with [3]");
}

TEST_CASE("1.4 a repeated number is one number with stride 0") {
  const View column{random_numbers(20, 12), {3, 1}, {6, 1}, 2};
  const View wide = broadcast_to(column, {2, 3, 4});
  check_equal(wide.shape, {2, 3, 4}, "[3, 1] seen as [2, 3, 4]: shape");
  check_equal(wide.strides, {0, 6, 0}, "[3, 1] with strides [6, 1], seen as [2, 3, 4]: strides");
  check_same_memory(wide, column, "a broadcast");
  check_close(at(wide, {1, 2, 3}), (*column.storage)[14], "offset 2, strides [6, 1], seen as [2, 3, 4], at (1, 2, 3)");
  check_fails([&] { broadcast_to(column, {4, 4}); }, "[3, 1] does not broadcast to [4, 4]", "[3, 1] seen as [4, 4]");
  check_fails([&] { broadcast_to(column, {3}); }, "[3, 1] does not broadcast to [3]", "[3, 1] seen as [3]");
}

TEST_CASE("1.4 one row is added to every row") {
  const View x = transpose(odd_view(13), 0, 1), bias{random_numbers(9, 14), {3}, {2}, 1};  // [5, 3], [3]
  const View total = add(x, bias), other = add(bias, x);
  check_equal(total.shape, {5, 3}, "[5, 3] + [3]: shape");
  for (Size i = 0; i < 5; ++i)
    for (Size j = 0; j < 3; ++j) {
      check_close(at(total, {i, j}), at(x, {i, j}) + at(bias, {j}), text("[5, 3] + [3] at (", i, ", ", j, ')'));
      check_close(at(other, {i, j}), at(total, {i, j}), text("[3] + [5, 3] at (", i, ", ", j, ')'));
    }
}

TEST_CASE("1.4 a column and a row make a table, and the operands stay as they were") {
  const View column = make_view({3, 1}, {10, 20, 30}), row = make_view({2}, {1, 2});
  check_close(elements(add(column, row)), {11, 12, 21, 22, 31, 32}, "[3, 1] + [2]");
  check_close(*column.storage, std::vector<float>{10, 20, 30}, "the column afterwards");
  check_close(*row.storage, std::vector<float>{1, 2}, "the row afterwards");
}

TEST_CASE("1.5 what a broadcast repeated is added up again") {
  const View x = make_view({2, 3}, {1, 2, 4, 8, 16, 32});
  check_close(elements(sum_to(x, {3})), {9, 18, 36}, "[2, 3] summed to [3]");
  check_close(elements(sum_to(x, {2, 1})), {7, 56}, "[2, 3] summed to [2, 1]");
  check_close(elements(sum_to(x, {})), {63}, "[2, 3] summed to []");
  check_close(elements(sum_to(x, {2, 3})), *x.storage, "[2, 3] summed to [2, 3]");
  check_close(elements(sum_to(transpose(x, 0, 1), {1, 2})), {7, 56}, "the transpose, [3, 2], summed to [1, 2]");
  check_equal(sum_to(x, {1, 3}).shape, {1, 3}, "[2, 3] summed to [1, 3]: shape");
  check_close(*x.storage, {1, 2, 4, 8, 16, 32}, "x afterwards");
  check_fails([&] { sum_to(x, {2}); }, "does not broadcast", "[2, 3] summed to [2]");
}

TEST_CASE("1.5 a repeated view counts each repetition") {
  const View row = make_view({3}, {1, 2, 3});
  check_close(elements(sum_to(broadcast_to(row, {5, 3}), {3})), {5, 10, 15}, "a row repeated 5 times, summed back");
}

TEST_CASE("1.5 a sum along one dimension") {
  const View x = odd_view(15);
  const View down = sum(x, 0), across = sum(x, -1);
  check_equal(down.shape, {5}, "[3, 5] summed along 0: shape");
  check_equal(across.shape, {3}, "[3, 5] summed along -1: shape");
  for (Size j = 0; j < 5; ++j) {
    float expected = 0;
    for (Size i = 0; i < 3; ++i) expected += odd_element(x, i, j);
    check_close(at(down, {j}), expected, text("[3, 5] summed along 0, at (", j, ')'));
  }
  for (Size i = 0; i < 3; ++i) {
    float expected = 0;
    for (Size j = 0; j < 5; ++j) expected += odd_element(x, i, j);
    check_close(at(across, {i}), expected, text("[3, 5] summed along -1, at (", i, ')'));
  }
  const View three = make_view({2, 2, 2}, {1, 2, 4, 8, 16, 32, 64, 128});
  check_close(elements(sum(three, 1)), {5, 10, 80, 160}, "[2, 2, 2] summed along 1");
}

}  // namespace headshare::lesson
