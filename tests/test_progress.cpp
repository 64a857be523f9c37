#include "core/report/progress.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <sstream>
#include <string>

#include "core/error.h"

using namespace headshare;

namespace {

// A stream to look at and a clock that the test turns itself.
struct Stage {
  std::ostringstream out;
  double now = 1000;

  ProgressOptions options(ProgressOutput output) {
    ProgressOptions made;
    made.unit = "tokens";
    made.out = &out;
    made.output = output;
    made.clock = [this] { return now; };
    return made;
  }
};

}  // namespace

TEST_CASE("durations are shown in at most two units") {
  CHECK(format_duration(0) == "0 s");
  CHECK(format_duration(0.44) == "0.4 s");
  CHECK(format_duration(3) == "3 s");
  CHECK(format_duration(9.96) == "10 s");
  CHECK(format_duration(59.4) == "59 s");
  CHECK(format_duration(59.7) == "1 min 0 s");
  CHECK(format_duration(130) == "2 min 10 s");
  CHECK(format_duration(3599.7) == "1 h 0 min");
  CHECK(format_duration(3 * 3600 + 5 * 60 + 20) == "3 h 5 min");
  CHECK(format_duration(51 * 3600) == "2 d 3 h");
  CHECK(format_duration(86399) == "1 d 0 h");
}

TEST_CASE("a duration that makes no sense is a question mark") {
  CHECK(format_duration(-1) == "?");
  CHECK(format_duration(std::nan("")) == "?");
  CHECK(format_duration(std::numeric_limits<double>::infinity()) == "?");
}

TEST_CASE("numbers get a comma at every third digit") {
  CHECK(with_thousands(0) == "0");
  CHECK(with_thousands(999) == "999");
  CHECK(with_thousands(1000) == "1,000");
  CHECK(with_thousands(1234567) == "1,234,567");
  CHECK(with_thousands(-100) == "-100");
  CHECK(with_thousands(-123456) == "-123,456");
  CHECK(with_thousands(std::numeric_limits<Size>::min()) == "-9,223,372,036,854,775,808");
}

TEST_CASE("outside a terminal plain lines come at most every ten seconds, and a last one") {
  Stage stage;
  Progress progress("train", 40, stage.options(ProgressOutput::plain));
  for (Size step = 1; step <= 40; ++step) {
    stage.now += 0.5;
    progress.update(step, step * 200, "loss 3.214");
  }
  progress.finish();
  progress.finish();
  CHECK(stage.out.str() ==
        "train  step 20/40  loss 3.214  400 tokens/s  10 s left\n"
        "train  step 40/40  loss 3.214  400 tokens/s  0 s left\n"
        "train  step 40/40  loss 3.214  400 tokens/s  took 20 s\n");
}

TEST_CASE("the rate and the time left come from the recent past, the last line from the whole job") {
  Stage stage;
  Progress progress("train", 200, stage.options(ProgressOutput::plain));
  for (Size step = 1; step <= 10; ++step) {  // slow: 10 s and 100 tokens each
    stage.now += 10;
    progress.update(step, step * 100);
  }
  for (Size step = 11; step <= 110; ++step) {  // fast: 1 s and 100 tokens each
    stage.now += 1;
    progress.update(step, step * 100);
  }
  const std::string shown = stage.out.str();
  CHECK(shown.find("train  step 10/200  10.0 tokens/s  31 min 40 s left\n") != std::string::npos);
  CHECK(shown.find("train  step 110/200  100 tokens/s  1 min 30 s left\n") != std::string::npos);
  progress.finish();
  CHECK(stage.out.str().substr(shown.size()) == "train  step 110/200  55.0 tokens/s  took 3 min 20 s\n");
}

TEST_CASE("a step that takes longer than the window still has a rate") {
  Stage stage;
  Progress progress("train", 3, stage.options(ProgressOutput::plain));
  stage.now += 60;
  progress.update(1, 600);
  stage.now += 40;
  progress.update(2, 1400);
  CHECK(stage.out.str() ==
        "train  step 1/3  10.0 tokens/s  2 min 0 s left\n"
        "train  step 2/3  20.0 tokens/s  40 s left\n");
}

TEST_CASE("steps that were done before a resume do not make the rate look faster") {
  Stage stage;
  ProgressOptions options = stage.options(ProgressOutput::plain);
  options.unit = "steps";
  options.first_step = 1000;
  Progress progress("train", 2000, options);
  stage.now += 10;
  progress.update(1005);
  CHECK(stage.out.str() == "train  step 1005/2000  0.50 steps/s  33 min 10 s left\n");
}

TEST_CASE("a job of unknown length shows no time left") {
  Stage stage;
  Progress progress("read", 0, stage.options(ProgressOutput::plain));
  stage.now += 10;
  progress.update(7, 70);
  CHECK(stage.out.str() == "read  step 7  7.00 tokens/s\n");
}

TEST_CASE("a job that goes back to an earlier step measures anew") {
  Stage stage;
  Progress progress("train", 100, stage.options(ProgressOutput::plain));
  stage.now += 10;
  progress.update(50, 5000);
  stage.now += 10;
  progress.update(20, 2000);
  stage.now += 10;
  progress.update(30, 3000);
  CHECK(stage.out.str() ==
        "train  step 50/100  500 tokens/s  10 s left\n"
        "train  step 20/100\n"
        "train  step 30/100  100 tokens/s  1 min 10 s left\n");
}

TEST_CASE("on a terminal one line is rewritten, cleared to its end, and not drawn faster than the eye") {
  Stage stage;
  ProgressOptions options = stage.options(ProgressOutput::terminal);
  options.width = 100;
  Progress progress("train", 4, options);
  stage.now += 1;
  progress.update(1, 500);
  stage.now += 0.05;
  progress.update(2, 510);  // too soon
  stage.now += 0.95;
  progress.update(3, 1000);
  progress.finish();
  CHECK(stage.out.str() ==
        "\rtrain  step 1/4  500 tokens/s  3 s left\x1b[K"
        "\rtrain  step 3/4  500 tokens/s  1 s left\x1b[K"
        "\rtrain  step 3/4  500 tokens/s  took 2 s\x1b[K\n");
}

TEST_CASE("a line that is too long for the terminal is cut between letters") {
  Stage stage;
  ProgressOptions options = stage.options(ProgressOutput::terminal);
  options.width = 12;
  Progress progress("Übungsstück", 4, options);
  stage.now += 1;
  progress.update(1, 500);
  CHECK(stage.out.str() == "\rÜbungsstück\x1b[K");
  options.width = 8;
  stage.out.str("");
  {
    Progress narrow("Übungsstück", 4, options);
    narrow.update(1, 500);
    CHECK(stage.out.str() == "\rÜbungss\x1b[K");
  }
  CHECK(stage.out.str() == "\rÜbungss\x1b[K\n");  // an unfinished line is ended, for whatever is printed next
}

TEST_CASE("a note is a line of its own and the progress line comes back after it") {
  Stage stage;
  ProgressOptions options = stage.options(ProgressOutput::terminal);
  Progress progress("train", 4, options);
  progress.note("before");
  progress.update(1, 0);
  progress.note("saved run/model.safetensors");
  progress.update(2, 0);
  CHECK(stage.out.str() ==
        "before\n"
        "\rtrain  step 1/4\x1b[K"
        "\r\x1b[Ksaved run/model.safetensors\n"
        "\rtrain  step 2/4\x1b[K");
}

TEST_CASE("a negative number of steps is an error") {
  CHECK_THROWS_WITH_AS(Progress("train", -1), "progress of train: -1 steps in all; give 0 when it is not known", Error);
}
