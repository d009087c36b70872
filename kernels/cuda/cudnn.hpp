// cuDNN behind a CUDA stream: single convolutions, each with the fastest of several engines.
// StreamOptions::engines is how many are timed; with 1 nothing is timed or kept on disk: the first
// that can be built, in the order of cuDNN's heuristics, is taken.
#pragma once

#include <cudnn_graph.h>

#include <map>
#include <memory>
#include <string>

#include "kernels/cuda/conv_problem.hpp"
#include "kernels/cuda/plan_cache.hpp"
#include "kernels/runtime/cuda_stream.hpp"

namespace passnorm {

/// For PASSNORM_CALL. What cuDNN says of its last error is one line of the message.
void check_call(cudnnStatus_t status, const char* call, const char* file, int line);

namespace kernels {

/// Device memory, aligned to 16 bytes.
struct ConvOperands {
  const void* first;         ///< x, dy or x
  const void* second;        ///< w, w or dy
  const float* bias;         ///< where the problem has one
  void* result;              ///< y, dx or dw
  float* sum = nullptr;      ///< of y, where the problem has sums
  float* squares = nullptr;  ///< of y, likewise
};

struct ConvPlan {
  std::shared_ptr<void> graph;
  int64_t index = 0;        ///< of the engine among the graph's
  int64_t workspace = 0;    ///< bytes
  double milliseconds = 0;  ///< when it was chosen; 0 where it was not timed
};

class Cudnn {
 public:
  /// Opens the library: Error(kMachine) where that fails.
  explicit Cudnn(CudaStream& stream);
  ~Cudnn();
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;

  /// The problem's plan, or null where no engine offers it: then the stream's notes tell so at
  /// first use, with what is done `instead` (null: nothing is told). At first use engines are timed
  /// with these operands, whose result is overwritten, unless the plan cache knows the fastest;
  /// that cannot be recorded (Error kBug).
  const ConvPlan* plan(const ConvProblem& problem, const ConvOperands& operands,
                       const char* instead);
  /// The same; Error(kMachine) where no engine offers it.
  const ConvPlan& require(const ConvProblem& problem, const ConvOperands& operands);
  /// The plan's time (0 where it was not timed), infinite where there is no plan. What the plan
  /// cache knows is not built, which takes seconds for engines that are compiled then.
  double milliseconds(const ConvProblem& problem, const ConvOperands& operands,
                      const char* instead);
  void run(const ConvPlan& plan, const ConvOperands& operands);

 private:
  struct Entry {
    std::unique_ptr<ConvPlan> plan;
    std::string why_none;
  };
  Entry make(const ConvProblem& problem, const ConvOperands& operands);
  /// One line: problem, library, reason.
  std::string why_none(const ConvProblem& problem) const;

  CudaStream& stream_;
  cudnnHandle_t handle_ = nullptr;
  PlanCache cache_;
  std::map<std::string, Entry> plans_;  ///< by the problem's name
};

}  // namespace kernels
}  // namespace passnorm
