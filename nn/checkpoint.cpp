#include "nn/checkpoint.h"

#include <cstring>

#include "nn/conversion.h"
#include "tensor/elementwise.h"

namespace headshare {
namespace {

using NamedTensors = std::map<std::string, Tensor>;

// Names inside a training file: the group first, so that it can be told apart from a model file at a glance.
constexpr const char* precision_key = "train.precision";
const std::string weight_group = "weight/", mean_group = "mean/", variance_group = "variance/";

NamedTensors parameters_of(const Transformer& model, const std::string& prefix = {}) {
  NamedTensors tensors;
  model.visit([&](const std::string& name, const Parameter& parameter) { tensors[prefix + name] = parameter.value(); });
  return tensors;
}

void write(const std::filesystem::path& path, const NamedTensors& tensors, const Metadata& metadata) {
  std::vector<Tensor> kept_alive;
  std::vector<StoredTensor> stored;
  for (const auto& [name, tensor] : tensors) {
    const Tensor whole = tensor.to(Device::cpu).contiguous();
    kept_alive.push_back(whole);
    const auto bytes =
        std::span(reinterpret_cast<const std::byte*>(whole.type() == ElementType::float64
                                                         ? static_cast<const void*>(whole.data<double>())
                                                         : static_cast<const void*>(whole.data<float>())),
                  static_cast<std::size_t>(whole.bytes()));
    stored.push_back({name, whole.type(), {whole.shape().begin(), whole.shape().end()}, bytes});
  }
  write_safetensors(path, stored, metadata);
}

Tensor tensor_of(const StoredTensor& stored) {
  const Tensor tensor(Shape(stored.shape), {stored.type, Device::cpu});
  void* to = stored.type == ElementType::float64 ? static_cast<void*>(tensor.data<double>())
             : stored.type == ElementType::int32 ? static_cast<void*>(tensor.data<std::int32_t>())
                                                 : static_cast<void*>(tensor.data<float>());
  if (!stored.bytes.empty()) std::memcpy(to, stored.bytes.data(), stored.bytes.size());
  return tensor;
}

// One tensor of the file, checked against where it will go.
void copy_stored(const SafetensorsFile& file, const std::string& who, const std::string& name, const Tensor& to) {
  const StoredTensor* stored = file.find(name);
  if (stored == nullptr) fail(who, ": holds no tensor ", name, ", which a model of its configuration has");
  const Tensor tensor = tensor_of(*stored);
  if (!(tensor.shape() == to.shape()) || tensor.type() != to.type())
    fail(who, ": tensor ", name, " is ", tensor.shape(), " ", headshare::name(tensor.type()),
         ", its configuration says ", to.shape(), " ", headshare::name(to.type()));
  to.copy_from(tensor.to(to.device()));
}

// A configuration read from a file must not make this program build a model that the file cannot hold: a few damaged
// digits would otherwise ask for terabytes.
TransformerConfig plausible_config(const SafetensorsFile& file, const std::string& who, const std::string& prefix) {
  TransformerConfig config;
  try {
    config = transformer_config(file.metadata());
  } catch (const Error& error) {
    fail(who, ": ", error.what());
  }
  const StoredTensor* table = file.find(prefix + "embedding");
  if (table == nullptr || table->shape != std::vector<Size>{config.vocabulary, config.d_model})
    fail(who, ": its tensor ", prefix, "embedding does not have the shape [vocabulary, d_model] of its configuration");
  const std::string last_layer = text(prefix, "encoder.", config.layers - 1, ".feed_forward.inner.weight");
  if (file.find(last_layer) == nullptr)
    fail(who, ": its configuration says ", config.layers, " layers, it holds no tensor ", last_layer);
  const StoredTensor* positions = file.find(prefix + "positions");
  if (positions != nullptr && positions->shape != std::vector<Size>{config.max_length, config.d_model})
    fail(who, ": its tensor ", prefix, "positions does not have the shape [max_length, d_model] of its configuration");
  const StoredTensor* inner = file.find(prefix + "encoder.0.feed_forward.inner.weight");
  if (inner == nullptr || inner->shape != std::vector<Size>{config.d_model, config.d_ff})
    fail(who, ": its feed-forward layers do not have the d_ff of its configuration");
  for (Size layer = 0; layer < config.layers; ++layer) {
    const auto check_heads = [&](const char* side, const char* site, const AttentionMode& mode) {
      const std::string name = text(prefix, side, ".", layer, ".", site, ".query.weight");
      const StoredTensor* query = file.find(name);
      const Size width = mode.heads * head_size(mode, config.d_model);
      if (query == nullptr || query->shape != std::vector<Size>{config.d_model, width})
        fail(who, ": its tensor ", name, " does not have the heads of its configuration");
    };
    check_heads("encoder", "self", config.sites(layer).encoder_self);
    check_heads("decoder", "self", config.sites(layer).decoder_self);
    check_heads("decoder", "cross", config.sites(layer).cross);
  }
  return config;
}

LoadedModel load(const std::filesystem::path& path, const std::string& prefix, Device device) {
  const SafetensorsFile file = read_safetensors(path);
  const std::string who = path.string();
  const ElementType type = file.tensors().empty() ? ElementType::float32 : file.tensors()[0].type;
  if (type != ElementType::float32 && type != ElementType::float64)
    fail(who, ": its parameters are ", headshare::name(type), ", needed float32 or float64");
  LoadedModel loaded{Transformer(plausible_config(file, who, prefix), 0, {type, device}), file.metadata()};
  std::size_t expected = 0;
  loaded.model.visit([&](const std::string& name, const Parameter& parameter) {
    copy_stored(file, who, prefix + name, parameter.value());
    ++expected;
  });
  std::size_t found = 0;
  for (const StoredTensor& tensor : file.tensors()) found += tensor.name.starts_with(prefix) ? 1 : 0;
  if (found != expected) fail(who, ": holds ", found, " tensors, a model of its configuration has ", expected);
  return loaded;
}

Metadata merged(Metadata first, const Metadata& second) {
  for (const auto& [key, value] : second) first[key] = value;
  return first;
}

}  // namespace

void save_model(const std::filesystem::path& path, const Transformer& model, const Metadata& extra) {
  write(path, parameters_of(model), merged(extra, to_metadata(model.config())));
}

LoadedModel load_model(const std::filesystem::path& path, Device device) { return load(path, "", device); }

void save_training(const std::filesystem::path& path, const Trainer& trainer, const Metadata& extra) {
  NamedTensors tensors = parameters_of(trainer.model(), weight_group);
  for (const Adam::Slot& slot : trainer.optimizer().slots()) {
    tensors[mean_group + slot.name] = slot.mean;
    tensors[variance_group + slot.name] = slot.variance;
  }
  Metadata metadata = merged(extra, to_metadata(trainer.model().config()));
  metadata = merged(metadata, to_metadata(trainer.recipe()));
  metadata[precision_key] = name(trainer.model().precision());
  write(path, tensors, merged(metadata, to_metadata(trainer.state)));
}

Precision training_precision(const Metadata& metadata) {
  const auto found = metadata.find(precision_key);
  return found == metadata.end() ? Precision::fp32 : parse_precision(found->second);
}

LoadedModel load_training_model(const std::filesystem::path& path, Device device) {
  return load(path, weight_group, device);
}

void load_training_state(const std::filesystem::path& path, Trainer& trainer) {
  const SafetensorsFile file = read_safetensors(path);
  for (const Adam::Slot& slot : trainer.optimizer().slots()) {
    copy_stored(file, path.string(), mean_group + slot.name, slot.mean);
    copy_stored(file, path.string(), variance_group + slot.name, slot.variance);
  }
  trainer.state = training_state(file.metadata());
}

LoadedModel mean_of_models(const std::vector<std::filesystem::path>& paths) {
  if (paths.empty()) fail("average: no checkpoint to average");
  LoadedModel result = load_model(paths[0]);
  const NamedTensors sums = parameters_of(result.model);
  for (std::size_t i = 1; i < paths.size(); ++i) {
    const LoadedModel next = load_model(paths[i]);
    if (to_metadata(next.model.config()) != to_metadata(result.model.config()) ||
        next.model.options().type != result.model.options().type)
      fail("average: ", paths[i].string(), " is not a checkpoint of the same model as ", paths[0].string());
    const NamedTensors values = parameters_of(next.model);
    for (const auto& [name, sum] : sums) accumulate(values.at(name), sum);
  }
  for (const auto& [name, sum] : sums) sum.copy_from(affine(sum, 1.0 / static_cast<double>(paths.size()), 0));
  return result;
}

void convert_training(const std::filesystem::path& from, const std::filesystem::path& to, const Transformer& before,
                      const Transformer& after, Pooling pooling, const Metadata& extra) {
  const SafetensorsFile file = read_safetensors(from);
  NamedTensors tensors = parameters_of(after, weight_group);
  Moments moments;
  for (const StoredTensor& stored : file.tensors())
    for (const auto& [group, part] : {std::pair{&mean_group, &moments.means}, {&variance_group, &moments.variances}})
      if (stored.name.starts_with(*group)) (*part)[stored.name.substr(group->size())] = tensor_of(stored);
  moments = convert_moments(moments, before, after, pooling);
  for (const auto& [name, moment] : moments.means) tensors[mean_group + name] = moment;
  for (const auto& [name, moment] : moments.variances) tensors[variance_group + name] = moment;
  Metadata metadata = file.metadata();
  std::erase_if(metadata,
                [](const auto& entry) { return entry.first.starts_with("model."); });  // the old configuration
  write(to, tensors, merged(merged(metadata, extra), to_metadata(after.config())));
}

}  // namespace headshare
