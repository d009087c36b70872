#include "kernels/cuda/cudnn.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <set>
#include <sstream>

#include "kernels/convolution_plans.hpp"
#include "kernels/cuda/check.hpp"
#include "kernels/cuda/conv_graph.hpp"
#include "kernels/cuda/pad.hpp"
#include "kernels/cuda/workspace.hpp"
#include "kernels/runtime/trace.hpp"

namespace passnorm::kernels {
namespace {

using Operation = ConvProblem::Operation;

/// The time that building engines to be timed may take: some are compiled when they are built.
constexpr std::chrono::seconds kPatience{3};
constexpr int kRepetitions = 5;
/// In the plan cache: the engine's name with its knobs, and its time.
struct Choice {
  std::string engine;
  double milliseconds = 0;
};

std::string text_of(const Choice& c) { return concat(c.engine, " ", c.milliseconds); }

std::optional<Choice> parse(const std::string& text) {
  Choice c;
  std::istringstream in(text);
  in >> c.engine >> c.milliseconds;
  return in && in.peek() == EOF ? std::optional(c) : std::nullopt;
}

/// Memory outside the pool, which would keep it: what the timed engines ask for, once.
class TimingWorkspace {
 public:
  ~TimingWorkspace() { cudaFree(data_); }
  /// Null when there is no such memory.
  void* at_least(int64_t bytes) {
    if (bytes <= bytes_) return data_;
    cudaFree(data_);
    data_ = nullptr, bytes_ = 0;
    if (cudaMalloc(&data_, static_cast<size_t>(bytes)) != cudaSuccess) {
      cudaGetLastError();
      data_ = nullptr;
      return nullptr;
    }
    bytes_ = bytes;
    return data_;
  }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

/// The least time of some runs; nothing where the engine fails.
std::optional<double> time(CudaStream& stream, cudnnHandle_t handle, const ConvGraph& graph,
                           int64_t index, const ConvOperands& operands, void* workspace) {
  if (graph.run(handle, index, operands, workspace).is_bad()) return {};
  struct Event {
    void* event = CudaStream::make_event();
    ~Event() { CudaStream::destroy_event(event); }
  } begin, end;
  double least = INFINITY;
  for (int i = 0; i < kRepetitions; ++i) {
    stream.record_event(begin.event);
    if (graph.run(handle, index, operands, workspace).is_bad()) return {};
    stream.record_event(end.event);
    least = std::min(least, CudaStream::milliseconds_between(begin.event, end.event));
  }
  return least;
}

std::string identity(const CudaStream& stream) {
  cudaDeviceProp p;
  PASSNORM_CALL(cudaGetDeviceProperties(&p, stream.device().index));
  return concat("cudnn ", fe::detail::get_backend_version(), " on ", p.name, ", sm_", p.major,
                p.minor, ", ", p.multiProcessorCount, " multiprocessors");
}

std::filesystem::path cache_file(std::string identity) {
  for (char& c : identity)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '-';
  const auto folder = PlanCache::folder();
  return folder.empty() ? folder : folder / ("plans-" + identity + ".txt");
}

bool capturing(const CudaStream& stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  PASSNORM_CALL(cudaStreamIsCapturing(static_cast<cudaStream_t>(stream.handle()), &status));
  return status != cudaStreamCaptureStatusNone;
}

}  // namespace

Cudnn::Cudnn(CudaStream& stream)
    : stream_(stream),
      handle_([&] {
        cudnn_library();
        PASSNORM_CALL(cudaSetDevice(stream.device().index));  // the handle's
        cudnnHandle_t handle = nullptr;
        PASSNORM_CALL(fe::detail::create_handle(&handle));
        return handle;
      }()),
      cache_(stream.engines() > 1 ? cache_file(identity(stream)) : std::filesystem::path(),
             identity(stream)) {
  PASSNORM_CALL(fe::detail::set_stream(handle_, static_cast<cudaStream_t>(stream.handle())));
}

Cudnn::~Cudnn() {
  plans_.clear();
  fe::detail::destroy_handle(handle_);
}

Cudnn::Entry Cudnn::make(const ConvProblem& problem, const ConvOperands& operands) {
  const trace::Range range("choose a convolution");
  const std::string key = problem.name();
  const auto entry = [&](std::shared_ptr<ConvGraph> graph, int64_t index, double milliseconds) {
    const int64_t workspace = graph->get_workspace_size_plan_at_index(index);
    return Entry{std::make_unique<ConvPlan>(std::move(graph), index, workspace, milliseconds), {}};
  };
  std::shared_ptr<ConvGraph> graph = conv_graph(problem);
  if (const auto status = graph->validate(); status.is_bad()) return {nullptr, one_line(status)};
  if (const auto status = graph->build_operation_graph(handle_); status.is_bad())
    return {nullptr, one_line(status)};
  if (const auto status = graph->list_engines(problem.type); status.is_bad())
    return {nullptr, one_line(status)};
  const std::optional<std::string> line = cache_.find(key);
  if (const auto known = line ? parse(*line) : std::nullopt)
    for (int64_t i = 0; i < graph->get_execution_plan_count(); ++i)
      if (graph->engine_name(i) == known->engine && graph->build_plan_at_index(i).is_good())
        return entry(graph, i, known->milliseconds);

  const int most = stream_.engines();
  TimingWorkspace workspace;
  std::set<std::string> seen;  // both lists of the heuristics may name an engine
  std::string why = "none of its engines may be used";
  int64_t fastest = -1;
  double milliseconds = INFINITY;
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0, built = 0; i < graph->get_execution_plan_count() && built < most; ++i) {
    if (fastest >= 0 && std::chrono::steady_clock::now() - start > kPatience) break;
    if (!seen.insert(graph->engine_name(i)).second) continue;
    if (const auto status = graph->build_plan_at_index(i); status.is_bad()) {
      why = one_line(status);
      continue;
    }
    if (most == 1) return entry(graph, i, 0);
    ++built;
    const int64_t bytes = graph->get_workspace_size_plan_at_index(i);
    void* const memory = workspace.at_least(bytes);
    if (bytes > 0 && memory == nullptr) continue;
    const auto needed = time(stream_, handle_, *graph, i, operands, memory);
    if (needed && *needed < milliseconds) fastest = i, milliseconds = *needed;
  }
  if (fastest < 0) return {nullptr, why};
  graph->keep_only(fastest);
  const std::string choice = text_of({graph->engine_name(fastest), milliseconds});
  cache_.store(key, choice);
  return entry(graph, fastest, parse(choice)->milliseconds);  // rounded, as later processes read it
}

std::string Cudnn::why_none(const ConvProblem& problem) const {
  return concat(problem.name(), ": ", cudnn_version(), " in ", cudnn_library().file(),
                " offers no engine: ", plans_.at(problem.name()).why_none);
}

const ConvPlan* Cudnn::plan(const ConvProblem& problem, const ConvOperands& operands,
                            const char* instead) {
  auto it = plans_.find(problem.name());
  if (it == plans_.end()) {
    PASSNORM_CHECK(!capturing(stream_), problem.name(), " is used for the first time");
    try {
      it = plans_.emplace(problem.name(), make(problem, operands)).first;
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {  // the frontend's own
      fail(Fault::kMachine, problem.name(), ": ", cudnn_version(), ": ", one_line(error.what()));
    }
    if (!it->second.plan && instead != nullptr)
      stream_.notes().push_back(concat(why_none(problem), "; instead ", instead));
  }
  return it->second.plan.get();
}

const ConvPlan& Cudnn::require(const ConvProblem& problem, const ConvOperands& operands) {
  if (const ConvPlan* const found = plan(problem, operands, nullptr)) return *found;
  fail(Fault::kMachine, why_none(problem),
       "; another --precision or another version of cuDNN may have one");
}

double Cudnn::milliseconds(const ConvProblem& problem, const ConvOperands& operands,
                           const char* instead) {
  if (!plans_.contains(problem.name()))
    if (const auto line = cache_.find(problem.name()))
      if (const auto known = parse(*line)) return known->milliseconds;
  const ConvPlan* const found = plan(problem, operands, instead);
  return found != nullptr ? found->milliseconds : INFINITY;
}

void Cudnn::run(const ConvPlan& plan, const ConvOperands& operands) {
  const Workspace workspace(stream_, plan.workspace);
  PASSNORM_CALL(static_cast<const ConvGraph*>(plan.graph.get())
                    ->run(handle_, plan.index, operands, workspace.data()));
}

std::vector<PlanReport> check_plans(const std::string& properties,
                                    std::span<const ConvGeometry> geometries, DType type) {
  cudnn_library();
  const auto device = std::make_shared<fe::DeviceProperties>();
  if (const auto status = device->deserialize({properties.begin(), properties.end()});
      status.is_bad())
    fail(Fault::kInput, "device properties: ", cudnn_version(), ": ", one_line(status));
  std::vector<PlanReport> reports;
  const auto report = [&](const ConvProblem& problem, const char* operation) {
    PlanReport r{.operation = operation,
                 .geometry = problem.geometry,
                 .type = problem.type,
                 .result = problem.result};
    const auto graph = conv_graph(problem);
    graph->set_device_properties(device);
    auto status = graph->validate();
    if (status.is_good()) status = graph->build_operation_graph();
    if (status.is_good()) status = graph->list_engines(problem.type);
    if (status.is_good()) {
      r.offered = static_cast<int>(graph->get_execution_plan_count());
      for (int64_t i = 0; i < r.offered && r.engine.empty(); ++i) {
        status = graph->build_plan_at_index(i);
        if (status.is_bad()) continue;
        r.workspace = graph->get_workspace_size_plan_at_index(i);
        r.engine = graph->engine_name(i);
        r.tensor_cores = graph->notes(i, fe::NumericalNote_t::TENSOR_CORE);
      }
    }
    if (r.engine.empty()) r.why_none = one_line(status);
    reports.push_back(std::move(r));
  };
  for (const ConvGeometry& geometry : geometries) {
    const ConvGeometry g = padded(geometry, type);
    report({Operation::kForward, g, type, type}, "forward");
    report({Operation::kForward, g, type, type, true, true}, "forward, bias and relu");
    report({.operation = Operation::kForward,
            .geometry = g,
            .type = type,
            .result = type,
            .sums = true},
           "forward, sums");
    report({Operation::kBackwardData, g, type, type}, "backward-data");
    report({Operation::kBackwardWeight, g, type, DType::kF32}, "backward-weight");
    if (type != DType::kF32) report({Operation::kBackwardWeight, g, type, type}, "backward-weight");
  }
  return reports;
}

}  // namespace passnorm::kernels
