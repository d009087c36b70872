// A convolution as a graph of cuDNN's frontend, and the engines that offer to compute it. Only for
// the sources behind cudnn.hpp: the frontend is large.
#pragma once

#include <memory>
#include <string>

#include "kernels/cuda/cudnn.hpp"
#include "kernels/cuda/library.hpp"

// The frontend calls cuDNN through cudnn_dlhandle, which cudnn_library() sets before anything else.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

namespace passnorm {

namespace fe = cudnn_frontend;

/// For PASSNORM_CALL.
void check_call(const fe::error_t& status, const char* call, const char* file, int line);

namespace kernels {

/// Opened at the first call: Error(kMachine) where there is none, or an old one.
const Library& cudnn_library();
std::string cudnn_version();  ///< of the opened library: "cuDNN 9.14.0"

/// cuDNN's own messages have several lines.
std::string one_line(std::string text);
std::string one_line(fe::error_t status);

/// The frontend's graph, with its engines by their index. Its own way to run one would load a
/// second CUDA runtime beside the program's, to see whether this thread has a context: a thread
/// with a stream has one.
class ConvGraph : public fe::graph::Graph {
 public:
  /// The engines that the heuristics name, the best first, but for those that ConvProblem rules
  /// out; none is built.
  fe::error_t list_engines(DType type);
  std::string engine_name(int64_t index) const;  ///< with its knobs
  /// What the library says of an engine.
  bool notes(int64_t index, fe::NumericalNote_t note) const;
  fe::error_t run(cudnnHandle_t handle, int64_t index, const ConvOperands& operands,
                  void* workspace) const;
  /// Lets go of every built engine but one, with its compiled code.
  void keep_only(int64_t index);
};

/// The problem's, not yet validated.
std::unique_ptr<ConvGraph> conv_graph(const ConvProblem& problem);

}  // namespace kernels
}  // namespace passnorm
