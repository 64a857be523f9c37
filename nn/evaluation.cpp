#include "nn/evaluation.h"

#include <chrono>

#include "core/text/accuracy.h"
#include "core/text/chrf.h"
#include "nn/training.h"
#include "tensor/reduce.h"
#include "tensor/softmax.h"

namespace headshare {

double cached_nll(const Decoder& decoder, const EncodedCorpus& corpus, ElementType cache_type) {
  const NoGradient no_gradient;
  const Transformer& model = decoder.model();
  Dropout dropout = Dropout::none();
  double nll = 0;
  Size tokens = 0;
  for (const std::vector<Size>& members : plan_in_order(corpus, 4096)) {
    const Batch batch = make_batch(corpus.pairs, members, model.options().device);
    const Size rows = batch.target_input.extent(0), T = batch.target_input.extent(1);
    const Variable memory = model.encode(batch.source.tokens, batch.source.lengths, dropout);
    DecoderState state = decoder.start(memory, batch.source.lengths, {T, 1, cache_type});
    const Tensor wanted = batch.target_output.reshape({rows, T});
    for (Size t = 0; t < T; ++t) {
      const auto column = [t, rows](const Tensor& x) { return x.slice(1, t, t + 1).contiguous().reshape({rows}); };
      const Tensor logits = decoder.step(column(batch.target_input), state);
      nll += sum(cross_entropy(logits, column(wanted), 0).nll).item();
    }
    tokens += batch.target_tokens;
  }
  return nll / static_cast<double>(tokens);
}

Evaluation evaluate(const Transformer& model, const Tokenizer& tokenizer, const Corpus& test,
                    const EvaluationOptions& options) {
  if (test.pairs.empty()) fail("evaluate: the test corpus is empty");
  std::vector<std::string> sources, targets;
  for (const SentencePair& pair : test.pairs) {
    sources.push_back(pair.source);
    targets.push_back(pair.target);
  }
  Evaluation result{};
  const auto start = std::chrono::steady_clock::now();
  result.translations = translate(model, tokenizer, sources, options.decoding);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const Hypotheses hypotheses{result.translations};
  const References references = one_reference(targets);
  const BleuOptions bleu_options{.lower_case = options.lower_case};
  const std::vector<BleuStatistics> segments = bleu_statistics(hypotheses, references, bleu_options);
  BleuStatistics sum;
  for (const BleuStatistics& segment : segments) sum += segment;
  result.bleu = bleu_of(sum, bleu_options).score;
  result.bleu_interval = bootstrap_interval(segments, bleu_options);
  result.bleu_signature = bleu_signature(references, bleu_options);
  const ChrfOptions chrf_options{.lower_case = options.lower_case};
  result.chrf = corpus_chrf(hypotheses, references, chrf_options);
  result.chrf_signature = chrf_signature(references, chrf_options);
  result.exact_match = exact_match(hypotheses, references);
  result.token_accuracy = token_accuracy(hypotheses, references);
  const EncodedCorpus encoded = encode(test, tokenizer, model.config().max_length);
  result.left_out = encoded.too_long;
  result.nll = validation_nll(model, encoded);
  const std::optional<ElementType> cache_type = options.decoding.cache_type;
  result.cached_nll = cache_type ? cached_nll(model, encoded, *cache_type) : result.nll;
  return result;
}

}  // namespace headshare
