#pragma once

#include "core/text/bleu.h"
#include "nn/decoding.h"

namespace headshare {

// How well a model translates a corpus. Shares lie between 0 and 1, BLEU and chrF between 0 and 100.
struct Evaluation {
  double exact_match;
  double token_accuracy;
  double bleu;
  BootstrapInterval bleu_interval;  // 95 %
  double chrf;
  double nll;         // per target token, of the references
  double cached_nll;  // the same, decoded position by position from a cache; only where options say its type, else nll
  Size left_out;      // references longer than the model's positions, which nll does not count
  std::string bleu_signature;
  std::string chrf_signature;
  double seconds;  // spent translating
  std::vector<std::string> translations;
};

struct EvaluationOptions {
  DecodingOptions decoding = {};
  bool lower_case = false;  // compare without regard to case; the signature says so
};

// NLL per target token of the references, decoded position by position from caches of this type: what the cache costs
// in quality. With a cache of the model's own type it is validation_nll.
double cached_nll(const Decoder& decoder, const EncodedCorpus& corpus, ElementType cache_type);

Evaluation evaluate(const Transformer& model, const Tokenizer& tokenizer, const Corpus& test,
                    const EvaluationOptions& options = {});

}  // namespace headshare
