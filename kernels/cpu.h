#pragma once

namespace headshare::kernels {

// Every kernel's first parameter says where it runs; the overloads for one operation share one contract, in its header.
// A tag, not an enum: the choice is made once, by tensor/, and costs nothing in the kernel.
struct Cpu {};

}  // namespace headshare::kernels
