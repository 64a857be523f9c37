#include "kernels/simulator/hopper.h"

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "kernels/simulator/block_runner.h"
#include "kernels/simulator/device_arena.h"
#include "kernels/simulator/observer.h"

namespace headshare::simulator {
namespace {

using kernels::line_bytes;
using kernels::line_numbers;
using kernels::Major;

// ---- The block that this host thread runs ---------------------------------------------------------------------------

struct BarrierState {
  unsigned arrivals;  // in each phase
  unsigned missing;   // of those, in this one
  std::int64_t expected_bytes = 0;
  unsigned phase = 0;
  bool published = false;
  std::vector<Box> copies = {};  // that this phase waits for
};

struct ProductsOfThread {
  struct Entry {
    GroupProduct product;
    unsigned group;
  };
  std::deque<Entry> started;
  unsigned group = 0;      // that the next product belongs to
  std::size_t number = 0;  // of the next product
  bool may_begin = false;  // since begin_products, while nobody looks at d
};

struct BlockState {
  std::unordered_map<const void*, BarrierState> barriers;
  std::vector<ProductsOfThread> products;
  std::vector<std::vector<GroupProduct>> of_groups;  // all that four warps multiply together, from the first on
};
thread_local BlockState block;
constexpr unsigned group_threads = 128;  // of four warps

void problem(Place place, const std::string& what) { block_runner().report(place, what); }

// The XOR of "128-byte swizzle" is one of address bits: 16-byte places are bits 4 to 6, lines of a piece 7 to 9.
std::uint32_t swizzled(std::uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

// Shared memory by the addresses that a GPU gives it. The first 1024 bytes are the system's, and dynamic shared memory
// begins on whole 16 bytes: on no more, here.
constexpr std::uint32_t first_address = 1024 + 16;
unsigned char* at_shared_address(std::uint32_t address) {
  const std::uint32_t offset = address - first_address;
  return offset < most_shared_bytes ? static_cast<unsigned char*>(dynamic_shared()) + offset : nullptr;
}

}  // namespace

std::uint32_t shared_address(const void* memory) {
  return first_address + static_cast<std::uint32_t>(static_cast<const unsigned char*>(memory) -
                                                    static_cast<const unsigned char*>(dynamic_shared()));
}

void forget_copies_and_products(unsigned threads) {
  block.barriers.clear();
  if (block.products.size() < threads) block.products.resize(threads);
  for (ProductsOfThread& of_thread : block.products) {
    of_thread.started.clear();
    of_thread.group = 0;
    of_thread.number = 0;
    of_thread.may_begin = false;
  }
  block.of_groups.resize((threads + group_threads - 1) / group_threads);
  for (std::vector<GroupProduct>& of_group : block.of_groups) of_group.clear();
}

void report_unfinished_copies() {
  for (const auto& [address, barrier] : block.barriers)
    if (!barrier.copies.empty())
      problem(barrier.copies[0].place, text("the block ended before ", barrier.copies.size(),
                                            " copies to shared memory had arrived: nobody waited for them"));
}

// ---- Tensor maps (CUDA Driver API, cuTensorMapEncodeTiled) ----------------------------------------------------------

TensorMap make_tensor_map(const kernels::LinesInMemory& from, int box_lines) {
  constexpr Size unit = 16 / sizeof(BFloat16), most_lines = 256, most_numbers = Size{1} << 31;
  const auto refuse = [&](const auto&... why) {
    fail("tensor map of ", from.matrices, " x ", from.lines, " x ", from.length, " numbers: ", why...);
  };
  TensorMap map{from.data, {from.length, from.lines, from.matrices}, {from.line_stride, from.matrix_stride}, box_lines};
  for (const Size size : map.sizes)
    if (size < 1 || size >= most_numbers) refuse("sizes must be 1 to 2^31");
  if (map.sizes[1] == 1) map.strides[0] = 0;
  if (map.sizes[2] == 1) map.strides[1] = 0;
  if (reinterpret_cast<std::uintptr_t>(from.data) % 16 != 0) refuse("they do not begin on whole 16 bytes");
  for (int i = 0; i < 2; ++i)
    if (map.strides[i] % unit != 0 || map.strides[i] < (map.sizes[i + 1] > 1 ? 1 : 0))
      refuse("a stride of ", map.strides[i], " numbers is not one of whole 16 bytes");
  if (box_lines < 1 || box_lines > most_lines) refuse("a box of ", box_lines, " lines; 1 to 256 are possible");

  const Size numbers = map.sizes[0] + (map.sizes[1] - 1) * map.strides[0] + (map.sizes[2] - 1) * map.strides[1];
  const Allocation allocation = find_allocation(from.data);
  const auto begin = reinterpret_cast<std::uintptr_t>(from.data);
  if (allocation.owner == Owner::host) refuse("they lie at ", describe_address(from.data), ", not in device memory");
  if (begin + static_cast<std::uintptr_t>(numbers) * sizeof(BFloat16) > allocation.begin + allocation.bytes)
    refuse("the last one lies beyond the end of ", describe_address(from.data));
  return map;
}

// ---- Barriers and copies (PTX ISA, "mbarrier", "cp.async.bulk.tensor") ----------------------------------------------

namespace {

constexpr std::size_t bytes_of(const Box& box) { return static_cast<std::size_t>(box.map.box_lines) * line_bytes; }

// The tracer counts 32 bytes at a time, which is what memory hands out.
void tell_of_fetch(const BFloat16* from, const BFloat16* end, const void* code) {
  constexpr std::ptrdiff_t most = 32 / sizeof(BFloat16);
  for (; observer.fetched && from < end; from += most)
    observer.fetched(from, static_cast<unsigned>(std::min(most, end - from) * sizeof(BFloat16)), code);
}

void copy_now(const Box& box) {
  const TensorMap& map = box.map;
  const std::uint32_t to = shared_address(box.to);
  const bool in_matrix = box.matrix >= 0 && box.matrix < map.sizes[2];
  for (int i = 0; i < map.box_lines; ++i) {
    BFloat16 numbers[line_numbers] = {};
    const Size line = Size{box.line} + i;
    if (in_matrix && line >= 0 && line < map.sizes[1]) {
      const Size first = std::max(Size{box.at}, Size{0});
      const Size end = std::min(Size{box.at} + line_numbers, map.sizes[0]);
      const BFloat16* const from = map.data + box.matrix * map.strides[1] + line * map.strides[0];
      if (first < end) {
        std::copy(from + first, from + end, numbers + (first - box.at));
        tell_of_fetch(from + first, from + end, box.code);
      }
    }
    for (std::uint32_t place = 0; place < line_bytes; place += 16) {
      const std::uint32_t address = to + static_cast<std::uint32_t>(i) * line_bytes + place;
      std::memcpy(at_shared_address(swizzled(address)), reinterpret_cast<const char*>(numbers) + place, 16);
    }
  }
  if (observer.copied) observer.copied(box.to, bytes_of(box));
}

void next_phase_if_complete(const void* address, BarrierState& barrier) {
  if (barrier.missing != 0) return;
  if (barrier.expected_bytes == 0) {
    ++barrier.phase;
    barrier.missing = barrier.arrivals;
  }
  block_runner().wake(address);  // to go on, or to fetch the copies
}

BarrierState* find_barrier(const void* address, Place place) {
  const auto found = block.barriers.find(address);
  if (found != block.barriers.end()) return &found->second;
  problem(place, "a barrier is used that nobody has started");
  return nullptr;
}

}  // namespace

void start_barrier(void* barrier, unsigned arrivals, Place place) {
  if (reinterpret_cast<std::uintptr_t>(barrier) % 8 != 0) problem(place, "a barrier must lie on whole 8 bytes");
  if (arrivals == 0) problem(place, "a barrier for no arrivals");
  block.barriers.insert_or_assign(barrier, BarrierState{arrivals, arrivals});
}

void publish_barriers() {
  for (auto& [address, barrier] : block.barriers) barrier.published = true;
}

void arrive(void* address, unsigned expected_bytes, Place place) {
  BarrierState* const barrier = find_barrier(address, place);
  if (barrier == nullptr) return;
  if (barrier->missing == 0)
    return problem(place,
                   "an arrival too many: all had arrived, and copies may still be on their way; did this thread "
                   "wait for the phase before?");
  barrier->expected_bytes += expected_bytes;
  --barrier->missing;
  next_phase_if_complete(address, *barrier);
}

void wait_for_phase(void* address, unsigned parity, Place place) {
  BarrierState* const barrier = find_barrier(address, place);
  if (barrier == nullptr) return;
  while (barrier->phase % 2 == parity % 2) {
    if (barrier->missing == 0 && !barrier->copies.empty()) {
      for (const Box& box : barrier->copies) {
        copy_now(box);
        barrier->expected_bytes -= static_cast<std::int64_t>(bytes_of(box));
      }
      barrier->copies.clear();
      next_phase_if_complete(address, *barrier);
    } else {
      block_runner().sleep(address, place);
    }
  }
}

std::string barrier_lacks(const void* address) {
  const BarrierState& barrier = block.barriers.at(address);
  return text(barrier.missing, " arrivals and ", barrier.expected_bytes, " bytes");
}

void begin_copy(const Box& box, void* address) {
  const Place place = box.place;
  BarrierState* const barrier = find_barrier(address, place);
  if (barrier == nullptr) return;
  if (!barrier->published) problem(place, "a copy for a barrier that was not published");
  const std::uint32_t to = shared_address(box.to);
  if (to % line_bytes != 0) return problem(place, "a box must come to whole 128 bytes of shared memory");
  if (at_shared_address(to) == nullptr ||
      at_shared_address(to + static_cast<std::uint32_t>(bytes_of(box)) - 1) == nullptr)
    return problem(place, "a box that does not fit into shared memory");
  std::memset(box.to, 0xff, bytes_of(box));  // from now on anything may be there
  barrier->copies.push_back(box);
  barrier->copies.back().code = __builtin_return_address(0);
}

// ---- Products (PTX ISA, "Asynchronous warpgroup level matrix instructions") -----------------------------------------

namespace {

ProductsOfThread& mine() {
  return block.products[threadIdx.x + blockDim.x * (threadIdx.y + std::size_t{blockDim.y} * threadIdx.z)];
}

// One factor as its descriptor says. Element (i, k), where i is a row of A or a column of B:
//   K-major    8 lines of 128 bytes: (i % 8) lines, and along K in a line; the next 8 are the stride distance further
//   otherwise  8 lines of 128 bytes: (k % 8) lines, and i in a line; the next 8 k are the stride distance further, the
//              next 64 i the leading distance
// (PTX ISA, "Strides", canonical layouts with 128-byte swizzle).
class Factor {
 public:
  Factor(std::uint64_t descriptor, Major major) : descriptor_(descriptor), major_(major) {}

  const char* refusal() const {
    if (descriptor_ >> 62 != 1) return "a matrix descriptor that is not for 128-byte swizzle, which is not simulated";
    if ((descriptor_ >> 49 & 7) != 0) return "a matrix descriptor with a base offset, which is not simulated";
    return nullptr;
  }

  // Numbers outside of shared memory are NaN.
  float operator()(std::uint32_t i, std::uint32_t k) const {
    const std::uint32_t number = sizeof(BFloat16);
    const std::uint32_t offset = major_ == Major::k
                                     ? i / 8 * stride() + i % 8 * line_bytes + k * number
                                     : k / 8 * stride() + k % 8 * line_bytes + i / 64 * leading() + i % 64 * number;
    const std::uint32_t address = swizzled((field(0) + offset) & 0x3ffff);
    const unsigned char* const at = at_shared_address(address);
    BFloat16 value;
    value.bits = 0xffff;
    if (at != nullptr) std::memcpy(&value, at, sizeof value);
    return static_cast<float>(value);
  }

 private:
  std::uint32_t field(int bit) const { return static_cast<std::uint32_t>(descriptor_ >> bit & 0x3fff) << 4; }
  std::uint32_t leading() const { return field(16); }
  std::uint32_t stride() const { return field(32); }

  std::uint64_t descriptor_;
  Major major_;
};

using DueProducts = std::vector<GroupProduct>;  // of a lane

// The 16 rows of a warp.
void multiply(const DueProducts* const (&lanes)[32], std::size_t number, unsigned warp_of_group, Place place) {
  const GroupProduct& product = (*lanes[0])[number];
  for (const DueProducts* const lane : lanes) {
    const GroupProduct& other = (*lane)[number];
    if (other.a != product.a || other.b != product.b || other.columns != product.columns)
      return problem(place, "the lanes of a warp want to multiply different matrices");
  }
  const Factor a(product.a, product.a_major), b(product.b, product.b_major);
  for (const Factor& factor : {a, b})
    if (factor.refusal() != nullptr) return problem(place, factor.refusal());

  constexpr unsigned rows = 16, depth = 16, most_columns = 256;
  const auto columns = static_cast<unsigned>(product.columns);
  static thread_local float sums[rows][most_columns], b_line[most_columns];
  std::fill_n(&sums[0][0], rows * most_columns, 0.0f);
  for (unsigned k = 0; k < depth; ++k) {
    for (unsigned column = 0; column < columns; ++column) b_line[column] = b(column, k);
    for (unsigned row = 0; row < rows; ++row) {
      const float a_value = a(warp_of_group * rows + row, k);
      for (unsigned column = 0; column < columns; ++column) sums[row][column] += a_value * b_line[column];
    }
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    float* const d = (*lanes[lane])[number].d;
    for (unsigned i = 0; i < columns / 2; ++i) d[i] += sums[lane / 4 + i / 2 % 2 * 8][i / 4 * 8 + lane % 4 * 2 + i % 2];
  }
}

// Whether a box is, in which a factor begins.
bool is_on_its_way(std::uint64_t descriptor) {
  const auto address = static_cast<std::uint32_t>(descriptor & 0x3fff) << 4;
  for (const auto& [at, barrier] : block.barriers)
    for (const Box& box : barrier.copies)
      if (address - shared_address(box.to) < bytes_of(box)) return true;
  return false;
}

struct WaitingLane {
  DueProducts due;
  unsigned warp_of_group;
  Place place;
};

}  // namespace

void begin_products() { mine().may_begin = true; }

// A GPU may read the factors at once. Only the first lane of a warp looks; that the others want the same is checked
// later.
void begin_product(const GroupProduct& product) {
  ProductsOfThread& own = mine();
  own.started.push_back({product, own.group});
  if (!own.may_begin) problem(product.place, "a product without begin_products, after the one before was waited for");
  if (threadIdx.x % 32 != 0) return;
  if (is_on_its_way(product.a) || is_on_its_way(product.b))
    problem(product.place, "a product of matrices that are still being copied to shared memory");
  std::vector<GroupProduct>& of_group = block.of_groups[threadIdx.x / group_threads];
  if (own.number == of_group.size()) of_group.push_back(product);
  const GroupProduct& of_others = of_group[own.number++];
  if (of_others.a != product.a || of_others.b != product.b || of_others.columns != product.columns)
    problem(product.place, "the four warps of a group want to multiply different matrices");
}

void close_product_group() { ++mine().group; }

void wait_for_products(unsigned groups, Place place) {
  ProductsOfThread& own = mine();
  if (groups == 0) own.may_begin = false;
  WaitingLane lane{{}, threadIdx.x / 32 % 4, place};
  while (!own.started.empty() && own.started.front().group + groups < own.group) {
    lane.due.push_back(own.started.front().product);
    own.started.pop_front();
  }
  warp_collective(WarpOperation::together, ~0u, 0, &lane, 0, 32, place, [](void* const* values) {
    const DueProducts* lanes[32];
    const auto& first = *static_cast<const WaitingLane*>(values[0]);
    for (int i = 0; i < 32; ++i) {
      lanes[i] = &static_cast<const WaitingLane*>(values[i])->due;
      if (lanes[i]->size() != first.due.size())
        return problem(first.place, "the lanes of a warp wait for different products");
    }
    for (std::size_t i = 0; i < first.due.size(); ++i) multiply(lanes, i, first.warp_of_group, first.place);
  });
}

}  // namespace headshare::simulator
