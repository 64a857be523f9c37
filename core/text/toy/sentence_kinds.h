#pragma once

#include "core/text/toy/draw.h"

// The kinds of sentences that are not clauses with a full verb, and what finishes any sentence.
namespace headshare::toy {

Bilingual draw_number_or_date(Draw& draw);  // "twenty-one dogs", "on the third of May", "It is half past three."
Bilingual draw_description(Draw& draw);     // "The dog is old.", "The book lies on the table."

// With a capital at the start and `mark` at the end.
Bilingual sentence(Bilingual words, char mark);

}  // namespace headshare::toy
