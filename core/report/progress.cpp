#include "core/report/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "core/report/text_width.h"

namespace headshare {
namespace {

// Faster than this no eye follows, and drawing must not cost the job anything.
constexpr double seconds_between_redraws = 0.1;

constexpr Size usual_terminal_width = 80;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int descriptor_of(const std::ostream* out) {
  return out == &std::cerr ? STDERR_FILENO : out == &std::cout ? STDOUT_FILENO : -1;
}

bool is_terminal(const std::ostream* out, ProgressOutput output) {
  if (output != ProgressOutput::detect) return output == ProgressOutput::terminal;
  const int descriptor = descriptor_of(out);
  return descriptor >= 0 && ::isatty(descriptor) == 1;
}

// Asked again for every line: the user may change the size of the window at any time.
Size terminal_width(const std::ostream* out, Size wanted) {
  if (wanted > 0) return wanted;
  winsize size{};
  const int descriptor = descriptor_of(out);
  if (descriptor >= 0 && ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return usual_terminal_width;
}

// Three digits are enough to compare two rates.
std::string format_rate(double per_second) {
  if (per_second >= 100) return with_thousands(std::llround(per_second));
  char digits[32];
  std::snprintf(digits, sizeof digits, per_second >= 10 ? "%.1f" : "%.2f", per_second);
  return digits;
}

}  // namespace

std::string with_decimals(double number, int decimals) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(decimals) << number;
  return std::move(out).str();
}

std::string with_thousands(Size number) {
  std::string digits = std::to_string(number);
  const Size first_digit = number < 0 ? 1 : 0;
  for (Size at = static_cast<Size>(digits.size()) - 3; at > first_digit; at -= 3)
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  return digits;
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const double tenths = std::round(seconds * 10);
  if (tenths < 100 && std::fmod(tenths, 10) != 0) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.1f s", tenths / 10);
    return digits;
  }
  // Rounded once, before the units are split: 59.7 s is "1 min 0 s", never "60 s".
  if (const Size whole = std::llround(seconds); whole < 3600)
    return whole < 60 ? text(whole, " s") : text(whole / 60, " min ", whole % 60, " s");
  if (const Size minutes = std::llround(seconds / 60); minutes < 24 * 60)
    return text(minutes / 60, " h ", minutes % 60, " min");
  const Size hours = std::llround(seconds / 3600);
  return text(with_thousands(hours / 24), " d ", hours % 24, " h");
}

Progress::Progress(std::string name, Size total_steps, ProgressOptions options)
    : name_(std::move(name)),
      total_steps_(total_steps),
      options_(std::move(options)),
      out_(options_.out != nullptr ? options_.out : &std::cerr),
      on_terminal_(is_terminal(out_, options_.output)) {
  if (total_steps < 0) fail("progress of ", name_, ": ", total_steps, " steps in all; give 0 when it is not known");
  if (!options_.clock) options_.clock = steady_seconds;
  first_ = last_ = {options_.clock(), options_.first_step, 0};
  window_ = {first_};
  last_shown_ = on_terminal_ ? first_.time - seconds_between_redraws : first_.time;
}

Progress::~Progress() {
  if (line_is_open_) *out_ << '\n' << std::flush;
}

void Progress::update(Size step, std::string_view detail) { update(step, step - options_.first_step, detail); }

void Progress::update(Size step, Size units_done, std::string_view detail) {
  last_ = {options_.clock(), step, units_done};
  detail_ = detail;
  remember(last_);
  const double wait = on_terminal_ ? seconds_between_redraws : options_.seconds_between;
  if (last_.time - last_shown_ < wait) return;
  last_shown_ = last_.time;

  const Sample& from = window_.front();
  const double seconds_per_step = (last_.time - from.time) / static_cast<double>(last_.step - from.step);
  const double left = seconds_per_step * static_cast<double>(total_steps_ - last_.step);
  // Whole seconds: a countdown with tenths flickers and promises more than it knows.
  const bool known = total_steps_ > 0 && last_.time > from.time && std::isfinite(left) && left >= 0;
  draw(line_for(from, last_, known ? format_duration(std::round(left)) + " left" : ""));
}

// Keeps samples some distance apart, so that a job with thousands of steps per second does not fill the memory, and
// drops those that are older than the window. One sample at or before its beginning stays: the rate covers all of it.
void Progress::remember(const Sample& now) {
  const Sample& newest = window_.back();
  if (now.step < newest.step || now.units < newest.units) {
    window_ = {now};  // The job started again from an earlier step: what was measured before says nothing now.
    return;
  }
  if (now.time - newest.time >= options_.window_seconds / 64) window_.push_back(now);
  while (window_.size() > 1 && window_[1].time <= now.time - options_.window_seconds) window_.pop_front();
}

std::string Progress::line_for(const Sample& from, const Sample& to, std::string_view ending) const {
  std::string line = text(name_, "  step ", to.step);
  if (total_steps_ > 0) line += text('/', total_steps_);
  if (!detail_.empty()) line += text("  ", detail_);
  const double seconds = to.time - from.time;
  if (seconds > 0 && to.units > from.units)
    line += text("  ", format_rate(static_cast<double>(to.units - from.units) / seconds), ' ', options_.unit, "/s");
  if (!ending.empty()) line += text("  ", ending);
  return line;
}

void Progress::draw(const std::string& line) {
  if (!on_terminal_) {
    *out_ << line << '\n' << std::flush;
    return;
  }
  // One column stays free: many terminals go to the next line as soon as the last one is written, and \r cannot
  // come back from there. \x1b[K clears what a longer line left behind.
  *out_ << '\r' << cut_text(line, terminal_width(out_, options_.width) - 1) << "\x1b[K" << std::flush;
  line_is_open_ = true;
}

void Progress::note(std::string_view line) {
  if (!line_is_open_) {
    *out_ << line << '\n' << std::flush;
    return;
  }
  *out_ << "\r\x1b[K" << line << '\n';
  line_is_open_ = false;
  last_shown_ = last_.time - seconds_between_redraws;  // the next update draws again
  *out_ << std::flush;
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  const Sample end{options_.clock(), last_.step, last_.units};
  draw(line_for(first_, end, "took " + format_duration(end.time - first_.time)));
  if (on_terminal_) *out_ << '\n' << std::flush;
  line_is_open_ = false;
}

}  // namespace headshare
