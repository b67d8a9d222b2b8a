#pragma once

#include "engine/memory/job_monitor.h"

namespace msa::engine {

class PatientMonitor : public JobMonitor {
 public:
  void Progress(const JobProgress& progress) override { last_ = progress; }
  bool IsCancelled() const override { return false; }
  const JobProgress& last() const { return last_; }

 private:
  JobProgress last_;
};

class CancellingMonitor : public JobMonitor {
 public:
  void Progress(const JobProgress&) override {}
  bool IsCancelled() const override { return true; }
};

}  // namespace msa::engine
