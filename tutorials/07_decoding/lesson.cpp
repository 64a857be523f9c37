#include "lesson.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "autograd/functions.h"
#include "tensor/embedding.h"
#include "tensor/reduce.h"
#include "tensor/softmax.h"
#include "tutorials/support/step.h"

namespace headshare::lesson {

// ---- Step 1: greedy -------------------------------------------------------------------------------------------------

// [show greedy]
std::vector<TokenIds> greedy(const NextScores& next, Size sentences, Size limit) {
  const auto rows = static_cast<std::size_t>(sentences);
  std::vector<TokenIds> beginnings(rows, TokenIds{begin_id}), written(rows);
  // [step 1] Write all sentences side by side: always the likeliest token, until all are finished or at the limit.
  // argmax(scores) of tensor/reduce.h gives the position of the largest number of each row;
  // .to_vector<std::int32_t>() makes a std::vector of it.
  // [hint] A token that is not the end token is written. Every row of `beginnings` grows by one, finished or not.
  // [hint] Ask `next` only while some sentence is not finished: count them in the condition of the loop.
  std::vector<bool> finished(rows, false);
  Size unfinished = sentences;
  for (Size step = 0; step < limit && unfinished > 0; ++step) {
    const std::vector<std::int32_t> tokens = argmax(next(beginnings)).to_vector<std::int32_t>();
    for (std::size_t row = 0; row < rows; ++row) {
      std::int32_t token = finished[row] ? padding_id : tokens[row];
      if (token == end_id) {
        finished[row] = true;
        --unfinished;
      } else if (!finished[row]) {
        written[row].push_back(token);
      }
      beginnings[row].push_back(token);
    }
  }
  return written;
  // [end]
}
// [end show]

// [show log_probability]
double log_probability(const NextScores& next, const TokenIds& tokens) {
  TokenIds said = tokens;
  said.push_back(end_id);
  // [step 1] Add up log p(token | tokens before it) over the sentence and its end token.
  // log_softmax(scores) of tensor/softmax.h gives log-probabilities; x.at({0, 7}) is one number of a tensor.
  // [hint] Start with the beginning {begin_id}. Ask, pick out the number of the token that was said, append the token.
  double sum = 0;
  TokenIds beginning = {begin_id};
  for (const std::int32_t token : said) {
    sum += log_softmax(next({beginning})).at({0, token});
    beginning.push_back(token);
  }
  return sum;
  // [end]
}
// [end show]

// ---- Step 2: the cache ----------------------------------------------------------------------------------------------

Cache make_cache(Size batch, Size heads, Size capacity, Size head_size) {
  const Shape shape{batch, heads, capacity, head_size};
  return {zeros(shape), zeros(shape)};
}

// [show append]
void append(Cache& cache, const Tensor& key, const Tensor& value) {
  const Size capacity = cache.key.extent(2), end = cache.length + key.extent(1);
  if (end > capacity) fail("cache: position ", end - 1, " does not fit into ", capacity);
  // [step 2] Write the new keys and values behind the positions that are there, and remember how many there are now.
  // Views cost nothing: x.slice(dimension, begin, end), x.transpose(a, b). view.copy_from(y) writes y into the view.
  // [hint] The new ones are [B, N, H, D], the cache is [B, H, capacity, D]: which two dimensions change places?
  // [hint] cache.key.slice(2, cache.length, end) is the room for them.
  cache.key.slice(2, cache.length, end).copy_from(key.transpose(1, 2));
  cache.value.slice(2, cache.length, end).copy_from(value.transpose(1, 2));
  cache.length = end;
  // [end]
}
// [end show]

// [show attend]
Tensor attend(const Tensor& query, const Cache& cache) {
  const Size B = query.extent(0), H = query.extent(1), D = query.extent(2);
  const Size capacity = cache.key.extent(2), length = cache.length;
  if (length == 0) fail("attend: there is nothing in the cache to look at");
  const float* asking = query.data<float>();    // [B, H, D]
  const float* keys = cache.key.data<float>();  // [B, H, capacity, D]
  const float* values = cache.value.data<float>();
  Tensor result = zeros({B, H, D});
  float* results = result.data<float>();
  // [step 2] For each sentence and head: scores with the keys so far, their softmax, and the weighted sum of values.
  // [hint] With i = b * H + h the query begins at asking + i * D, and key s at keys + (i * capacity + s) * D.
  // [hint] softmax: subtract the largest score before exp, and divide by the sum of the exps.
  // [hint] Only `length` positions count. Behind them, up to the capacity, is room that nobody has written yet.
  std::vector<float> weights(static_cast<std::size_t>(length));
  for (Size i = 0; i < B * H; ++i) {
    for (Size s = 0; s < length; ++s) {
      float dot = 0;
      for (Size d = 0; d < D; ++d) dot += asking[i * D + d] * keys[(i * capacity + s) * D + d];
      weights[static_cast<std::size_t>(s)] = dot / std::sqrt(static_cast<float>(D));
    }
    const float largest = *std::max_element(weights.begin(), weights.end());
    float sum = 0;
    for (float& weight : weights) sum += weight = std::exp(weight - largest);
    for (Size s = 0; s < length; ++s)
      for (Size d = 0; d < D; ++d)
        results[i * D + d] += weights[static_cast<std::size_t>(s)] / sum * values[(i * capacity + s) * D + d];
  }
  // [end]
  return result;
}
// [end show]

// ---- Step 3: a decoder with caches ----------------------------------------------------------------------------------

// [show start]
CachedState start(const Transformer& model, const EncodedSources& sources, Size capacity) {
  if (model.config().norm != NormPlacement::post) fail("lesson 7: only post-norm models are decoded here");
  const NoGradient no_gradient;
  CachedState state;
  for (const DecoderLayer& layer : model.decoder()) {
    state.self.push_back(make_cache(sources.memory.extent(0), layer.self.mode.heads, capacity, layer.self.head_size()));
    state.cross.push_back(layer.cross.keys_values(sources.memory));  // of the source: once for the whole sentence
  }
  state.source_lengths = sources.lengths;
  return state;
}
// [end show]

// [show layer_step]
Variable layer_step(const DecoderLayer& layer, const Variable& x, Cache& self, const KeysValues& cross,
                    const Mask& cross_mask) {
  Variable attended;  // [B, 1, C]
  // [step 3] Self-attention of the new position: first its key and value go into the cache, then its query looks.
  // layer.self.queries(x) is [B, 1, H, D]; layer.self.keys_values(x) has .key and .value of the same shape;
  // layer.self.output(...) is the last projection W_O, from [B, 1, H D] to [B, 1, C].
  // .value() of a Variable is its Tensor; Variable(tensor) makes a constant of a Tensor.
  // [hint] append() before attend(): a position also looks at itself.
  // [hint] attend() takes [B, H, D] and gives [B, H, D]: .reshape(...) before and after.
  const Size B = x.extent(0), H = layer.self.mode.heads, D = layer.self.head_size();
  const KeysValues next = layer.self.keys_values(x);
  append(self, next.key.value(), next.value.value());
  const Tensor heads = attend(layer.self.queries(x).value().reshape({B, H, D}), self);
  attended = layer.self.output(Variable(heads.reshape({B, 1, H * D})));
  // [end]
  const Variable y = layer.self_norm(attended, x);
  const Variable z = layer.cross_norm(layer.cross.attend(y, cross, cross_mask), y);
  return layer.feed_forward_norm(layer.feed_forward(z), z);
}
// [end show]

// [show step]
Tensor step(const Transformer& model, const std::vector<std::int32_t>& tokens, CachedState& state) {
  const NoGradient no_gradient;
  const Size B = static_cast<Size>(tokens.size());
  const Tensor newest = from_values(tokens, {B, 1});
  const double scale = std::sqrt(static_cast<double>(model.config().d_model));
  const Variable table(model.embedding_table()), positions(model.positions());
  Variable x;  // [B, 1, C]
  // [step 3] Send one position through the decoder: embed it where it stands, then layer after layer.
  // embedding(newest, table, scale, positions, first_position) of autograd/functions.h is [B, 1, C]; first_position
  // says which row of `positions` the token gets. The mask of cross-attention: {state.source_lengths, any_order}.
  // [hint] The newest token stands at position state.length, counted from 0.
  // [hint] Layer i has its own state.self[i] and state.cross[i]. At the end state.length grows by one.
  x = embedding(newest, table, scale, positions, state.length);
  for (std::size_t i = 0; i < model.decoder().size(); ++i)
    x = layer_step(model.decoder()[i], x, state.self[i], state.cross[i], {state.source_lengths, any_order});
  ++state.length;
  // [end]
  return model.logits(x).value().reshape({B, model.config().vocabulary});
}
// [end show]

// [show scores_from_scratch]
Tensor scores_from_scratch(const Transformer& model, const EncodedSources& sources,
                           const std::vector<TokenIds>& beginnings) {
  const NoGradient no_gradient;
  Dropout none = Dropout::none();
  const Tensor tokens = pad(beginnings, Device::cpu).tokens;                       // [B, T]
  const Variable x = model.decode(tokens, sources.memory, sources.lengths, none);  // [B, T, C]
  return model.logits(slice(x, 1, x.extent(1) - 1, x.extent(1)))
      .value()
      .reshape({tokens.extent(0), model.config().vocabulary});
}
// [end show]

// [show work_of_step]
Work work_of_step(Size t, Caching caching) {
  // [step 3] Count the positions that step t sends through the layers, and the pairs of query and key it multiplies.
  // A causal mask is taken to save its half: a query is multiplied only with the keys that it may see.
  // [hint] Without a cache t positions go through, and position number i = 1 .. t sees i keys.
  // [hint] With a cache only the newest position goes through. How many keys does it see?
  if (caching == Caching::on) return {.positions = 1, .pairs = t};
  return {.positions = t, .pairs = t * (t + 1) / 2};
  // [end]
}
// [end show]

// ---- Step 4: beam search --------------------------------------------------------------------------------------------

// [show best_candidates]
std::vector<Candidate> best_candidates(const std::vector<Hypothesis>& live, const Tensor& log_probabilities,
                                       Size count) {
  const Size V = log_probabilities.extent(1);
  std::vector<Candidate> all;
  // [step 4] Collect every continuation of every live hypothesis, and keep the `count` likeliest of all, best first.
  // [hint] A probability of a whole sentence is a product: its logarithm is the sum of parent and new token.
  // [hint] Hypotheses compete with each other: one sort over all rows, not one for each row.
  // [hint] std::partial_sort(begin, middle, end, better). Equal ones: std::tie(parent, token) < std::tie(...).
  for (std::size_t parent = 0; parent < live.size(); ++parent)
    for (Size token = 0; token < V; ++token)
      all.push_back({live[parent].log_probability + log_probabilities.at({static_cast<Size>(parent), token}),
                     static_cast<Size>(parent), static_cast<std::int32_t>(token)});
  const auto better = [](const Candidate& a, const Candidate& b) {
    if (a.log_probability != b.log_probability) return a.log_probability > b.log_probability;
    return std::tie(a.parent, a.token) < std::tie(b.parent, b.token);
  };
  const auto kept = std::min(all.size(), static_cast<std::size_t>(count));
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept), all.end(), better);
  all.resize(kept);
  // [end]
  return all;
}
// [end show]

// [show penalized]
double penalized(double log_probability, Size length, double alpha) {
  // [step 4] Divide by the length penalty of Wu et al. 2016, ((5 + length) / 6)^alpha.
  // [hint] std::pow(base, exponent). 5 + length is an integer, and integers divide without a remainder.
  return log_probability / std::pow((5.0 + static_cast<double>(length)) / 6.0, alpha);
  // [end]
}
// [end show]

// [show advance]
std::vector<Size> advance(Search& search, const std::vector<Candidate>& candidates, Size beam) {
  std::vector<Hypothesis> next;
  std::vector<Size> parents;
  // [step 4] Go through the candidates, the best first, and sort them into finished hypotheses and those that live on.
  // [hint] A new hypothesis: the tokens of search.live[parent], and the candidate's log_probability.
  // [hint] The end token is not written into `tokens`. It finishes a hypothesis at rank < beam but not later.
  // [hint] Stop when next.size() has reached beam.
  const auto places = static_cast<std::size_t>(beam);
  for (std::size_t rank = 0; rank < candidates.size() && next.size() < places; ++rank) {
    const Candidate& candidate = candidates[rank];
    Hypothesis hypothesis{search.live[static_cast<std::size_t>(candidate.parent)].tokens, candidate.log_probability};
    if (candidate.token == end_id) {
      if (rank < places) search.finished.push_back(hypothesis);
      continue;
    }
    hypothesis.tokens.push_back(candidate.token);
    next.push_back(hypothesis);
    parents.push_back(candidate.parent);
  }
  // [end]
  search.live = next;
  return parents;
}
// [end show]

// [show beam_search]
Hypothesis beam_search(const NextScores& next, const Reorder& reorder, const BeamOptions& options) {
  Search search;
  const auto enough = static_cast<std::size_t>(options.beam);
  for (Size length = 0; length < options.limit && search.finished.size() < enough; ++length) {
    std::vector<TokenIds> beginnings;
    for (const Hypothesis& hypothesis : search.live) {
      beginnings.push_back({begin_id});
      beginnings.back().insert(beginnings.back().end(), hypothesis.tokens.begin(), hypothesis.tokens.end());
    }
    const Tensor log_probabilities = log_softmax(next(beginnings));  // [live, V]
    const std::vector<Candidate> candidates = best_candidates(search.live, log_probabilities, 2 * options.beam);
    const std::vector<Size> parents = advance(search, candidates, options.beam);
    if (parents.empty()) fail("beam search: no hypothesis lives on");
    reorder(parents);
  }
  if (search.finished.size() < enough)  // no room to end properly: take what there is
    search.finished.insert(search.finished.end(), search.live.begin(), search.live.end());
  const auto worth = [&](const Hypothesis& hypothesis) {
    return penalized(hypothesis.log_probability, static_cast<Size>(hypothesis.tokens.size()) + 1, options.alpha);
  };
  return *std::max_element(search.finished.begin(), search.finished.end(),
                           [&](const Hypothesis& a, const Hypothesis& b) { return worth(a) < worth(b); });
}
// [end show]

// ---- Step 5: caches that follow their hypotheses --------------------------------------------------------------------

// [show select]
Cache select(const Cache& cache, const std::vector<Size>& rows) {
  Cache result =
      make_cache(static_cast<Size>(rows.size()), cache.key.extent(1), cache.key.extent(2), cache.key.extent(3));
  // [step 5] Fill row r of the new cache with what row rows[r] of the old one holds so far.
  // [hint] One row is x.slice(0, r, r + 1); its positions in use are .slice(2, 0, length) of that.
  // [hint] Keys, values, and the length.
  const auto held = [&](const Tensor& x, Size row) { return x.slice(0, row, row + 1).slice(2, 0, cache.length); };
  for (Size r = 0; r < static_cast<Size>(rows.size()); ++r) {
    const Size from = rows[static_cast<std::size_t>(r)];
    held(result.key, r).copy_from(held(cache.key, from));
    held(result.value, r).copy_from(held(cache.value, from));
  }
  result.length = cache.length;
  // [end]
  return result;
}

void select(CachedState& state, const std::vector<Size>& rows) {
  const std::vector<std::int32_t> list(rows.begin(), rows.end());
  const Tensor index = from_values(list, {static_cast<Size>(list.size())});  // int32 [rows]
  // [step 5] Everything that belongs to a row moves: self-attention caches, keys and values of the source, its length.
  // gather_rows(x, index) of tensor/embedding.h gives the rows of x [B, ...] in another order. It takes a Tensor; .key
  // and .value of state.cross are Variables: see step 3.
  // [hint] For each layer: state.self[i] = select(state.self[i], rows), and the key and value of state.cross[i].
  for (Cache& cache : state.self) cache = select(cache, rows);
  for (KeysValues& cross : state.cross)
    cross = {Variable(gather_rows(cross.key.value(), index)), Variable(gather_rows(cross.value.value(), index))};
  state.source_lengths = gather_rows(state.source_lengths, index);
  // [end]
}
// [end show]

}  // namespace headshare::lesson
