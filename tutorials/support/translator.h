#pragma once

#include "core/text/toy_language.h"
#include "nn/run.h"

// The small translator, toy English to German, that lessons 6, 7 and 9 share: eight query heads, each with its
// own keys and values, two layers, 790,528 parameters.
namespace headshare::lesson {

struct Translator {
  Transformer model;
  Tokenizer tokenizer;
};

// The translator in the folder `translator/` of the current directory. Where there is none, trains one first (about a
// minute on two cores, with a line of progress on the standard error stream) and saves it there, whole or not at all.
// Greedy decoding translates about 98 of 100 sentences of translator_language().test without a mistake.
Translator toy_translator();

// Where it is saved: a run's folder as `headshare train` makes it, so the command reads it too:
//   echo "The old dog sleeps." | headshare translate translator
// translator_run().training() holds the optimizer's moments, for those who go on training.
RunPaths translator_run();

// What it was trained and tested on: the sentences of the toy language with at most seven English words.
ToyLanguage translator_language();

// What it was made with.
Tokenizer translator_tokenizer(const ToyLanguage& language);
TransformerConfig translator_config(Size vocabulary);
Recipe translator_recipe();

}  // namespace headshare::lesson
