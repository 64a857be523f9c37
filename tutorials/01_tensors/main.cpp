#include <algorithm>
#include <iostream>
#include <numeric>

#include "core/measure.h"
#include "core/report/canvas.h"
#include "core/report/heat_map.h"
#include "core/report/progress.h"
#include "core/report/table.h"
#include "lesson.h"
#include "tensor/elementwise.h"
#include "tensor/reduce.h"
#include "tensor/tensor.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {
namespace {

// A view whose numbers are 0, 1, 2, ...: each says where it lives.
View numbered(const Shape& shape) {
  std::vector<float> values(shape.count());
  std::iota(values.begin(), values.end(), 0.0f);
  return make_view(shape, std::move(values));
}

template <class Number>
std::string whole(Number number) {
  return std::to_string(static_cast<Size>(number));
}

Table view_table() {
  return Table({{"view"},
                {"shape"},
                {"strides"},
                {"offset", Alignment::right},
                {"elements", Alignment::right},
                {"same memory as x"}});
}

void add_view(Table& table, const std::string& name, const View& view, const View& x) {
  table.add_row({name, to_string(view.shape), to_string(view.strides), whole(view.offset), whole(view.shape.count()),
                 view.storage == x.storage ? "yes" : "no"});
}

// --- Pictures: a cell's colour and number say where in the storage it lives. ---

constexpr Size cell = 44;

void draw_cell(Canvas& canvas, Size left, Size top, Size position, Size stored) {
  const double fraction = 0.15 + 0.85 * static_cast<double>(position) / static_cast<double>(stored - 1);
  canvas.fill_rectangle(left, top, cell - 2, cell - 2, heat_color(fraction));
  canvas.draw_text(
      {static_cast<double>(left) + cell / 2 - 1, static_cast<double>(top) + cell / 2 - 1}, whole(position),
      {.color = fraction < 0.6 ? colors::white : colors::black, .along = Anchor::middle, .across = Anchor::middle});
}

void draw_title(Canvas& canvas, Size left, Size top, const std::string& title) {
  canvas.draw_text({static_cast<double>(left), static_cast<double>(top)}, title, {});
}

// A matrix, or a row for a view of rank 1.
void draw_view(Canvas& canvas, Size left, Size top, const std::string& title, const View& view) {
  draw_title(canvas, left, top, title);
  View matrix = view;
  if (view.shape.rank() == 1) {
    matrix.shape = {1, view.shape[0]};
    matrix.strides = {0, view.strides[0]};
  }
  for (Size i = 0; i < matrix.shape[0]; ++i)
    for (Size j = 0; j < matrix.shape[1]; ++j)
      draw_cell(canvas, left + j * cell, top + 30 + i * cell, position_of(matrix, {i, j}),
                static_cast<Size>(view.storage->size()));
}

void draw_storage(Canvas& canvas, Size left, Size top, const std::string& title, const View& x) {
  draw_title(canvas, left, top, title);
  const Size stored = static_cast<Size>(x.storage->size());
  for (Size position = 0; position < stored; ++position)
    draw_cell(canvas, left + position * cell, top + 30, position, stored);
}

void save(const Canvas& canvas, const std::string& name) {
  write_png(canvas, name);
  std::cout << "picture: " << name << '\n';
}

// --- The steps ---

void step_1() {
  std::cout << "strides of [2, 3, 4]: " << row_major_strides({2, 3, 4}) << "\n\n";

  const View x = numbered({2, 3});
  Table table({{"element"}, {"place in the storage", Alignment::right}, {"bytes after the first", Alignment::right}});
  for (Size i = 0; i < x.shape[0]; ++i)
    for (Size j = 0; j < x.shape[1]; ++j) {
      const auto bytes =
          reinterpret_cast<const char*>(&at(x, {i, j})) - reinterpret_cast<const char*>(x.storage->data());
      table.add_row({text('(', i, ", ", j, ')'), whole(position_of(x, {i, j})), whole(bytes)});
    }
  std::cout << "x of shape " << x.shape << ":\n" << table.plain() << '\n';

  const Shape tokens{64, 100, 512};
  const View batch{nullptr, tokens, row_major_strides(tokens), 0};
  std::cout << "64 sentences of 100 words of 512 numbers: number 5 of word 7 of sentence 3 is at "
            << position_of(batch, {3, 7, 5}) << '\n';
}

void step_2() {
  const View x = numbered({4, 6});
  const View turned = transpose(x, 0, 1), middle = slice(x, 1, 2, 5), across = diagonal(x);
  const View both = slice(transpose(x, 0, 1), 0, 1, 3);
  Table table = view_table();
  add_view(table, "x", x, x);
  add_view(table, "transpose(x, 0, 1)", turned, x);
  add_view(table, "slice(x, 1, 2, 5)", middle, x);
  add_view(table, "diagonal(x)", across, x);
  add_view(table, "slice(transpose(x, 0, 1), 0, 1, 3)", both, x);
  std::cout << table.plain() << '\n';

  at(turned, {5, 3}) = -1;
  std::cout << "after transpose(x)(5, 3) = -1, element (3, 5) of x is " << at(x, {3, 5}) << "\n\n";

  volatile Size seen = 0;
  for (const Size n : {4, 4096}) {
    const View big = make_zeros({n, n});
    const double seconds = median_seconds([&] { seen = transpose(big, 0, 1).strides[0]; });
    std::cout << "transpose of " << n << " x " << n << " numbers (" << with_thousands(n * n * 4) << " bytes): ~"
              << with_decimals(seconds * 1e9, 0) << " ns\n";
  }

  Canvas canvas(24 * cell + 40, 464);
  draw_storage(canvas, 20, 16, "the storage", x);
  draw_view(canvas, 20, 124, "x", x);
  draw_view(canvas, 20 + 7 * cell, 124, "transpose(x, 0, 1)", turned);
  draw_view(canvas, 20 + 13 * cell, 124, "slice(x, 1, 2, 5)", middle);
  draw_view(canvas, 20 + 19 * cell, 124, "diagonal(x)", across);
  save(canvas, "01_views.png");
}

// [show walk]
// Adds up a matrix in the order of its indices, whatever its strides are.
double walk(const View& x) {
  const float* first = x.storage->data() + x.offset;
  double total = 0;
  for (Size i = 0; i < x.shape[0]; ++i)
    for (Size j = 0; j < x.shape[1]; ++j) total += first[i * x.strides[0] + j * x.strides[1]];
  return total;
}
// [end show]

// How often this walk goes on in another 64-byte line of memory than the element before.
Size changes_of_line(const View& x) {
  Size changes = 0, line = -1;
  for (Size i = 0; i < x.shape[0]; ++i)
    for (Size j = 0; j < x.shape[1]; ++j) {
      const Size next = (x.offset + i * x.strides[0] + j * x.strides[1]) * 4 / 64;
      changes += next != line;
      line = next;
    }
  return changes;
}

void step_3() {
  // How attention will split its width into heads and bring them together again.
  const View x = make_zeros({10, 512});                              // [T, C]
  const View heads = transpose(reshape(x, {10, 8, 64}), 0, 1);       // [H, T, D]
  const View together = reshape(transpose(heads, 0, 1), {10, 512});  // [T, C]
  const View flat = reshape(heads, {80, 64});                        // [H T, D]
  Table table({{"view"}, {"shape"}, {"strides"}, {"contiguous"}, {"same memory as x"}});
  const auto add_row = [&](const std::string& name, const View& view) {
    table.add_row({name, to_string(view.shape), to_string(view.strides), is_contiguous(view) ? "yes" : "no",
                   view.storage == x.storage ? "yes" : "no"});
  };
  add_row("x: 10 words of 512 numbers", x);
  add_row("reshape to [10, 8, 64]", reshape(x, {10, 8, 64}));
  add_row("heads: its dimensions 0 and 1 transposed", heads);
  add_row("transposed back, reshape to [10, 512]", together);
  add_row("heads, reshape to [80, 64]", flat);
  std::cout << table.plain() << '\n';

  const View big = make_zeros({4096, 4096}), turned = transpose(big, 0, 1);
  volatile double seen = 0;
  const double with = seconds_of([&] { seen = walk(big); });
  const double against = seconds_of([&] { seen = walk(turned); });
  std::cout << "walking through 4096 x 4096 numbers\n"
            << "  with the grain, strides " << big.strides << ": " << with_thousands(changes_of_line(big))
            << " changes of line, ~" << with_decimals(with * 1e3, 0) << " ms\n"
            << "  against it, strides " << turned.strides << ": " << with_thousands(changes_of_line(turned))
            << " changes of line, ~" << with_decimals(against * 1e3, 0) << " ms\n"
            << "  ~" << with_decimals(against / with, 1) << " times as long\n";
}

void step_4() {
  const View words = make_view({3, 4}, {0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23});
  const View bias = make_view({4}, {100, 200, 300, 400});
  const View total = add(words, bias);
  std::cout << "[3, 4] + [4]:\n";
  for (Size i = 0; i < 3; ++i) {
    for (Size j = 0; j < 4; ++j) std::cout << (j == 0 ? "  " : ", ") << at(total, {i, j});
    std::cout << '\n';
  }

  const View tens = make_view({3, 1}, {10, 20, 30}), ones = make_view({4}, {1, 2, 3, 4});
  const View grid = add(tens, ones);
  std::cout << "[3, 1] + [4] has shape " << grid.shape << ": ";
  for (const float value : elements(grid)) std::cout << value << ' ';
  std::cout << "\n\n";

  const View one = make_view({1}, {0.5f}), billion = broadcast_to(one, {1000, 1000, 1000});
  std::cout << "one number seen as " << billion.shape << ": strides " << billion.strides << ", "
            << with_thousands(billion.shape.count()) << " elements, " << with_thousands(one.storage->size() * 4)
            << " bytes of memory, the last element is " << at(billion, {999, 999, 999}) << '\n';

  const View column = numbered({4, 1}), row = numbered({6});
  Canvas canvas(22 * cell + 40, 240);
  draw_view(canvas, 20, 16, "[4, 1]", column);
  draw_view(canvas, 20 + 2 * cell, 16, "seen as [4, 6]", broadcast_to(column, {4, 6}));
  draw_view(canvas, 20 + 9 * cell, 16, "[6]", row);
  draw_view(canvas, 20 + 16 * cell, 16, "seen as [4, 6]", broadcast_to(row, {4, 6}));
  save(canvas, "01_broadcast.png");
}

std::string list(const View& x) {
  std::string words;
  for (const float value : elements(x)) words += text(words.empty() ? "" : " ", value);
  return words;
}

std::string list(const Tensor& x) {
  std::string words;
  for (const float value : x.to_vector<float>()) words += text(words.empty() ? "" : " ", value);
  return words;
}

void step_5() {
  const View x = numbered({2, 3});
  std::cout << "x = " << list(x) << ", shape " << x.shape << '\n'
            << "sum along 0: " << list(sum(x, 0)) << "; along 1: " << list(sum(x, 1)) << '\n'
            << "a row of [3] was repeated to [2, 3]; back to [3]: " << list(sum_to(x, {3})) << '\n'
            << "a column of [2, 1] was repeated; back to [2, 1]: " << list(sum_to(x, {2, 1})) << "\n\n";

  const Tensor big = from_values(*x.storage, x.shape, Device::cpu);
  Table table({{"view"}, {"your strides"}, {"the library's"}, {"your numbers"}, {"the library's"}});
  const auto add_row = [&](const std::string& name, const View& mine, const Tensor& theirs) {
    table.add_row({name, to_string(mine.strides), to_string(theirs.strides()), list(mine), list(theirs)});
  };
  add_row("x", x, big);
  add_row("transpose", transpose(x, 0, 1), big.transpose(0, 1));
  add_row("slice(1, 1, 3)", slice(x, 1, 1, 3), big.slice(1, 1, 3));
  add_row("reshape [3, 2]", reshape(x, {3, 2}), big.reshape({3, 2}));
  add_row("row 0, repeated", broadcast_to(slice(x, 0, 0, 1), {2, 3}), big.slice(0, 0, 1).broadcast_to({2, 3}));
  add_row("x + row 0", add(x, slice(x, 0, 0, 1)), headshare::add(big, big.slice(0, 0, 1)));
  add_row("sum to [2, 1]", sum_to(x, {2, 1}), headshare::sum_to(big, {2, 1}));
  std::cout << table.plain();
}

}  // namespace
}  // namespace headshare::lesson

int main(int count, char** arguments) {
  using namespace headshare::lesson;
  return lesson_program(1, {step_1, step_2, step_3, step_4, step_5}, count, arguments);
}
