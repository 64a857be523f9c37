#include "nn/decoding.h"

#include <algorithm>
#include <numeric>

#include "nn/decoding_start.h"
#include "tensor/reduce.h"

namespace headshare {
namespace {

Tensor tokens_of(const std::vector<std::int32_t>& tokens, Device device) {
  return from_values(tokens, {static_cast<Size>(tokens.size())}, device);
}

// Reading the chosen tokens waits for the device. A GPU decodes on meanwhile, sentences that have ended too: less is
// lost with that than with waiting at every step.
Size steps_between_readings(Device device) { return device == Device::cpu ? 1 : 8; }

// So many steps in which each row's likeliest token is its next one. The choice stays on the device: nothing waits
// before the last.                             next: int32 [rows], the last tokens, in and out   result: [steps, rows]
std::vector<std::int32_t> choose_greedily(const Decoder& decoder, Tensor& next, Size steps, DecoderState& state) {
  const Size rows = next.count();
  const Tensor chosen({steps, rows}, next.options());
  for (Size i = 0; i < steps; ++i) {
    const Tensor choice = chosen.slice(0, i, i + 1).reshape({rows});
    argmax_into(decoder.step(next, state), choice);
    next = choice;
  }
  return chosen.to_vector<std::int32_t>();
}

}  // namespace

EncodedSources encode_sources(const Transformer& model, const std::vector<TokenIds>& sources) {
  const NoGradient no_gradient;
  const PaddedTokens padded = pad(sources, model.options().device);
  Dropout dropout = Dropout::none();
  return {model.encode(padded.tokens, padded.lengths, dropout), padded.lengths};
}

Size step_limit(const Transformer& model, Size source_length) {
  return std::min(2 * source_length + 10, model.config().max_length);
}

DecodingStart start_decoding(const Decoder& decoder, const std::vector<TokenIds>& sources,
                             const DecodingOptions& options) {
  const Transformer& model = decoder.model();
  const EncodedSources encoded = encode_sources(model, sources);
  const Size limit = step_limit(model, encoded.memory.extent(1));
  return {decoder.start(encoded.memory, encoded.lengths, {limit, options.beam, options.cache_type}), limit};
}

std::vector<TokenIds> decode_greedy(const Decoder& decoder, const std::vector<TokenIds>& sources,
                                    const DecodingOptions& options) {
  std::vector<TokenIds> targets(sources.size());
  if (sources.empty()) return targets;
  const Transformer& model = decoder.model();
  DecodingOptions greedy = options;
  greedy.beam = 1;
  auto [state, limit] = start_decoding(decoder, sources, greedy);
  std::vector<std::size_t> sentence(sources.size());  // which source each row of the batch belongs to
  std::iota(sentence.begin(), sentence.end(), std::size_t{0});
  std::vector<bool> finished(sources.size(), false);  // by row
  const Device device = model.options().device;
  Tensor next = tokens_of(std::vector<std::int32_t>(sources.size(), begin_id), device);

  for (Size step = 0; step < limit && !sentence.empty();) {
    const Size rows = next.count(), steps = std::min(steps_between_readings(device), limit - step);
    const std::vector<std::int32_t> tokens = choose_greedily(decoder, next, steps, state);
    for (Size i = 0; i < steps; ++i, ++step)
      for (std::size_t row = 0; row < sentence.size(); ++row) {
        const std::size_t s = sentence[row];
        const std::int32_t token = tokens[static_cast<std::size_t>(i * rows) + row];
        if (token == end_id || step >= step_limit(model, static_cast<Size>(sources[s].size()))) finished[row] = true;
        if (!finished[row]) targets[s].push_back(token);
      }
    // Finished sentences leave the batch. Moving the caches of those that stay costs a copy: wait until a quarter is
    // done.
    const auto done = static_cast<std::size_t>(std::count(finished.begin(), finished.end(), true));
    if (done == 0 || (4 * done < sentence.size() && done < sentence.size())) continue;
    std::vector<std::int32_t> staying, last;
    for (std::size_t row = 0; row < sentence.size(); ++row) {
      if (finished[row]) continue;
      sentence[staying.size()] = sentence[row];
      staying.push_back(static_cast<std::int32_t>(row));
      last.push_back(tokens[static_cast<std::size_t>((steps - 1) * rows) + row]);
    }
    sentence.resize(staying.size());
    finished.assign(staying.size(), false);
    if (staying.empty()) break;
    state.select(staying);
    next = tokens_of(last, device);
  }
  return targets;
}

std::vector<std::string> translate(const Decoder& decoder, const Tokenizer& tokenizer,
                                   const std::vector<std::string>& sentences, const DecodingOptions& options) {
  if (options.beam < 1 || options.batch < 1) fail("translate: beam and batch must be at least 1");
  const Transformer& model = decoder.model();
  std::vector<TokenIds> sources;
  for (const std::string& sentence : sentences) {
    sources.push_back(encode_source(tokenizer, sentence));
    if (static_cast<Size>(sources.back().size()) > model.config().max_length)
      fail("translate: sentence ", sources.size(), " has ", sources.back().size(), " tokens, the model reads at most ",
           model.config().max_length, "; split it");
  }
  // Sentences of similar length together waste the least on padding.
  std::vector<std::size_t> order(sources.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return sources[a].size() < sources[b].size(); });
  std::vector<std::string> translations(sentences.size());
  const auto batch_size = static_cast<std::size_t>(options.batch);
  for (std::size_t begin = 0; begin < order.size(); begin += batch_size) {
    const std::size_t end = std::min(order.size(), begin + batch_size);
    std::vector<TokenIds> batch;
    for (std::size_t i = begin; i < end; ++i) batch.push_back(sources[order[i]]);
    const std::vector<TokenIds> targets =
        options.beam == 1 ? decode_greedy(decoder, batch, options) : decode_beam(decoder, batch, options);
    for (std::size_t i = begin; i < end; ++i) translations[order[i]] = tokenizer.decode(targets[i - begin]);
  }
  return translations;
}

}  // namespace headshare
