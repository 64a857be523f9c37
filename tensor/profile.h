#pragma once

#include <vector>

#include "core/device.h"
#include "core/size.h"

namespace headshare {

// One run of one kernel. flops and bytes are those of the definition, each input read once and each output written
// once; 0 where the operation did not say.
struct OperationRecord {
  const char* name;
  double start;  // seconds since the profile began
  double seconds;
  double flops;
  double bytes;
};

// While one lives, every operation on tensors of this thread is recorded.
class Profile {
 public:
  Profile();
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  const std::vector<OperationRecord>& records() const { return records_; }
  double seconds() const;  // since it began

 private:
  friend class OperationTimer;
  double began_;
  std::vector<OperationRecord> records_;
};

bool profiling();  // whether a Profile lives

// Says what the operation that is dispatched next will cost.
void note_work(Size flops, Size bytes);

// Lives while a kernel runs. Kernels of Device::cuda run behind the host's back: the timer waits for them, so a
// profiled run is slower than one that is not.
class OperationTimer {
 public:
  OperationTimer(const char* name, Device device);
  ~OperationTimer();
  OperationTimer(const OperationTimer&) = delete;
  OperationTimer& operator=(const OperationTimer&) = delete;

 private:
  const char* name_;  // null: nobody is listening
  Device device_;
  double start_ = 0;
};

}  // namespace headshare
