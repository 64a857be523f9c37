#include <iostream>

#include "cli/command.h"

namespace headshare::cli {

Command devices_command() {
  const std::string summary = "Say which devices this build and this machine offer";
  return {"devices", summary, [summary](const Words& words) {
            CommandLine line("devices", summary, "  headshare devices");
            if (line.parse(words)) std::cout << describe_devices();
          }};
}

}  // namespace headshare::cli
