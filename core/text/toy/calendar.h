#pragma once

#include <array>
#include <string>

#include "core/size.h"
#include "core/text/toy/phrase.h"

// Clock, weekdays and months in both languages.
namespace headshare::toy {

// The words around the hour for every five minutes: "half past" with German "halb", which names the coming hour.
struct MinuteForm {
  std::string_view english, german;
  Size english_hours_ahead, german_hours_ahead;
};
const std::array<MinuteForm, 12>& minute_forms();
Size hours_later(Size hour, Size hours);  // on a twelve-hour clock

const std::array<Word, 7>& weekdays();
const std::array<Word, 12>& months();
Size days_in_month(Size month);  // 1 to 12, in a year that is not a leap year

// "the third of May" - "dritten Mai", what follows "am" and "dem".
Bilingual date_after_preposition(Size day, Size month);

}  // namespace headshare::toy
