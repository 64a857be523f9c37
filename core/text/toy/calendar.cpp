#include "core/text/toy/calendar.h"

#include "core/error.h"
#include "core/text/toy_language.h"

namespace headshare {

namespace toy {

const std::array<MinuteForm, 12>& minute_forms() {
  static constexpr std::array<MinuteForm, 12> forms = {{{"o'clock", "Uhr", 0, 0},
                                                        {"five past", "fünf nach", 0, 0},
                                                        {"ten past", "zehn nach", 0, 0},
                                                        {"a quarter past", "Viertel nach", 0, 0},
                                                        {"twenty past", "zwanzig nach", 0, 0},
                                                        {"twenty-five past", "fünf vor halb", 0, 1},
                                                        {"half past", "halb", 0, 1},
                                                        {"twenty-five to", "fünf nach halb", 1, 1},
                                                        {"twenty to", "zwanzig vor", 1, 1},
                                                        {"a quarter to", "Viertel vor", 1, 1},
                                                        {"ten to", "zehn vor", 1, 1},
                                                        {"five to", "fünf vor", 1, 1}}};
  return forms;
}

Size hours_later(Size hour, Size hours) { return (hour + hours - 1) % 12 + 1; }

const std::array<Word, 7>& weekdays() {
  static constexpr std::array<Word, 7> days = {{{"Monday", "Montag"},
                                                {"Tuesday", "Dienstag"},
                                                {"Wednesday", "Mittwoch"},
                                                {"Thursday", "Donnerstag"},
                                                {"Friday", "Freitag"},
                                                {"Saturday", "Samstag"},
                                                {"Sunday", "Sonntag"}}};
  return days;
}

const std::array<Word, 12>& months() {
  static constexpr std::array<Word, 12> names = {{{"January", "Januar"},
                                                  {"February", "Februar"},
                                                  {"March", "März"},
                                                  {"April", "April"},
                                                  {"May", "Mai"},
                                                  {"June", "Juni"},
                                                  {"July", "Juli"},
                                                  {"August", "August"},
                                                  {"September", "September"},
                                                  {"October", "Oktober"},
                                                  {"November", "November"},
                                                  {"December", "Dezember"}}};
  return names;
}

Size days_in_month(Size month) {
  if (month == 2) return 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

Bilingual date_after_preposition(Size day, Size month) {
  const Word& name = months()[static_cast<std::size_t>(month - 1)];
  return {join({"the", english_ordinal(day), "of", name.english}), join({german_ordinal(day) + "n", name.german})};
}

}  // namespace toy

namespace {

const toy::MinuteForm& minute_form(std::string_view who, Size hour, Size minute) {
  if (hour < 1 || hour > 12 || minute < 0 || minute > 55 || minute % 5 != 0) {
    fail(who, ": ", hour, ":", minute < 10 && minute >= 0 ? "0" : "", minute,
         " cannot be said, needed are an hour from 1 to 12 and a minute from 0 to 55 that is a multiple of 5");
  }
  return toy::minute_forms()[static_cast<std::size_t>(minute / 5)];
}

void check_date(std::string_view who, Size day, Size month) {
  if (month < 1 || month > 12) fail(who, ": there is no month ", month, ", needed is a month from 1 to 12");
  const Size days = month == 2 ? 29 : toy::days_in_month(month);
  if (day < 1 || day > days) {
    fail(who, ": ", toy::months()[static_cast<std::size_t>(month - 1)].english, " has no day ", day,
         ", needed is a day from 1 to ", days);
  }
}

}  // namespace

std::string english_time(Size hour, Size minute) {
  const toy::MinuteForm& form = minute_form("english_time", hour, minute);
  const std::string spoken = english_number(toy::hours_later(hour, form.english_hours_ahead));
  return minute == 0 ? toy::join({spoken, form.english}) : toy::join({form.english, spoken});
}

std::string german_time(Size hour, Size minute) {
  const toy::MinuteForm& form = minute_form("german_time", hour, minute);
  const Size spoken = toy::hours_later(hour, form.german_hours_ahead);
  if (minute == 0) return toy::join({spoken == 1 ? "ein" : german_number(spoken), form.german});  // ein Uhr
  return toy::join({form.german, german_number(spoken)});                                         // halb eins
}

std::string english_date(Size day, Size month) {
  check_date("english_date", day, month);
  return toy::date_after_preposition(day, month).english;
}

std::string german_date(Size day, Size month) {
  check_date("german_date", day, month);
  return toy::join({"der", german_ordinal(day), toy::months()[static_cast<std::size_t>(month - 1)].german});
}

}  // namespace headshare
