#pragma once

#include <deque>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>

#include "core/size.h"

namespace headshare {

// "0.4 s", "12 s", "2 min 10 s", "3 h 5 min", "2 d 3 h": two units at most. "?" when it is negative or not finite.
std::string format_duration(double seconds);

// 1234567 becomes "1,234,567".
std::string with_thousands(Size number);

// with_decimals(3.14159, 2) is "3.14".
std::string with_decimals(double number, int decimals);

// Where the progress goes. `detect` asks the system whether std::cerr or std::cout is a terminal; any other stream is
// not one.
enum class ProgressOutput { detect, terminal, plain };

struct ProgressOptions {
  std::string unit = "steps";   // what the rate counts: "tokens" shows "5,320 tokens/s"
  Size first_step = 0;          // steps that were done before, when a run is resumed: they cost no time now
  double seconds_between = 10;  // plain output: at most one line in this time
  double window_seconds = 30;   // the rate and the time left come from this much of the recent past
  std::ostream* out = nullptr;  // nullptr: std::cerr, so that standard output stays free for results
  ProgressOutput output = ProgressOutput::detect;
  Size width = 0;                   // columns of the terminal; 0: ask it
  std::function<double()> clock{};  // seconds that only grow; empty: the system's steady clock
};

// The progress line of a long job:
//
//   train  step 120/2000  loss 3.214  5,320 tokens/s  2 min 10 s left
//
// On a terminal one line is rewritten in place; elsewhere (a file, a pipe) plain lines come at most every
// `seconds_between` seconds. `finish` writes the last line with the mean rate and the time the whole job took.
//
//   Progress progress("train", steps, {.unit = "tokens"});
//   for (Size step = 1; step <= steps; ++step) progress.update(step, tokens_done, text("loss ", loss));
//   progress.finish();
class Progress {
 public:
  // total_steps = 0: how long the job takes is not known. Fails when it is negative.
  Progress(std::string name, Size total_steps, ProgressOptions options = {});
  // Ends an unfinished line, so that an error message starts on its own.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `step` steps are done, and `units_done` units since this object was made. `detail` is shown after the step.
  void update(Size step, Size units_done, std::string_view detail = {});
  // Without units: they are the steps done since `first_step`.
  void update(Size step, std::string_view detail = {});

  // Prints a whole line of its own above the progress line.
  void note(std::string_view line);

  // Prints the last line. Calling it again does nothing.
  void finish();

 private:
  struct Sample {
    double time;
    Size step, units;
  };

  void remember(const Sample& now);
  std::string line_for(const Sample& from, const Sample& to, std::string_view ending) const;
  void draw(const std::string& line);

  std::string name_;
  Size total_steps_;
  ProgressOptions options_;
  std::ostream* out_;
  bool on_terminal_;
  std::string detail_;
  std::deque<Sample> window_;
  Sample first_, last_;
  double last_shown_;
  bool line_is_open_ = false;  // the cursor stands at the end of a progress line
  bool finished_ = false;
};

}  // namespace headshare
