#include <omp.h>

#include <cmath>
#include <iostream>
#include <oneapi/dnnl/dnnl.hpp>

#include "core/device.h"
#include "core/error.h"
#include "core/measure.h"
#include "core/random.h"
#include "core/report/measurements.h"
#include "core/report/progress.h"
#include "kernels/machine_limits.h"
#include "nn/parameter.h"
#include "tensor/matmul.h"
#include "tests/benchmarks/benchmark.h"

// headshare_against_onednn [TURNS]
// Matrix products with packed weights, ours and oneDNN's, in turns on the same numbers: a machine that is shared is as
// slow for the one as for the other.
namespace {

using namespace headshare;
using namespace headshare::benchmarks;

// C = A B, with the weights B in the order that oneDNN prefers.
class OneDnnProduct {
 public:
  OneDnnProduct(const ProductSizes& sizes, const Tensor& a, const Tensor& b, const Tensor& c) : stream_(engine_) {
    const auto describe = [](Size rows, Size columns, dnnl::memory::format_tag order) {
      return dnnl::memory::desc({rows, columns}, dnnl::memory::data_type::f32, order);
    };
    using Order = dnnl::memory::format_tag;
    const auto in_rows = describe(sizes.k, sizes.n, Order::ab), a_form = describe(sizes.m, sizes.k, Order::ab),
               c_form = describe(sizes.m, sizes.n, Order::ab), any_form = describe(sizes.k, sizes.n, Order::any);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc form(engine_, a_form, any_form, c_form);
#else
    const dnnl::matmul::primitive_desc form({a_form, any_form, c_form}, engine_);
#endif
    dnnl::memory from(in_rows, engine_, b.data<float>()), packed(form.weights_desc(), engine_);
    dnnl::reorder(from, packed).execute(stream_, from, packed);
    stream_.wait();
    product_ = dnnl::matmul(form);
    operands_ = {{DNNL_ARG_SRC, dnnl::memory(a_form, engine_, a.data<float>())},
                 {DNNL_ARG_WEIGHTS, packed},
                 {DNNL_ARG_DST, dnnl::memory(c_form, engine_, c.data<float>())}};
  }

  void run() {
    product_.execute(stream_, operands_);
    stream_.wait();
  }

 private:
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_;
  dnnl::matmul product_;
  std::unordered_map<int, dnnl::memory> operands_;
};

void compare(const ProductSizes& sizes, Size turns, Measurements& measurements, double& log_of_ratios) {
  Generator generator(1);
  const auto [m, n, k] = sizes;
  const Tensor a = random_normal({m, k}, 1.0, generator, {}), b = random_normal({k, n}, 1.0, generator, {});
  const Tensor ours({m, n}, a.options()), theirs({m, n}, a.options());
  const PackedMatrix packed = pack_matrix(b);
  OneDnnProduct product(sizes, a, b, theirs);

  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const Size calls = static_cast<Size>(4e9 / flops) + 1;  // about 20 ms
  const auto seconds_of_call = [calls](const std::function<void()>& work) {
    const auto all = [&] {
      for (Size i = 0; i < calls; ++i) work();
    };
    return seconds_of(all) / static_cast<double>(calls);
  };
  const auto our_turn = [&] { return seconds_of_call([&] { linear_into(a, packed, {}, Activation::none, ours); }); };
  const auto their_turn = [&] { return seconds_of_call([&] { product.run(); }); };
  our_turn();
  their_turn();
  for (Size i = 0; i < ours.count(); ++i)
    if (std::abs(ours.data<float>()[i] - theirs.data<float>()[i]) > 1e-5 * static_cast<double>(k))
      fail("element ", i, " of ", m, " x ", n, " x ", k, " is ", ours.data<float>()[i], ", and oneDNN's is ",
           theirs.data<float>()[i]);

  std::vector<double> our_seconds, their_seconds, ratios;
  for (Size turn = 0; turn < turns; ++turn) {
    const bool we_begin = turn % 2 == 0;
    const double first = we_begin ? our_turn() : their_turn(), second = we_begin ? their_turn() : our_turn();
    our_seconds.push_back(we_begin ? first : second);
    their_seconds.push_back(we_begin ? second : first);
    ratios.push_back(their_seconds.back() / our_seconds.back());
  }
  log_of_ratios += std::log(median(ratios));
  measurements.add({{"M x N x K", text(m, " x ", n, " x ", k)},
                    {"oneDNN GFLOP/s", flops / median(their_seconds) / 1e9, 1},
                    {"Headshare GFLOP/s", flops / median(our_seconds) / 1e9, 1},
                    {"ratio", median(ratios), 3}});
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const Size turns = count > 1 ? std::stoll(arguments[1]) : 31;
    const dnnl_version_t* version = dnnl_version();
    std::cout << describe_processor() << "; oneDNN " << version->major << '.' << version->minor << '.' << version->patch
              << '\n'
              << with_decimals(kernels::measure_arithmetic() / 1e9, 0) << " GFLOP/s of multiply-adds in registers, "
              << omp_get_max_threads() << " threads, float32, medians of " << turns << " turns each\n\n";
    Measurements measurements;
    double log_of_ratios = 0;
    for (const ProductSizes& sizes : product_sizes) compare(sizes, turns, measurements, log_of_ratios);
    std::cout << measurements.table() << "\ngeometric mean of the ratios: "
              << with_decimals(std::exp(log_of_ratios / static_cast<double>(product_sizes.size())), 3) << '\n';
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "headshare_against_onednn: " << error.what() << '\n';
    return 1;
  }
}
