#pragma once

#include <cxxopts.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/element_type.h"
#include "core/error.h"
#include "nn/precision.h"

namespace headshare::cli {

using Words = std::vector<std::string>;  // what was typed after the command's name

// One subcommand of `headshare`; each lives in a file of its name.
struct Command {
  std::string name;
  std::string summary;  // one line
  std::function<void(const Words&)> run;
};

Command data_command();
Command train_command();
Command uptrain_command();
Command convert_command();
Command translate_command();
Command evaluate_command();
Command benchmark_command();
Command profile_command();
Command inspect_command();
Command devices_command();
Command trace_command();
Command demo_command();
Command lab_command();
Command tutor_command();

// The options of one subcommand, with --help that ends in an example.
class CommandLine {
 public:
  // positional: names of the words without dashes, as the help shows them: "RUN". The last may end in "...": any number
  // of words, none included, for all_words.
  CommandLine(const std::string& name, const std::string& summary, const std::string& example,
              const std::vector<std::string>& positional = {});

  cxxopts::OptionAdder options() { return options_.add_options(); }

  // Nothing when --help was asked for and has been printed. Throws UsageError on an unknown option, a bad value, a
  // positional word too many or too few.
  std::optional<cxxopts::ParseResult> parse(const Words& words);

 private:
  cxxopts::Options options_;
  std::string name_;
  std::string example_;
  std::vector<std::string> positional_;
};

// A command that is a family of others, such as `headshare lab decode`. Without a word after its name it prints them as
// a table: `shows` heads its second column.
Command family_of_commands(const std::string& name, const std::string& summary, const std::string& shows,
                           const std::vector<Command>& members, const std::string& example);

// The words of a positional "RUN...", by its name without the dots.
std::vector<std::string> all_words(const cxxopts::ParseResult& arguments, const std::string& positional);

// The value of an option that must be given.
std::string required(const cxxopts::ParseResult& arguments, const std::string& option, const std::string& command);

// --threads N, where a command offers it: how many processor cores the kernels use.
void use_threads(const cxxopts::ParseResult& arguments);

// --device cpu|cuda, where a command offers it: where models live and kernels run, until the program ends.
void use_device(const cxxopts::ParseResult& arguments);

// --precision fp32|tf32|bf16, where a command offers it: what the model computes in; `otherwise` where it was not
// given. Fails where the device cannot.
void add_precision(CommandLine& line);
Precision precision(const cxxopts::ParseResult& arguments, Precision otherwise = Precision::fp32);

// A line per device: what this machine and this build offer.
std::string describe_devices();

// --cache f32|bf16|int8, where a command offers it: how decoding stores keys and values. Nothing when it was not given.
std::optional<ElementType> cache_type(const cxxopts::ParseResult& arguments);

}  // namespace headshare::cli
