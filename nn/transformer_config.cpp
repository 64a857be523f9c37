#include "nn/transformer_config.h"

#include <cstdlib>

#include "core/numbers.h"

namespace headshare {
namespace {

const std::map<std::string, NormPlacement> norm_names = {{"post", NormPlacement::post}, {"pre", NormPlacement::pre}};
const std::map<std::string, Activation> activation_names = {{"relu", Activation::relu}, {"gelu", Activation::gelu}};
const std::map<std::string, Positions> position_names = {{"sinusoidal", Positions::sinusoidal},
                                                         {"learned", Positions::learned}};

template <class Value>
std::string name_of(const std::map<std::string, Value>& names, Value value) {
  for (const auto& [name, candidate] : names)
    if (candidate == value) return name;
  fail("configuration: a value without a name");
}

template <class Value>
Value value_of(const std::map<std::string, Value>& names, const std::string& name, const char* field) {
  const auto found = names.find(name);
  if (found == names.end()) fail("configuration: ", field, " '", name, "' is not one of those this program knows");
  return found->second;
}

// "8/2": heads/kv_heads; where they are set, also head_size and window: "8/2,size=16,window=32".
std::string to_text(const AttentionMode& mode) {
  return text(mode.heads, "/", mode.kv_heads) + (mode.head_size != 0 ? text(",size=", mode.head_size) : "") +
         (mode.window != 0 ? text(",window=", mode.window) : "");
}

// "8/2 8/2 8/1": encoder self, decoder self and cross attention.
std::string to_text(const AttentionSites& sites) {
  return text(to_text(sites.encoder_self), " ", to_text(sites.decoder_self), " ", to_text(sites.cross));
}

AttentionSites parse_sites(const std::string& line) {
  std::istringstream in(line);
  const auto one = [&] {
    std::string word;
    in >> word;
    const auto number_after = [&](std::string_view label) {
      const std::size_t at = word.find(label);
      return at == std::string::npos ? Size{0} : Size{std::strtoll(word.c_str() + at + label.size(), nullptr, 10)};
    };
    const AttentionMode mode{number_after(""), number_after("/"), number_after(",size="), number_after(",window=")};
    if (to_text(mode) != word)  // a number too many, in the wrong place or too large does not come back
      fail("configuration: attention '", line, "' is not H/G H/G H/G, each perhaps with ,size=D or ,window=N");
    return mode;
  };
  const AttentionMode encoder_self = one(), decoder_self = one(), cross = one();
  std::string more;
  if (in >> more) fail("configuration: attention '", line, "' is not H/G H/G H/G, but goes on");
  return {encoder_self, decoder_self, cross};
}

}  // namespace

TransformerConfig checked(TransformerConfig config) {
  if (config.d_ff == 0) config.d_ff = 4 * config.d_model;
  // The upper limits keep a damaged checkpoint from asking for terabytes; the sines and cosines are not in the file.
  const auto at_least_one = [](const char* field, Size value, Size most = 1'000'000) {
    if (value < 1) fail("configuration: ", field, " is ", value, ", needed at least 1");
    if (value > most) fail("configuration: ", field, " is ", value, ", more than this program builds");
  };
  at_least_one("vocabulary", config.vocabulary);
  at_least_one("d_model", config.d_model);
  at_least_one("d_ff", config.d_ff);
  at_least_one("layers", config.layers);
  at_least_one("max_length", config.max_length, 65'536);
  if (!(config.dropout >= 0 && config.dropout < 1))
    fail("configuration: dropout is ", config.dropout, ", needed at least 0 and below 1");
  if (!config.attention_per_layer.empty() && static_cast<Size>(config.attention_per_layer.size()) != config.layers)
    fail("configuration: ", config.attention_per_layer.size(), " attention entries for ", config.layers, " layers");
  for (Size layer = 0; layer < config.layers; ++layer) check(config.sites(layer), config.d_model);
  return config;
}

std::map<std::string, std::string> to_metadata(const TransformerConfig& config) {
  std::map<std::string, std::string> fields = {
      {"model.vocabulary", exact_text(config.vocabulary)},
      {"model.d_model", exact_text(config.d_model)},
      {"model.d_ff", exact_text(config.d_ff)},
      {"model.layers", exact_text(config.layers)},
      {"model.attention", to_text(config.attention)},
      {"model.norm", name_of(norm_names, config.norm)},
      {"model.activation", name_of(activation_names, config.activation)},
      {"model.positions", name_of(position_names, config.positions)},
      {"model.max_length", exact_text(config.max_length)},
      {"model.dropout", exact_text(config.dropout)},
  };
  for (std::size_t i = 0; i < config.attention_per_layer.size(); ++i)
    fields[text("model.attention.", i)] = to_text(config.attention_per_layer[i]);
  return fields;
}

TransformerConfig transformer_config(const std::map<std::string, std::string>& metadata) {
  const auto field = [&](const std::string& name) -> const std::string& {
    const auto found = metadata.find("model." + name);
    if (found == metadata.end())
      fail("configuration: model.", name, " is missing; is this a checkpoint of this program?");
    return found->second;
  };
  TransformerConfig config;
  config.vocabulary = parse_number<Size>(field("vocabulary"), "configuration: vocabulary");
  config.d_model = parse_number<Size>(field("d_model"), "configuration: d_model");
  config.d_ff = parse_number<Size>(field("d_ff"), "configuration: d_ff");
  config.layers = parse_number<Size>(field("layers"), "configuration: layers");
  config.attention = parse_sites(field("attention"));
  config.norm = value_of(norm_names, field("norm"), "norm");
  config.activation = value_of(activation_names, field("activation"), "activation");
  config.positions = value_of(position_names, field("positions"), "positions");
  config.max_length = parse_number<Size>(field("max_length"), "configuration: max_length");
  config.dropout = parse_number<double>(field("dropout"), "configuration: dropout");
  for (Size i = 0; metadata.contains(text("model.attention.", i)); ++i)
    config.attention_per_layer.push_back(parse_sites(field(text("attention.", i))));
  const std::map<std::string, std::string> known = to_metadata(config);
  for (const auto& [name, value] : metadata)  // a newer version's field may change what the weights mean
    if (name.starts_with("model.") && !known.contains(name))
      fail("configuration: ", name, " is not a field this program knows");
  return checked(config);
}

}  // namespace headshare
