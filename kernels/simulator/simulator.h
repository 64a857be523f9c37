#pragma once

// How the simulated device runs kernels. A correct kernel gives the same result whatever is chosen here.
namespace headshare::simulator {

// In which order the threads of a block get their turn. Forward is what a reader expects, and hides missing barriers.
enum class ThreadOrder { forward, reverse, shuffled };
// Set by HEADSHARE_THREAD_ORDER=forward, reverse or shuffled, or here.
void set_thread_order(ThreadOrder order);
ThreadOrder thread_order();

void set_host_threads(int threads);  // how many run blocks side by side; 0: as many as OpenMP would

}  // namespace headshare::simulator
