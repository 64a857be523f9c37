#include <unistd.h>

#include <filesystem>

#include "cli/command.h"

namespace headshare::cli {

// Its kernels are compiled differently, so it is a program of its own, beside this one.
Command trace_command() {
  return {"trace", "Run one CUDA kernel on the simulated device and report every memory access",
          [](const Words& words) {
            std::error_code problem;
            const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", problem);
            const std::string program = (self.parent_path() / "headshare_trace").string();
            if (problem || !std::filesystem::exists(program))
              fail("trace: there is no ", program, "; build it: cmake --build ", self.parent_path().string(),
                   " --target headshare_trace (for the simulated device, with GCC on Linux)");
            std::vector<const char*> arguments = {program.c_str()};
            for (const std::string& word : words) arguments.push_back(word.c_str());
            arguments.push_back(nullptr);
            execv(program.c_str(), const_cast<char**>(arguments.data()));  // returns only when it could not
            fail("trace: cannot start ", program);
          }};
}

}  // namespace headshare::cli
