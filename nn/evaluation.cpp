#include "nn/evaluation.h"

#include <chrono>

#include "core/text/accuracy.h"
#include "core/text/chrf.h"
#include "nn/training.h"

namespace headshare {

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
  return result;
}

}  // namespace headshare
