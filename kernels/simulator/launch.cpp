#include <omp.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "kernels/simulator/block_runner.h"
#include "kernels/simulator/device_arena.h"
#include "kernels/simulator/observer.h"

namespace headshare::simulator {
namespace {

ThreadOrder order_of_environment() {
  const char* const order = std::getenv("HEADSHARE_THREAD_ORDER");
  if (order == nullptr || std::strcmp(order, "forward") == 0) return ThreadOrder::forward;
  if (std::strcmp(order, "reverse") == 0) return ThreadOrder::reverse;
  if (std::strcmp(order, "shuffled") == 0) return ThreadOrder::shuffled;
  fail("HEADSHARE_THREAD_ORDER=", order, " is unknown; choose forward, reverse or shuffled");
}

std::atomic<int> chosen_order = -1;  // not chosen: the environment's
std::atomic<int> chosen_threads = 0;

// What a GPU of compute capability 7.5 or later refuses.
void check_launch(dim3 grid, dim3 block, std::size_t shared_bytes) {
  constexpr unsigned most_threads = 1024, most_in_z = 64, most_blocks_in_y_or_z = 65535;
  const unsigned threads = block.x * block.y * block.z;
  if (threads == 0 || threads > most_threads || block.z > most_in_z)
    fail("launch: a block of ", block.x, " x ", block.y, " x ", block.z, " threads; 1 to 1024 are possible");
  if (grid.y > most_blocks_in_y_or_z || grid.z > most_blocks_in_y_or_z || grid.x > 2147483647u)
    fail("launch: a grid of ", grid.x, " x ", grid.y, " x ", grid.z, " blocks; y and z may be 65535 at most");
  if (shared_bytes > most_shared_bytes)
    fail("launch: ", shared_bytes, " bytes of shared memory for a block; ", most_shared_bytes, " are possible");
}

}  // namespace

void set_thread_order(ThreadOrder order) { chosen_order = static_cast<int>(order); }
ThreadOrder thread_order() {
  static const ThreadOrder from_environment = order_of_environment();
  const int order = chosen_order;
  return order < 0 ? from_environment : static_cast<ThreadOrder>(order);
}
void set_host_threads(int threads) { chosen_threads = threads; }

void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, void (*thunk)(const void*), const void* arguments,
              std::size_t argument_bytes, const void* kernel) {
  check_launch(grid, block, shared_bytes);
  Launch launch{grid, block, shared_bytes, thunk, arguments};
  const OpenArena open;
  if (observer.launch_begins) observer.launch_begins(kernel, grid, block, arguments, argument_bytes);
  const std::int64_t blocks = std::int64_t{grid.x} * grid.y * grid.z;
  // The tracer follows one thread at a time.
  const int wanted = observer.launch_begins ? 1 : chosen_threads > 0 ? chosen_threads.load() : omp_get_max_threads();
#pragma omp parallel for schedule(dynamic) num_threads(wanted) if (blocks > 1 && wanted > 1)
  for (std::int64_t i = 0; i < blocks; ++i)
    if (!launch.stopped) block_runner().run(launch, static_cast<unsigned>(i));
  if (observer.launch_ends) observer.launch_ends();
  if (!launch.problem.empty()) fail("kernel: ", launch.problem);
}

void check_pointer(int position, const void* pointer) {
  if (pointer == nullptr || find_allocation(pointer).owner != Owner::host) return;
  // One past the end of an allocation is a pointer that C++ allows, and that kernels with nothing to do may get.
  const Allocation near = find_allocation(pointer);
  if (near.begin != 0 && reinterpret_cast<std::uintptr_t>(pointer) == near.begin + near.bytes) return;
  fail("launch: argument ", position, " of the kernel points to ", describe_address(pointer),
       "; kernels can only use device memory");
}

}  // namespace headshare::simulator
