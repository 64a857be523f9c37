#include "kernels/matmul_ladder.h"
#include "tests/gpu/benchmark.h"
#include "tests/gpu/cublas.h"

// Every rung of the ladder beside cuBLAS, in turns: same sizes, same types, same forms.
namespace headshare::gpu_benchmarks {
namespace {

using namespace kernels;

// How the factors lie in memory. Of y = x W, forward multiplies them plain; backward needs dx = dy W^T and dW = x^T dy.
enum class Form { plain, right_transposed, left_transposed };

const char* name(Form form) { return form == Form::plain ? "NN" : form == Form::right_transposed ? "NT" : "TN"; }

struct Product {
  Size m, n, k;
  Form form;
  std::string of = "";  // what needs it
};

template <class T>
MatrixView<T> view(const Tensor& x, Size rows, Size columns, bool transposed) {
  return transposed ? MatrixView<T>{x.data<T>(), 1, rows} : MatrixView<T>{x.data<T>(), columns, 1};
}

template <class In, class Out>
using Rung = void (*)(Cuda, const MatmulSizes&, const MatrixView<In>&, const MatrixView<In>&, Out*,
                      const Epilogue<Out>&);

template <class In, class Out>
Prepared prepare(const Product& product, Rung<In, Out> rung, cublasComputeType_t compute) {
  const auto& [m, n, k, form, of] = product;
  const Tensor a = random_tensor({m, k}, element_type_of<In>), b = random_tensor({k, n}, element_type_of<In>),
               c({m, n}, {element_type_of<Out>, Device::cuda}), wanted = empty_like(c);
  const MatmulSizes sizes{1, m, n, k};
  const MatrixView<In> left = view<In>(a, m, k, form == Form::left_transposed),
                       right = view<In>(b, k, n, form == Form::right_transposed);
  const double tolerance = std::is_same_v<Out, BFloat16> ? 0.01 : compute == CUBLAS_COMPUTE_32F ? 1e-4 : 1e-3;
  // The first two take the factors along, so that their memory lives.
  return {.work = stopwatch([=, keep = std::pair(a, b)] { rung(cuda(), sizes, left, right, c.data<Out>(), {}); }),
          .reference = stopwatch([=, keep = std::pair(a, b)] {
            cublas().multiply<In, Out>(sizes, left, right, wanted.data<Out>(), compute);
          }),
          .flops = 2 * static_cast<double>(m * n) * static_cast<double>(k),
          .bytes = static_cast<double>(a.bytes() + b.bytes() + c.bytes()),
          .check = [=] { expect_close("the product", c, wanted, tolerance); }};
}

template <class In, class Out>
Case product_case(const std::string& kernel, const Product& product, Rung<In, Out> rung,
                  cublasComputeType_t compute = CUBLAS_COMPUTE_32F) {
  const auto& [m, n, k, form, of] = product;
  const bool tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  const std::string precision = std::is_same_v<In, BFloat16> ? "bf16"
                                : tf32                       ? "tf32"
                                                             : "fp32",
                    output = std::is_same_v<In, Out> ? "" : " to fp32";
  return {"matmul", text(kernel, ' ', precision, output),
          text(m, " x ", n, " x ", k, ' ', name(form), of.empty() ? "" : ", ", of), text("cuBLAS ", precision, output),
          [=] { return prepare<In, Out>(product, rung, compute); }};
}

// The products of a model: the target tokens of a batch, or the rows of a decoding step, times its weights.
std::vector<Product> products_of_models(Scale scale) {
  if (scale == Scale::small) return {{40, 64, 32, Form::plain, "a small model"}};
  std::vector<Product> products;
  struct Model {
    Size rows, C, F, V;
    const char* name;
  };
  for (const auto& [rows, C, F, V, model] :
       {Model{2048, 256, 1024, 8000, "7.58M training"}, Model{8192, 512, 2048, 32000, "60.5M training"}}) {
    for (const Form form : {Form::plain, Form::right_transposed, Form::left_transposed}) {
      const auto add = [&, model_name = model, batch = rows](Size in, Size out) {
        products.push_back(form == Form::plain              ? Product{batch, out, in, form, model_name}
                           : form == Form::right_transposed ? Product{batch, in, out, form, model_name}
                                                            : Product{in, out, batch, form, model_name});
      };
      add(C, C);
      add(C, F);
      add(F, C);
    }
    products.push_back({rows, V, C, Form::right_transposed, model});  // logits: the table serves transposed
    products.push_back({rows, C, V, Form::plain, model});
  }
  for (const auto& [n, k] : {std::pair<Size, Size>{3072, 1024}, {4096, 1024}, {1024, 4096}, {32000, 1024}})
    products.push_back({1024, n, k, Form::plain, "Shazeer's decoding step"});
  return products;
}

}  // namespace

std::vector<Case> matmul_cases(Scale scale) {
  const Size large = scale == Scale::full ? 4096 : 64, larger = 2 * large, smaller = large / 4;
  const cublasComputeType_t tf32 = CUBLAS_COMPUTE_32F_FAST_TF32;
  std::vector<Case> cases;
  std::vector<Product> squares;
  for (const Size n : {large, larger, smaller})
    for (const Form form : {Form::plain, Form::left_transposed, Form::right_transposed})
      squares.push_back({n, n, n, form});

  // What the ladder has for float32, from the plainest rung on.
  const Product square = squares.front();
  cases.push_back(product_case<float, float>("matmul_naive", square, matmul_naive<float>));
  cases.push_back(product_case<float, float>("matmul_tiled", square, matmul_tiled<float>));
  cases.push_back(product_case<float, float>("matmul_register_tiled 64", square, matmul_register_tiled<float, 64>));
  cases.push_back(product_case<float, float>("matmul_register_tiled 128", square, matmul_register_tiled<float, 128>));
  cases.push_back(product_case<float, float>("matmul_tensor_core 128", square, matmul_tensor_core<float, 128>, tf32));
  cases.push_back(product_case<float, float>("matmul_tf32", square, matmul_tf32, tf32));
  cases.push_back(product_case<BFloat16, float>("matmul_tensor_core 128", square, matmul_tensor_core<BFloat16, 128>));

  for (const Product& product : squares) {
    cases.push_back(product_case<BFloat16, BFloat16>("matmul_pipelined", product, matmul_pipelined<BFloat16>));
    cases.push_back(product_case<BFloat16, BFloat16>("matmul_hopper", product, matmul_hopper<BFloat16>));
  }
  cases.push_back(product_case<BFloat16, float>("matmul_pipelined", square, matmul_pipelined<float>));
  cases.push_back(product_case<BFloat16, float>("matmul_hopper", square, matmul_hopper<float>));
  for (const Product& product : products_of_models(scale)) {
    cases.push_back(product_case<BFloat16, BFloat16>("matmul_bf16", product, matmul_bf16<BFloat16>));
    if (product.form == Form::plain)
      cases.push_back(product_case<float, float>("matmul_tf32", product, matmul_tf32, tf32));
  }
  return cases;
}

}  // namespace headshare::gpu_benchmarks
