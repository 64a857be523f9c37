#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <string>

#include "core/safetensors.h"
#include "nn/decoder.h"
#include "nn/training.h"
#include "tests/tensor_helpers.h"

// The whole model against the same mathematics written a second time, in PyTorch: tests/reference/make_reference.py.

using namespace headshare;
using namespace headshare::test;

namespace {

// A file of expected tensors.
class Reference {
 public:
  explicit Reference(const std::string& name)
      : file_(read_safetensors(std::string(HEADSHARE_SOURCE_DIR) + "/tests/reference/" + name)) {}

  const std::map<std::string, std::string>& metadata() const { return file_.metadata(); }

  Tensor operator[](const std::string& name) const {
    const StoredTensor* stored = file_.find(name);
    if (stored == nullptr) fail("reference: no tensor ", name);
    const Tensor tensor(Shape(stored->shape), {stored->type, Device::cpu});
    std::byte* to = stored->type == ElementType::float64   ? reinterpret_cast<std::byte*>(tensor.data<double>())
                    : stored->type == ElementType::float32 ? reinterpret_cast<std::byte*>(tensor.data<float>())
                                                           : reinterpret_cast<std::byte*>(tensor.data<std::int32_t>());
    std::memcpy(to, stored->bytes.data(), stored->bytes.size());
    return tensor.to(test_device());
  }
  double number(const std::string& name) const { return (*this)[name].item(); }

 private:
  SafetensorsFile file_;
};

// A visitor that gives each parameter the reference's value.
ParameterVisitor load_from(const Reference& reference) {
  return [&reference](const std::string& name, const Parameter& parameter) {
    parameter.value().copy_from(reference[name].to(parameter.value().type()));
  };
}

// A visitor that compares the gradient of each parameter.
ParameterVisitor compare_gradients(const Reference& reference, double tolerance) {
  return [&reference, tolerance](const std::string& name, const Parameter& parameter) {
    const double distance = difference(parameter.gradient(), reference["gradient." + name]);
    CHECK_MESSAGE(distance < tolerance, "gradient of ", name, ": ", distance);
  };
}

Transformer load_transformer(const Reference& reference, ElementType type) {
  Transformer model(transformer_config(reference.metadata()), 1, {type});
  model.visit(load_from(reference));
  return model;
}

void compare_forward_and_backward(const Reference& reference, ElementType type, double tolerance) {
  const Transformer model = load_transformer(reference, type);
  const Tensor lengths = reference["lengths"], target_output = reference["target_output"],
               expected = reference["logits"];
  Dropout dropout = Dropout::none();
  const Variable memory = model.encode(reference["source"], lengths, dropout);
  const Variable logits = model.logits(model.decode(reference["target_input"], memory, lengths, dropout));
  CHECK(difference(logits.value(), expected) < tolerance);

  const CrossEntropyLoss loss =
      cross_entropy(reshape(logits, {target_output.count(), logits.extent(-1)}), target_output, 0.1);
  CHECK(loss.loss.value().item() == doctest::Approx(reference.number("loss")).epsilon(tolerance));
  CHECK(loss.nll.item() == doctest::Approx(reference.number("nll")).epsilon(tolerance));
  backward(loss.loss);
  model.visit(compare_gradients(reference, tolerance));
}

// Row b of a [B, n] tensor, its first `length` elements.
std::vector<std::int32_t> row(const Tensor& x, Size b, Size length) {
  return x.slice(0, b, b + 1).slice(1, 0, length).to_vector<std::int32_t>();
}

// The reference's batch as sentence pairs, the way a corpus gives them.
EncodedCorpus encoded_corpus(const Reference& reference) {
  const Tensor source = reference["source"], input = reference["target_input"];
  const Tensor output = reference["target_output"].reshape(input.shape());
  EncodedCorpus corpus;
  for (Size b = 0; b < source.extent(0); ++b) {
    Size length = 0;
    while (length < output.extent(1) && output.at({b, length}) >= 0) ++length;
    EncodedPair pair{row(source, b, static_cast<Size>(reference["lengths"].at({b}))), row(input, b, length)};
    pair.target.push_back(static_cast<std::int32_t>(output.at({b, length - 1})));
    corpus.pairs.push_back(pair);
  }
  return corpus;
}

const std::vector<std::string> files = {"transformer.safetensors", "transformer_pre_norm.safetensors"};

}  // namespace

TEST_CASE("logits, loss and the gradient of every parameter agree with PyTorch in float64") {
  for (const std::string& file : files) {
    CAPTURE(file);
    compare_forward_and_backward(Reference(file), ElementType::float64, 1e-9);
  }
}

TEST_CASE("logits, loss and the gradient of every parameter agree with PyTorch in float32") {
  for (const std::string& file : files) {
    CAPTURE(file);
    compare_forward_and_backward(Reference(file), ElementType::float32, 1e-4);
  }
}

TEST_CASE("one training step changes every parameter as PyTorch's Adam does after clipping") {
  for (const std::string& file : files) {
    CAPTURE(file);
    const Reference reference(file);
    const Transformer model = load_transformer(reference, ElementType::float64);
    const EncodedCorpus corpus = encoded_corpus(reference);
    Trainer trainer(model, corpus, {.label_smoothing = 0.1, .clip = 1.0, .schedule = {.peak = 1e-3, .warmup = 1}});
    const StepReport report = trainer.step();

    const double tokens = static_cast<double>(report.target_tokens);
    CHECK(report.loss * tokens == doctest::Approx(reference.number("loss")).epsilon(1e-9));
    CHECK(report.nll * tokens == doctest::Approx(reference.number("nll")).epsilon(1e-9));
    CHECK(report.gradient_norm == doctest::Approx(reference.number("norm")).epsilon(1e-9));
    CHECK(report.learning_rate == 1e-3);
    Size parameters = 0;
    model.visit([&](const std::string& name, const Parameter& parameter) {
      const Tensor expected = reference[name].to(ElementType::float64);
      const Tensor update = reference["update." + name].to(ElementType::float64);
      double worst = 0;
      const auto before = expected.to_vector<double>(), change = update.to_vector<double>(),
                 after = parameter.value().to_vector<double>();
      for (std::size_t i = 0; i < after.size(); ++i)
        worst = std::max(worst, std::abs(after[i] - before[i] - change[i]));
      CHECK_MESSAGE(worst < 1e-9, name, ": ", worst);
      ++parameters;
    });
    CHECK(parameters > 40);
  }
}

TEST_CASE("decoding position by position with caches gives PyTorch's logits of the whole sentence") {
  for (const std::string& file : files) {
    CAPTURE(file);
    const Reference reference(file);
    const Transformer model = load_transformer(reference, ElementType::float64);
    const Tensor input = reference["target_input"], lengths = reference["lengths"], expected = reference["logits"];
    Dropout dropout = Dropout::none();
    const Size B = input.extent(0), T = input.extent(1);
    const Decoder decoder(model);
    DecoderState state = decoder.start(model.encode(reference["source"], lengths, dropout), lengths, {T});
    for (Size t = 0; t < T; ++t) {
      const Tensor logits = decoder.step(input.slice(1, t, t + 1).contiguous().reshape({B}), state);
      CHECK(difference(logits, expected.slice(1, t, t + 1).reshape(logits.shape())) < 1e-9);
    }
  }
}

TEST_CASE("an attention layer and a layer normalisation alone agree with PyTorch") {
  const Reference reference("transformer.safetensors");
  Generator generator(1);
  SUBCASE("attention") {
    const Attention layer(16, grouped_query(4, 2), generator, float64);
    layer.visit("attention", load_from(reference));
    const Variable x = leaf(reference["attention.in.x"]), source = leaf(reference["attention.in.source"]);
    const Variable y = layer(x, source, {from_values<std::int32_t>({5, 2}, {2}), any_order});
    CHECK(difference(y.value(), reference["attention.out"]) < 1e-9);
    backward(y, reference["attention.d_out"]);
    CHECK(difference(x.gradient(), reference["attention.d_in.x"]) < 1e-9);
    CHECK(difference(source.gradient(), reference["attention.d_in.source"]) < 1e-9);
    layer.visit("attention", compare_gradients(reference, 1e-9));
  }
  SUBCASE("layer normalisation") {
    const LayerNormalization layer(7, float64);
    layer.visit("norm", load_from(reference));
    const Variable x = leaf(reference["norm.in.x"]), residual = leaf(reference["norm.in.residual"]);
    const Variable y = layer(x, residual);
    CHECK(difference(y.value(), reference["norm.out"]) < 1e-9);
    backward(y, reference["norm.d_out"]);
    CHECK(difference(x.gradient(), reference["norm.d_in.x"]) < 1e-9);
    CHECK(difference(residual.gradient(), reference["norm.d_in.residual"]) < 1e-9);
    layer.visit("norm", compare_gradients(reference, 1e-9));
  }
}

TEST_CASE("the comparison notices a model whose configuration or a single weight differs") {
  const Reference reference("transformer.safetensors");
  const auto logits_of = [&](const Transformer& model) {
    Dropout dropout = Dropout::none();
    const Tensor lengths = reference["lengths"];
    const Variable memory = model.encode(reference["source"], lengths, dropout);
    return model.logits(model.decode(reference["target_input"], memory, lengths, dropout)).value();
  };
  TransformerConfig config = transformer_config(reference.metadata());
  config.activation = Activation::gelu;
  const Transformer other(config, 1, float64);
  other.visit(load_from(reference));
  CHECK(difference(logits_of(other), reference["logits"]) > 1e-3);

  const Transformer model = load_transformer(reference, ElementType::float64);
  model.visit([](const std::string& name, const Parameter& parameter) {
    if (name == "encoder.1.self.value.bias") parameter.value().set({3}, parameter.value().at({3}) + 1e-5);
  });
  CHECK(difference(logits_of(model), reference["logits"]) > 1e-8);
}
