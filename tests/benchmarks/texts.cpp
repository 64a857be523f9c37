#include "core/error.h"
#include "core/measure.h"
#include "core/text/tokenizer.h"
#include "core/text/toy_language.h"
#include "tests/benchmarks/benchmark.h"

namespace headshare::benchmarks {

std::vector<Row> benchmark_texts() {
  const Corpus corpus = make_toy_language({}).train;
  double bytes = 0;
  for (const SentencePair& pair : corpus.pairs) bytes += static_cast<double>(pair.source.size() + pair.target.size());
  const std::string size = text(corpus.size(), " pairs");
  return {{"toy language, made", size, median_seconds([] { make_toy_language({}); }), 0, bytes},
          {"byte pairs, learned", size, median_seconds([&] { learn_byte_pairs(corpus); }), 0, bytes}};
}

}  // namespace headshare::benchmarks
