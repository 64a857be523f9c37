#pragma once

#include <string>

#include "kernels/hopper.h"
#include "kernels/simulator/cuda.h"

// The simulated bodies of cuda_hopper.cuh: the same barriers, boxes, descriptors and fragments. Whatever runs behind
// the threads' backs is done at the last moment: a copy arrives when somebody waits for it (until then there is NaN
// where it will be), and a product reads its factors when it is waited for. What a GPU does at the first moment it
// can is checked instead: a product whose factors are still on their way, or a copy for a barrier that the copy engine
// does not know yet, is reported.

#define __grid_constant__

namespace headshare::simulator {

// What a tensor map says, with the rules that a real one has to obey checked.
struct TensorMap {
  const BFloat16* data;
  Size sizes[3];    // numbers of a line, lines, matrices
  Size strides[2];  // from line to line, from matrix to matrix, in numbers
  int box_lines;
};
TensorMap make_tensor_map(const kernels::LinesInMemory& from, int box_lines);

std::uint32_t shared_address(const void* memory);

void start_barrier(void* barrier, unsigned arrivals, Place place);
void publish_barriers();
void arrive(void* barrier, unsigned expected_bytes, Place place);
void wait_for_phase(void* barrier, unsigned parity, Place place);
std::string barrier_lacks(const void* barrier);  // "1 arrival and 8192 bytes": for messages

struct Box {
  void* to;
  TensorMap map;
  int at, line, matrix;
  Place place;
  const void* code = nullptr;  // that asked for it
};
void begin_copy(const Box& box, void* barrier);

// d += a b of the four warps that the running thread belongs to; `columns` of b and d.
struct GroupProduct {
  std::uint64_t a, b;  // descriptors
  kernels::Major a_major, b_major;
  int columns;
  float* d;
  Place place;
};
void begin_products();
void begin_product(const GroupProduct& product);
void close_product_group();
void wait_for_products(unsigned groups, Place place);

// Of the block that this host thread runs.
void forget_copies_and_products(unsigned threads);  // a block begins
void report_unfinished_copies();                    // a block ends

}  // namespace headshare::simulator

namespace headshare::kernels {

using simulator::make_tensor_map;
using simulator::shared_address;
using simulator::TensorMap;

inline int multiprocessors() { return 3; }  // so few that blocks that go on and on until all is done have to
inline void require_hopper() {}

using CopyBarrier = std::uint64_t;

inline void start_barrier(CopyBarrier* barrier, unsigned arrivals, HEADSHARE_PLACE) {
  simulator::start_barrier(barrier, arrivals, place);
}
using simulator::publish_barriers;
inline void arrive(CopyBarrier* barrier, HEADSHARE_PLACE) { simulator::arrive(barrier, 0, place); }
inline void arrive_and_expect(CopyBarrier* barrier, unsigned bytes, HEADSHARE_PLACE) {
  simulator::arrive(barrier, bytes, place);
}
inline void wait_for_phase(CopyBarrier* barrier, unsigned parity, HEADSHARE_PLACE) {
  simulator::wait_for_phase(barrier, parity, place);
}

inline void prefetch(const TensorMap&) {}
inline void copy_box(void* to, const TensorMap& map, int at, int line, int matrix, CopyBarrier* barrier,
                     HEADSHARE_PLACE) {
  simulator::begin_copy({to, map, at, line, matrix, place}, barrier);
}

template <int registers>
inline void give_registers() {
  static_assert(registers >= 24 && registers <= 256 && registers % 8 == 0);
}
template <int registers>
inline void take_registers() {
  give_registers<registers>();
}

using simulator::begin_products;
using simulator::close_product_group;
template <int groups, int count>
inline void wait_for_products(float (&)[count], HEADSHARE_PLACE) {
  simulator::wait_for_products(groups, place);
}

template <Major a_major, Major b_major, int count>
inline void multiply_matrices(float (&d)[count], std::uint64_t a, std::uint64_t b, HEADSHARE_PLACE) {
  static_assert(count == 128 || count == 64);
  simulator::begin_product({a, b, a_major, b_major, 2 * count, d, place});
}

}  // namespace headshare::kernels
