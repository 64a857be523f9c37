#include "tensor/profile.h"

#include <chrono>

#include "core/error.h"
#include "tensor/storage.h"

namespace headshare {
namespace {

thread_local Profile* current = nullptr;
thread_local int depth = 0;  // an operation made of operations counts once, as itself
thread_local double next_flops = 0, next_bytes = 0;

// A destructor must not throw: what a kernel met, the next operation that waits will say.
void finish(Device device) {
  try {
    wait_for(device);
  } catch (const Error&) {
  }
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Profile::Profile() : began_(now()) {
  if (current != nullptr) fail("profile: there is one already");
  current = this;
}
Profile::~Profile() { current = nullptr; }

double Profile::seconds() const { return now() - began_; }

bool profiling() { return current != nullptr; }

void note_work(Size flops, Size bytes) {
  next_flops = static_cast<double>(flops);
  next_bytes = static_cast<double>(bytes);
}

OperationTimer::OperationTimer(const char* name, Device device)
    : name_(current != nullptr && depth == 0 ? name : nullptr), device_(device) {
  ++depth;
  if (name_ != nullptr) start_ = now();
}

OperationTimer::~OperationTimer() {
  --depth;
  if (name_ == nullptr || current == nullptr) return;
  finish(device_);
  current->records_.push_back({name_, start_ - current->began_, now() - start_, next_flops, next_bytes});
  note_work(0, 0);
}

}  // namespace headshare
