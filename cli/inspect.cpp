#include "cli/command.h"
namespace headshare::cli {
Command inspect_command() {
  return {"inspect", "soon", [](const Words&) {}};
}
}  // namespace headshare::cli
