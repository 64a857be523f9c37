#include "cli/command.h"

#include <omp.h>

#include <iostream>

#include "core/device.h"
#include "core/report/table.h"
#include "core/size.h"
#include "kernels/device_memory.h"

namespace headshare::cli {

CommandLine::CommandLine(const std::string& name, const std::string& summary, const std::string& example,
                         const std::vector<std::string>& positional)
    : options_("headshare " + name, summary), name_(name), example_(example), positional_(positional) {
  std::string shown;
  std::vector<std::string> order;
  for (const std::string& word : positional_) {
    shown += (shown.empty() ? "" : " ") + word;
    order.push_back(word.substr(0, word.find('.')));
    if (word.ends_with("..."))
      options_.add_options("positional")(order.back(), "", cxxopts::value<std::vector<std::string>>());
    else
      options_.add_options("positional")(word, "", cxxopts::value<std::string>());
  }
  options_.add_options("positional")("surplus", "", cxxopts::value<std::vector<std::string>>());
  options_.positional_help(shown);
  order.push_back("surplus");
  options_.parse_positional(order);
  options_.custom_help("[options]");
  options_.add_options()("help", "Show this text");
}

std::optional<cxxopts::ParseResult> CommandLine::parse(const Words& words) {
  std::vector<const char*> arguments = {"headshare"};
  for (const std::string& word : words) arguments.push_back(word.c_str());
  const std::string hint = text("; see: headshare ", name_, " --help");
  try {
    cxxopts::ParseResult result =
        options_.parse(static_cast<int>(arguments.size()), const_cast<char**>(arguments.data()));
    if (result.count("help") > 0) {
      std::cout << options_.help({""}) << "Example:\n" << example_ << '\n';
      return std::nullopt;
    }
    if (result.count("surplus") > 0)
      throw UsageError(
          text(name_, ": '", result["surplus"].as<std::vector<std::string>>()[0], "' is one word too many", hint));
    for (const std::string& word : positional_)
      if (!word.ends_with("...") && result.count(word) == 0)
        throw UsageError(text(name_, ": ", word, " is missing", hint));
    return result;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {  // cxxopts' own; their type changed its name between versions
    throw UsageError(text(name_, ": ", error.what(), hint));
  }
}

Command family_of_commands(const std::string& name, const std::string& summary, const std::string& shows,
                           const std::vector<Command>& members, const std::string& example) {
  return {name, summary, [=](const Words& words) {
            for (const Command& member : members)
              if (!words.empty() && member.name == words[0]) return member.run(Words(words.begin() + 1, words.end()));
            if (!words.empty() && !words[0].starts_with('-'))
              throw UsageError(text(name, ": there is no ", name, " '", words[0], "'; see: headshare ", name));
            if (!words.empty() && CommandLine(name, summary, example).parse(words)) return;
            Table table({{name}, {shows}});
            for (const Command& member : members) table.add_row({member.name, member.summary});
            std::cout << table.plain() << "\nheadshare " << name
                      << " NAME --help shows the options of one, and an example.\n";
          }};
}

std::vector<std::string> all_words(const cxxopts::ParseResult& arguments, const std::string& positional) {
  std::vector<std::string> words;  // not the option's value, which cxxopts cuts at commas
  for (const cxxopts::KeyValue& argument : arguments.arguments())
    if (argument.key() == positional) words.push_back(argument.value());
  return words;
}

std::string required(const cxxopts::ParseResult& arguments, const std::string& option, const std::string& command) {
  if (arguments.count(option) == 0)
    throw UsageError(text(command, ": --", option, " is missing; see: headshare ", command, " --help"));
  return arguments[option].as<std::string>();
}

void use_threads(const cxxopts::ParseResult& arguments) {
  if (arguments.count("threads") == 0) return;
  const Size threads = arguments["threads"].as<Size>();
  if (threads < 1 || threads > 1024) throw UsageError(text("--threads ", threads, " must lie between 1 and 1024"));
  omp_set_num_threads(static_cast<int>(threads));
}

void use_device(const cxxopts::ParseResult& arguments) {
  if (arguments.count("device") == 0) return;
  const std::string word = arguments["device"].as<std::string>();
  if (word != "cpu" && word != "cuda") throw UsageError("--device must be cpu or cuda, not " + word);
  static const DefaultDevice device(parse_device(word));
}

void add_precision(CommandLine& line) {
  line.options()("precision", "What to compute in: fp32; on device cuda also tf32 or bf16",
                 cxxopts::value<std::string>());
}

Precision precision(const cxxopts::ParseResult& arguments, Precision otherwise) {
  Precision wanted = otherwise;
  if (arguments.count("precision") > 0) {
    const std::string word = arguments["precision"].as<std::string>();
    if (word != "fp32" && word != "tf32" && word != "bf16")
      throw UsageError("--precision must be fp32, tf32 or bf16, not " + word);
    wanted = parse_precision(word);
  }
  check(wanted, default_device());
  return wanted;
}

std::string describe_devices() {
  return text("cpu   ", describe_processor(), "\ncuda  ", kernels::describe_cuda(), '\n');
}

std::optional<ElementType> cache_type(const cxxopts::ParseResult& arguments) {
  if (arguments.count("cache") == 0) return {};
  const std::string word = arguments["cache"].as<std::string>();
  if (word == "f32") return ElementType::float32;
  if (word == "bf16") return ElementType::bfloat16;
  if (word == "int8") return ElementType::int8;
  throw UsageError("--cache must be f32, bf16 or int8, not " + word);
}

}  // namespace headshare::cli
