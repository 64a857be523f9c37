#include "core/text/toy/lexicon.h"

namespace headshare::toy {

namespace {

constexpr Gender m = Gender::masculine;
constexpr Gender f = Gender::feminine;
constexpr Gender n = Gender::neuter;

constexpr Noun noun_table[] = {
    {"man", "men", "Mann", "Männer", m, person | grown | nobodys},
    {"woman", "women", "Frau", "Frauen", f, person | grown | nobodys},
    {"child", "children", "Kind", "Kinder", n, person},
    {"boy", "boys", "Junge", "Jungen", m, person | nobodys, "Jungen"},
    {"girl", "girls", "Mädchen", "Mädchen", n, person | nobodys},
    {"friend", "friends", "Freund", "Freunde", m, person | grown},
    {"teacher", "teachers", "Lehrer", "Lehrer", m, person | grown},
    {"doctor", "doctors", "Arzt", "Ärzte", m, person | grown},
    {"sister", "sisters", "Schwester", "Schwestern", f, person | grown},
    {"brother", "brothers", "Bruder", "Brüder", m, person | grown},
    {"aunt", "aunts", "Tante", "Tanten", f, person | grown},
    {"neighbour", "neighbours", "Nachbar", "Nachbarn", m, person | grown, "Nachbarn"},
    {"dog", "dogs", "Hund", "Hunde", m, animal},
    {"cat", "cats", "Katze", "Katzen", f, animal},
    {"horse", "horses", "Pferd", "Pferde", n, animal},
    {"bird", "birds", "Vogel", "Vögel", m, animal},
    {"cow", "cows", "Kuh", "Kühe", f, animal},
    {"book", "books", "Buch", "Bücher", n, thing | readable | written | small_thing},
    {"letter", "letters", "Brief", "Briefe", m, thing | readable | written | small_thing},
    {"newspaper", "newspapers", "Zeitung", "Zeitungen", f, thing | readable | small_thing},
    {"picture", "pictures", "Bild", "Bilder", n, thing | small_thing},
    {"car", "cars", "Auto", "Autos", n, thing | washable | landmark},
    {"bicycle", "bicycles", "Fahrrad", "Fahrräder", n, thing | washable},
    {"apple", "apples", "Apfel", "Äpfel", m, food | washable | small_thing},
    {"egg", "eggs", "Ei", "Eier", n, food | small_thing},
    {"pear", "pears", "Birne", "Birnen", f, food | washable | small_thing},
    {"coat", "coats", "Mantel", "Mäntel", m, thing | washable | small_thing},
    {"shirt", "shirts", "Hemd", "Hemden", n, thing | washable | small_thing},
    {"key", "keys", "Schlüssel", "Schlüssel", m, thing | small_thing},
    {"flower", "flowers", "Blume", "Blumen", f, thing | small_thing},
    {"lamp", "lamps", "Lampe", "Lampen", f, thing | standing | landmark},
    {"table", "tables", "Tisch", "Tische", m, thing | standing | surface | landmark},
    {"chair", "chairs", "Stuhl", "Stühle", m, thing | standing | surface | landmark},
    {"box", "boxes", "Kiste", "Kisten", f, thing | standing | container | landmark | openable},
    {"door", "doors", "Tür", "Türen", f, landmark | openable},
    {"window", "windows", "Fenster", "Fenster", n, landmark | openable},
};

constexpr Adjective adjective_table[] = {
    {"big", "groß", living | thing | food | landmark | location},
    {"small", "klein", living | thing | food | landmark | location},
    {"old", "alt", living | thing | landmark | location},
    {"new", "neu", thing | landmark | location},
    {"beautiful", "schön", animal | thing | landmark | location},
    {"red", "rot", thing | food | landmark},
    {"green", "grün", thing | food | landmark},
    {"blue", "blau", thing | landmark},
    {"black", "schwarz", animal | thing | landmark},
    {"white", "weiß", animal | thing | landmark},
    {"cheap", "billig", thing | food},
    {"good", "gut", food | readable},
    {"young", "jung", animal | grown},
    {"clever", "klug", living},
    {"hungry", "hungrig", living},
    {"friendly", "freundlich", person},
};

constexpr Auxiliary haben = Auxiliary::haben;
constexpr Auxiliary sein = Auxiliary::sein;
constexpr Kinds wares = thing | food;

constexpr Verb verb_table[] = {
    {"see", "sees", "saw", "", "sehe", "sieht", "sehen", "", "gesehen", haben, Frame::transitive, living,
     living | wares, Manner::none},
    {"buy", "buys", "bought", "", "kaufe", "kauft", "kaufen", "", "gekauft", haben, Frame::transitive, person,
     animal | wares, Manner::none},
    {"sell", "sells", "sold", "", "verkaufe", "verkauft", "verkaufen", "", "verkauft", haben, Frame::transitive, person,
     animal | wares, Manner::none},
    {"look for", "looks for", "looked for", "", "suche", "sucht", "suchen", "", "gesucht", haben, Frame::transitive,
     living, living | wares, Manner::none},
    {"find", "finds", "found", "", "finde", "findet", "finden", "", "gefunden", haben, Frame::transitive, living,
     living | wares, Manner::none},
    {"eat", "eats", "ate", "", "esse", "isst", "essen", "", "gegessen", haben, Frame::transitive, living, food,
     Manner::none},
    {"read", "reads", "read", "", "lese", "liest", "lesen", "", "gelesen", haben, Frame::transitive, person, readable,
     Manner::none},
    {"write", "writes", "wrote", "", "schreibe", "schreibt", "schreiben", "", "geschrieben", haben, Frame::transitive,
     person, written, Manner::none},
    {"carry", "carries", "carried", "", "trage", "trägt", "tragen", "", "getragen", haben, Frame::transitive, person,
     small_thing | standing, Manner::none},
    {"wash", "washes", "washed", "", "wasche", "wäscht", "waschen", "", "gewaschen", haben, Frame::transitive, person,
     washable | animal, Manner::none},
    {"visit", "visits", "visited", "", "besuche", "besucht", "besuchen", "", "besucht", haben, Frame::transitive,
     person, person, Manner::none},
    {"open", "opens", "opened", "", "mache", "macht", "machen", "auf", "aufgemacht", haben, Frame::transitive, person,
     openable, Manner::none},
    {"close", "closes", "closed", "", "mache", "macht", "machen", "zu", "zugemacht", haben, Frame::transitive, person,
     openable, Manner::none},
    {"call", "calls", "called", "", "rufe", "ruft", "rufen", "an", "angerufen", haben, Frame::transitive, person,
     person, Manner::none},
    {"pick", "picks", "picked", "up", "hole", "holt", "holen", "ab", "abgeholt", haben, Frame::transitive, person,
     person, Manner::none},
    {"invite", "invites", "invited", "", "lade", "lädt", "laden", "ein", "eingeladen", haben, Frame::transitive, person,
     person, Manner::none},
    {"help", "helps", "helped", "", "helfe", "hilft", "helfen", "", "geholfen", haben, Frame::dative, person, living,
     Manner::none},
    {"thank", "thanks", "thanked", "", "danke", "dankt", "danken", "", "gedankt", haben, Frame::dative, person, person,
     Manner::none},
    {"answer", "answers", "answered", "", "antworte", "antwortet", "antworten", "", "geantwortet", haben, Frame::dative,
     person, person, Manner::none},
    {"give", "gives", "gave", "", "gebe", "gibt", "geben", "", "gegeben", haben, Frame::giving, person, wares,
     Manner::none},
    {"show", "shows", "showed", "", "zeige", "zeigt", "zeigen", "", "gezeigt", haben, Frame::giving, person,
     animal | wares, Manner::none},
    {"lay", "lays", "laid", "", "lege", "legt", "legen", "", "gelegt", haben, Frame::laying, person, small_thing,
     Manner::none},
    {"sleep", "sleeps", "slept", "", "schlafe", "schläft", "schlafen", "", "geschlafen", haben, Frame::intransitive,
     living, 0, Manner::none},
    {"work", "works", "worked", "", "arbeite", "arbeitet", "arbeiten", "", "gearbeitet", haben, Frame::intransitive,
     person, 0, Manner::company},
    {"sing", "sings", "sang", "", "singe", "singt", "singen", "", "gesungen", haben, Frame::intransitive, person, 0,
     Manner::company},
    {"wait", "waits", "waited", "", "warte", "wartet", "warten", "", "gewartet", haben, Frame::intransitive, living, 0,
     Manner::none},
    {"play", "plays", "played", "", "spiele", "spielt", "spielen", "", "gespielt", haben, Frame::intransitive, living,
     0, Manner::company},
    {"go shopping", "goes shopping", "went shopping", "", "kaufe", "kauft", "kaufen", "ein", "eingekauft", haben,
     Frame::intransitive, person, 0, Manner::company},
    {"arrive", "arrives", "arrived", "", "komme", "kommt", "kommen", "an", "angekommen", sein, Frame::intransitive,
     person, 0, Manner::none},
    {"get up", "gets up", "got up", "", "stehe", "steht", "stehen", "auf", "aufgestanden", sein, Frame::routine, living,
     0, Manner::none},
    {"go", "goes", "went", "", "gehe", "geht", "gehen", "", "gegangen", sein, Frame::motion, person, 0,
     Manner::company},
    {"run", "runs", "ran", "", "laufe", "läuft", "laufen", "", "gelaufen", sein, Frame::motion, living, 0,
     Manner::pace},
    {"travel", "travels", "travelled", "", "fahre", "fährt", "fahren", "", "gefahren", sein, Frame::motion, person, 0,
     Manner::vehicle},
};

constexpr Modal modal_table[] = {
    {"can", "can", "cannot", "cannot", "kann", "kann", "können"},
    {"must", "must", "", "", "muss", "muss", "müssen"},
    {"may", "may", "", "", "darf", "darf", "dürfen"},
    {"should", "should", "should not", "should not", "sollte", "sollte", "sollten"},
    {"want to", "wants to", "do not want to", "does not want to", "will", "will", "wollen"},
    {"will", "will", "will not", "will not", "werde", "wird", "werden"},
};

constexpr Case accusative = Case::accusative;
constexpr Case dative = Case::dative;
constexpr Place place_table[] = {
    {{"garden", "gardens", "Garten", "Gärten", m, location}, "in", "in", "into", "in", accusative, true},
    {{"kitchen", "kitchens", "Küche", "Küchen", f, location}, "in", "in", "into", "in", accusative, true},
    {{"house", "houses", "Haus", "Häuser", n, location}, "in", "in", "into", "in", accusative, true},
    {{"park", "parks", "Park", "Parks", m, location}, "in", "in", "to", "in", accusative, false},
    {{"museum", "museums", "Museum", "Museen", n, location}, "in", "in", "to", "in", accusative, false},
    {{"city", "cities", "Stadt", "Städte", f, location}, "in", "in", "to", "in", accusative, false},
    {{"school", "schools", "Schule", "Schulen", f, location}, "in", "in", "to", "zu", dative, false},
    {{"church", "churches", "Kirche", "Kirchen", f, location}, "in", "in", "to", "zu", dative, false},
    {{"station", "stations", "Bahnhof", "Bahnhöfe", m, location}, "at", "an", "to", "zu", dative, false},
    {{"lake", "lakes", "See", "Seen", m, location}, "at", "an", "to", "zu", dative, false},
    {{"market", "markets", "Markt", "Märkte", m, location}, "at", "auf", "to", "zu", dative, false},
};

constexpr SpatialPreposition spatial_table[] = {
    {"on", "auf", surface},         {"under", "unter", surface},    {"in", "in", container},
    {"next to", "neben", landmark}, {"behind", "hinter", landmark}, {"in front of", "vor", landmark},
};

constexpr Pronoun pronoun_table[] = {
    {"I", "me", "ich", "mich", "mir", 1, false},      {"he", "him", "er", "ihn", "ihm", 3, false},
    {"she", "her", "sie", "sie", "ihr", 3, false},    {"we", "us", "wir", "uns", "uns", 1, true},
    {"they", "them", "sie", "sie", "ihnen", 3, true},
};

constexpr Determiner::Declension ein_word = Determiner::Declension::ein;
constexpr Determiner possessive_table[] = {
    {"my", "my", "mein", ein_word},    {"his", "his", "sein", ein_word},    {"her", "her", "ihr", ein_word},
    {"our", "our", "unser", ein_word}, {"their", "their", "ihr", ein_word},
};

}  // namespace

namespace determiner {
const Determiner the{"the", "the", "der", Determiner::Declension::der};
const Determiner this_one{"this", "these", "dies", Determiner::Declension::dieser};
const Determiner a{"a", "", "ein", ein_word};
const Determiner no{"a", "any", "kein", ein_word};
std::span<const Determiner> possessives() { return possessive_table; }
}  // namespace determiner

std::span<const Noun> nouns() { return noun_table; }
std::span<const Adjective> adjectives() { return adjective_table; }
std::span<const Verb> verbs() { return verb_table; }
std::span<const Modal> modals() { return modal_table; }
std::span<const Place> places() { return place_table; }
std::span<const SpatialPreposition> spatial_prepositions() { return spatial_table; }
std::span<const Pronoun> pronouns() { return pronoun_table; }

}  // namespace headshare::toy
