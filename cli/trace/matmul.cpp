#include "cli/trace/kernels.h"
#include "cli/trace/named_array.h"
#include "kernels/matmul_ladder.h"

namespace headshare::trace {
namespace {

// C = A B for one of the rungs; In is the type of A and B.
template <class In, class Out, class Multiply>
TracedKernel rung(const std::string& name, const std::string& summary, Size rows, Size size, Multiply multiply) {
  return {name, summary, Sizes({{"M", rows}, {"N", size}, {"K", size}}), [multiply](const Sizes& sizes) {
            const kernels::MatmulSizes of{.batch = 1, .m = sizes["M"], .n = sizes["N"], .k = sizes["K"]};
            auto a = random_array<In>("A", of.m * of.k), b = random_array<In>("B", of.k * of.n);
            NamedArray<Out> c("C", of.m * of.n);
            const kernels::MatrixView<In> left{a.data(), of.k, 1}, right{b.data(), of.n, 1};
            return launches_of([&] { multiply(of, left, right, c.data()); });
          }};
}

using Sizes3 = kernels::MatmulSizes;
using View = kernels::MatrixView<float>;
using NarrowView = kernels::MatrixView<BFloat16>;

}  // namespace

std::vector<TracedKernel> matmul_kernels() {
  const kernels::Cuda device = kernels::cuda();
  return {
      rung<float, float>("matmul-naive", "Matrix product, a thread per element, straight from memory", 64, 64,
                         [=](const Sizes3& sizes, const View& a, const View& b, float* c) {
                           kernels::matmul_naive<float>(device, sizes, a, b, c, {});
                         }),
      rung<float, float>("matmul-tiled", "... tiles of 32 x 32 in shared memory", 64, 64,
                         [=](const Sizes3& sizes, const View& a, const View& b, float* c) {
                           kernels::matmul_tiled<float>(device, sizes, a, b, c, {});
                         }),
      rung<float, float>("matmul-register-tiled", "... and 4 x 4 elements per thread in registers", 128, 128,
                         [=](const Sizes3& sizes, const View& a, const View& b, float* c) {
                           kernels::matmul_register_tiled<float, 64>(device, sizes, a, b, c, {});
                         }),
      rung<BFloat16, float>("matmul-tensor-core", "... on tensor cores, from bfloat16", 128, 128,
                            [=](const Sizes3& sizes, const NarrowView& a, const NarrowView& b, float* c) {
                              kernels::matmul_tensor_core<BFloat16, 64>(device, sizes, a, b, c, {});
                            }),
      rung<BFloat16, BFloat16>("matmul-pipelined", "... copied to shared memory ahead of time", 128, 128,
                               [=](const Sizes3& sizes, const NarrowView& a, const NarrowView& b, BFloat16* c) {
                                 kernels::matmul_pipelined<BFloat16>(device, sizes, a, b, c, {});
                               }),
      rung<BFloat16, BFloat16>("matmul-hopper", "... by whole tiles, and multiplied where they lie (Hopper)", 128, 128,
                               [=](const Sizes3& sizes, const NarrowView& a, const NarrowView& b, BFloat16* c) {
                                 kernels::matmul_hopper<BFloat16>(device, sizes, a, b, c, {});
                               }),
      rung<float, float>("matmul-few-rows", "... for decoding: few rows of A, B is read once", 4, 256,
                         [=](const Sizes3& sizes, const View& a, const View& b, float* c) {
                           kernels::matmul_few_rows<float>(device, sizes, a, b, c, {});
                         }),
      rung<BFloat16, BFloat16>("matmul-few-rows-bf16", "... on tensor cores, from bfloat16", 16, 256,
                               [=](const Sizes3& sizes, const NarrowView& a, const NarrowView& b, BFloat16* c) {
                                 kernels::matmul_few_rows_bf16<BFloat16>(device, sizes, a, b, c, {});
                               }),
  };
}

}  // namespace headshare::trace
