#include "core/random.h"
#include "lesson.h"
#include "tutorials/support/check.h"

namespace headshare::lesson {
namespace {

// Shapes and numbers that are new in every grading.
struct Draw {
  Generator generator;
  explicit Draw(std::uint64_t stream) : generator(grading_seed() + 101, stream) {}

  Size between(Size low, Size high) { return low + generator.below(high - low + 1); }
  Shape shape(int rank, Size low = 1) {
    Shape result;
    for (int i = 0; i < rank; ++i) result.append(between(low, 5));
    return result;
  }
  // Strides with gaps, in a random order of dimensions, behind a random offset: no two elements share a place.
  View view(const Shape& shape) {
    std::vector<int> order;
    for (int i = 0; i < shape.rank(); ++i) order.push_back(i);
    generator.shuffle(order);
    View x{nullptr, shape, shape, between(0, 9)};
    Size stride = between(1, 2);
    for (const int dimension : order) {
      x.strides[dimension] = stride;
      stride *= shape[dimension] + between(0, 1);
    }
    x.storage = std::make_shared<std::vector<float>>(x.offset + stride + 1);
    for (float& value : *x.storage) value = static_cast<float>(generator.normal());
    return x;
  }
};

// Element number n of the walk, by division: slow, and nothing of the lesson is used.
Size place(const View& x, Size n) {
  Size position = x.offset;
  for (int dimension = x.shape.rank() - 1; dimension >= 0; --dimension) {
    position += n % x.shape[dimension] * x.strides[dimension];
    n /= x.shape[dimension];
  }
  return position;
}

std::vector<float> plain_elements(const View& x) {
  std::vector<float> values;
  for (Size n = 0; n < x.shape.count(); ++n) values.push_back((*x.storage)[place(x, n)]);
  return values;
}

std::string name_of(const View& x) { return text("shape ", x.shape, ", strides ", x.strides, ", offset ", x.offset); }

}  // namespace

TEST_CASE("1.1 hidden: strides and places of random shapes") {
  Draw draw(1);
  for (int round = 0; round < 20; ++round) {
    const Shape shape = draw.shape(static_cast<int>(draw.between(1, 5)));
    const Shape strides = row_major_strides(shape);
    Size behind = 1;
    for (int i = shape.rank() - 1; i >= 0; behind *= shape[i--])
      check_equal(strides[i], behind, text("stride ", i, " of ", shape));
    const View x = draw.view(shape);
    std::vector<Size> index(shape.rank());
    Size expected = x.offset;
    for (int i = 0; i < shape.rank(); ++i) {
      index[i] = draw.between(0, shape[i] - 1);
      expected += index[i] * x.strides[i];
    }
    check_equal(position_of(x, index), expected, name_of(x) + ": place of an element");
    const int wrong = static_cast<int>(draw.between(0, shape.rank() - 1));
    index[wrong] = shape[wrong];
    check_fails([&] { position_of(x, index); }, text("of dimension ", wrong), name_of(x) + ": an index one too large");
  }
}

TEST_CASE("1.2 hidden: views of views see the right numbers") {
  Draw draw(2);
  for (int round = 0; round < 20; ++round) {
    const View x = draw.view(draw.shape(3, 2));
    const int a = static_cast<int>(draw.between(0, 2)), b = static_cast<int>(draw.between(0, 2));
    const View turned = transpose(x, a, b);
    const int cut = static_cast<int>(draw.between(0, 2));
    const Size begin = draw.between(0, turned.shape[cut] - 1);
    const View part = slice(turned, cut, begin, turned.shape[cut]);
    std::vector<Size> index(3);
    for (int i = 0; i < 3; ++i) index[i] = draw.between(0, part.shape[i] - 1);
    std::vector<Size> original = index;
    original[cut] += begin;
    std::swap(original[a], original[b]);
    const Size expected =
        x.offset + original[0] * x.strides[0] + original[1] * x.strides[1] + original[2] * x.strides[2];
    const std::string what =
        text(name_of(x), ": transpose(x, ", a, ", ", b, "), then slice(.., ", cut, ", ", begin, ", end)");
    check_equal(position_of(part, index), expected, what + ": place of an element");
    check_equal(part.storage == x.storage, true, what + ": same storage (1 is yes)");
    const View matrix = draw.view(draw.shape(2)), across = diagonal(matrix);
    const Size last = std::min(matrix.shape[0], matrix.shape[1]) - 1;
    check_equal(across.shape, {last + 1}, name_of(matrix) + ": shape of the diagonal");
    check_equal(position_of(across, {last}), matrix.offset + last * (matrix.strides[0] + matrix.strides[1]),
                name_of(matrix) + ": place of the last element of the diagonal");
  }
}

TEST_CASE("1.3 hidden: walks of random views") {
  Draw draw(3);
  for (int round = 0; round < 20; ++round) {
    const View x = draw.view(draw.shape(static_cast<int>(draw.between(1, 5))));
    const std::vector<Size> places = positions(x);
    check_equal(static_cast<Size>(places.size()), x.shape.count(), name_of(x) + ": number of places");
    for (Size n = 0; n < x.shape.count(); ++n)
      check_equal(places[n], place(x, n), text(name_of(x), ": place number ", n, " of the walk"));
    const View flat = reshape(x, {x.shape.count(), 1});
    check_close(elements(flat), plain_elements(x), name_of(x) + ": reshaped to a column");
    bool in_order = true;
    for (Size n = 0; n < x.shape.count(); ++n) in_order = in_order && place(x, n) == x.offset + n;
    check_equal(is_contiguous(x), in_order, name_of(x) + ": contiguous (1 is yes)");
    check_equal(flat.storage == x.storage, in_order, name_of(x) + ": a reshape sees the same memory (1 is yes)");
  }
}

TEST_CASE("1.4 hidden: sums of random shapes") {
  Draw draw(4);
  for (int round = 0; round < 20; ++round) {
    const Shape shape = draw.shape(3, 2);
    Shape left = shape, right = shape;
    const int one = static_cast<int>(draw.between(0, 2)), other = static_cast<int>(draw.between(0, 2));
    left[one] = 1;
    if (other != one) right[other] = 1;
    if (round % 2 == 1 && one != 0 && other != 0) left = left.without(0);
    const View a = draw.view(left), b = draw.view(right);
    const View total = round % 3 == 0 ? add(b, a) : add(a, b);
    const std::string what = text(left, " + ", right);
    check_equal(total.shape, shape, what + ": shape");
    const int lacks = 3 - left.rank();
    std::vector<Size> index(3);
    for (index[0] = 0; index[0] < shape[0]; ++index[0])
      for (index[1] = 0; index[1] < shape[1]; ++index[1])
        for (index[2] = 0; index[2] < shape[2]; ++index[2]) {
          Size pa = a.offset, pb = b.offset;
          for (int i = lacks; i < 3; ++i) pa += left[i - lacks] == 1 ? 0 : index[i] * a.strides[i - lacks];
          for (int i = 0; i < 3; ++i) pb += right[i] == 1 ? 0 : index[i] * b.strides[i];
          check_close(at(total, index), (*a.storage)[pa] + (*b.storage)[pb],
                      text(what, " at (", index[0], ", ", index[1], ", ", index[2], ')'));
        }
  }
}

// <broadcast(a), x> = <a, sum_to(x)> for all a and x: that is what "undoes" means, and why gradients need it.
TEST_CASE("1.5 hidden: sum_to is the other side of broadcast_to") {
  Draw draw(5);
  for (int round = 0; round < 20; ++round) {
    const Shape large = draw.shape(3, 2);
    Shape small = large;
    small[static_cast<int>(draw.between(0, 2))] = 1;
    if (round % 2 == 1) small = small.without(0);
    const View a = draw.view(small), x = draw.view(large);
    const View back = sum_to(x, small);
    check_equal(back.shape, small, text(large, " summed to ", small, ": shape"));
    const View wide = broadcast_to(a, large);
    double left = 0, right = 0;
    for (Size n = 0; n < large.count(); ++n)
      left += static_cast<double>((*a.storage)[place(wide, n)]) * static_cast<double>((*x.storage)[place(x, n)]);
    for (Size n = 0; n < small.count(); ++n)
      right += static_cast<double>((*a.storage)[place(a, n)]) * static_cast<double>((*back.storage)[place(back, n)]);
    check_close(right, left, text(large, " summed to ", small, ", times random numbers"), 1e-4);
    const int dimension = static_cast<int>(draw.between(-3, 2));
    const View total = sum(x, dimension);
    check_equal(total.shape, large.without(dimension), text(large, " summed along ", dimension, ": shape"));
    double all = 0, direct = 0;
    for (const float value : plain_elements(total)) all += static_cast<double>(value);
    for (const float value : plain_elements(x)) direct += static_cast<double>(value);
    check_close(all, direct, text(large, " summed along ", dimension, ": the total of the result"), 1e-4);
  }
}

}  // namespace headshare::lesson
