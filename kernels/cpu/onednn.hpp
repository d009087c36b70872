// oneDNN behind a CPU stream: primitives made once per shape, with the reorders and the memory that
// they need around them.
#pragma once

#include <omp.h>

#include <dnnl.hpp>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/runtime/stream.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm::kernels {

/// While it lives, oneDNN on this host thread uses the stream's number of threads. oneDNN reads
/// that number when a primitive is created and again when it runs, and wants both to be the same.
class ThreadScope {
 public:
  explicit ThreadScope(const CpuStream& stream) : before_(omp_get_max_threads()) {
    omp_set_num_threads(stream.threads());
  }
  ~ThreadScope() { omp_set_num_threads(before_); }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

/// One operand of a primitive: the caller's layout, the layout the primitive wants, and how the two
/// meet.
struct Operand {
  enum class Role { kInput, kOutput, kAccumulate };
  int argument;               ///< DNNL_ARG_*
  Role role;                  ///< kAccumulate: the result is added to the caller's buffer
  dnnl::memory::desc given;   ///< the caller's
  dnnl::memory::desc wanted;  ///< the primitive's
};

/// A primitive with its operands; where given and wanted differ, a reorder through the stream's
/// memory stands between.
class Plan {
 public:
  struct Data {
    int argument;  ///< DNNL_ARG_*
    void* data;
  };

  /// scratchpad: of a primitive made with a user-managed scratchpad.
  Plan(const dnnl::engine& engine, dnnl::primitive primitive, const dnnl::memory::desc& scratchpad,
       const std::vector<Operand>& operands);

  /// data: the caller's buffer of every operand.
  void run(CpuStream& stream, std::initializer_list<Data> data);

 private:
  struct Port {
    int argument;
    dnnl::memory given;
    dnnl::memory wanted;  // empty where the caller's layout is the primitive's
    dnnl::reorder reorder;
    bool is_input;
    size_t offset;  // of `wanted` in the workspace
  };
  dnnl::primitive primitive_;
  std::vector<Port> ports_;
  dnnl::memory scratchpad_;
  size_t scratchpad_offset_ = 0;
  size_t workspace_ = 0;  // bytes
};

dnnl::memory::data_type dnnl_type(DType dtype);

/// True for oneDNN's unoptimised implementations, which are hundreds of times slower and must never
/// be used.
bool is_reference(const std::string& implementation);

}  // namespace passnorm::kernels

namespace passnorm {

struct CpuStream::Vendor {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<std::vector<int64_t>, std::unique_ptr<kernels::Plan>>
      plans;  ///< by operation, sizes and types
};

}  // namespace passnorm
