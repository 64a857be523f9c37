#include "kernels/top_k.h"

#include <algorithm>
#include <vector>

#include "kernels/parallel.h"
#include "kernels/ranked.h"

namespace headshare::kernels {

template <class T>
void top_k(Cpu, Size rows, Size n, Size count, const T* x, T* values, std::int32_t* index) {
  check_count(n, count);
  parallel_rows(count == 0 ? 0 : rows, n, [&](Size row) {
    std::vector<Ranked<T>> heap;  // the best so far, the last of them on top
    heap.reserve(static_cast<std::size_t>(count));
    for (Size i = 0; i < n; ++i) {
      const Ranked<T> candidate{x[row * n + i], static_cast<std::int32_t>(i)};
      if (static_cast<Size>(heap.size()) == count) {
        if (!comes_before(candidate, heap.front())) continue;
        std::pop_heap(heap.begin(), heap.end(), comes_before<T>);
        heap.pop_back();
      }
      heap.push_back(candidate);
      std::push_heap(heap.begin(), heap.end(), comes_before<T>);
    }
    std::sort_heap(heap.begin(), heap.end(), comes_before<T>);
    for (Size i = 0; i < count; ++i) {
      values[row * count + i] = heap[static_cast<std::size_t>(i)].value;
      index[row * count + i] = heap[static_cast<std::size_t>(i)].index;
    }
  });
}

template void top_k(Cpu, Size, Size, Size, const float*, float*, std::int32_t*);
template void top_k(Cpu, Size, Size, Size, const double*, double*, std::int32_t*);

}  // namespace headshare::kernels
