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
#include "kernels/cuda/library.hpp"
#include "kernels/cuda/pad.hpp"
#include "kernels/cuda/workspace.hpp"
#include "kernels/runtime/trace.hpp"

// The frontend calls cuDNN through cudnn_dlhandle, which cudnn_library() sets before anything else.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}

namespace passnorm {
namespace {

namespace fe = cudnn_frontend;

const Library& cudnn_library() {
  static const Library library = [] {
    Library opened(Library::kCudnn);
    const size_t version = opened.function<decltype(cudnnGetVersion)>("cudnnGetVersion")();
    if (version < 90200)
      fail(Fault::kMachine, opened.file(), " is cuDNN ", version / 10000, ".", version / 100 % 100,
           "; 9.2 or later is needed: pip install ", Library::kCudnn.package);
    fe::cudnn_dlhandle = opened.handle();
    return opened;
  }();
  return library;
}

std::string version_name() {
  const size_t v = fe::detail::get_backend_version();
  return concat("cuDNN ", v / 10000, ".", v / 100 % 100, ".", v % 100);
}

/// cuDNN's own messages have several lines.
std::string one_line(std::string text) {
  while (!text.empty() && text.back() <= ' ') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::string one_line(fe::error_t status) { return one_line(status.get_message()); }

}  // namespace

static void check_call(const fe::error_t& status, const char* call, const char* file, int line) {
  if (status.is_bad()) [[unlikely]]
    fail(Fault::kMachine, file, ":", line, ": ", call, ": ", version_name(), ": ",
         one_line(status));
}

void check_call(cudnnStatus_t status, const char* call, const char* file, int line) {
  if (status == CUDNN_STATUS_SUCCESS) [[likely]]
    return;
  const Fault fault = status == CUDNN_STATUS_BAD_PARAM ? Fault::kBug : Fault::kMachine;
  fail(fault, file, ":", line, ": ", call, ": ", version_name(), ": ",
       fe::detail::get_error_string(status), ", ", one_line(fe::detail::get_last_error_string_()));
}

namespace kernels {
namespace {

using Operation = ConvProblem::Operation;

/// The time that building engines to be timed may take: some are compiled when they are built.
constexpr std::chrono::seconds kPatience{3};
constexpr int kRepetitions = 5;
/// More than any good engine of the networks here asks for.
constexpr int64_t kMaxWorkspace = int64_t{1} << 30;

enum Uid : int64_t { kFirst = 1, kSecond, kBias, kResult, kSum, kSquares };

/// The frontend's graph. Its own way to run an engine would load a second CUDA runtime beside the
/// program's, to see whether this thread has a context: a thread with a stream has one.
class Graph : public fe::graph::Graph {
 public:
  fe::error_t run(cudnnHandle_t handle, int64_t index, const ConvOperands& o,
                  void* workspace) const {
    std::vector<int64_t> uids(variant_pack_uids.begin(), variant_pack_uids.end());
    std::vector<void*> pointers;
    for (const int64_t uid : uids)
      pointers.push_back(uid == kFirst     ? const_cast<void*>(o.first)
                         : uid == kSecond  ? const_cast<void*>(o.second)
                         : uid == kBias    ? const_cast<float*>(o.bias)
                         : uid == kSum     ? o.sum
                         : uid == kSquares ? o.squares
                                           : o.result);
    return fe::detail::execute(handle, plans.execution_plans.at(static_cast<size_t>(index)).get(),
                               pointers, uids, workspace);
  }
  /// What the library says of an engine.
  bool notes(int64_t index, fe::NumericalNote_t note) const {
    const auto& all = plans.numeric_notes.at(static_cast<size_t>(index));
    return std::find(all.begin(), all.end(), note) != all.end();
  }
  /// Lets go of every built engine but one, with its compiled code.
  void keep_only(int64_t index) {
    for (size_t i = 0; i < plans.execution_plans.size(); ++i)
      if (i != static_cast<size_t>(index)) plans.execution_plans[i] = nullptr;
  }
};

fe::DataType_t type_of(DType type) {
  switch (type) {
    case DType::kF32:
      return fe::DataType_t::FLOAT;
    case DType::kBF16:
      return fe::DataType_t::BFLOAT16;
    case DType::kF16:
      return fe::DataType_t::HALF;
    default:
      fail(Fault::kBug, "a convolution in ", name_of(type));
  }
}

/// cuDNN names dimensions N C H W; channels lie side by side.
fe::graph::Tensor_attributes tensor(Uid uid, DType type, int64_t n, int64_t h, int64_t w,
                                    int64_t c) {
  return fe::graph::Tensor_attributes()
      .set_name(std::to_string(uid))
      .set_uid(uid)
      .set_data_type(type_of(type))
      .set_dim({n, c, h, w})
      .set_stride({h * w * c, 1, w * c, c});
}

template <class Attributes>
Attributes window(const ConvGeometry& g) {
  return Attributes()
      .set_padding({g.pad, g.pad})
      .set_stride({g.stride, g.stride})
      .set_dilation({1, 1});
}

std::unique_ptr<Graph> describe(const ConvProblem& p) {
  const ConvGeometry& g = p.geometry;
  const auto x = [&](Uid uid, DType type) { return tensor(uid, type, g.n, g.h, g.w, g.c); };
  const auto w = [&](Uid uid, DType type) { return tensor(uid, type, g.o, g.kh, g.kw, g.c); };
  const auto y = [&](Uid uid, DType type) { return tensor(uid, type, g.n, g.oh(), g.ow(), g.o); };
  auto graph = std::make_unique<Graph>();
  graph->set_io_data_type(type_of(p.type))
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  // Plans live as long as their stream, and recorded steps are replayed on a stream.
  graph->set_cuda_graph_retention(fe::CudaGraphRetention_t::NONE);
  const auto result = [&](const std::shared_ptr<fe::graph::Tensor_attributes>& computed,
                          const fe::graph::Tensor_attributes& shape) {
    computed->set_output(true)
        .set_uid(shape.get_uid())
        .set_data_type(shape.get_data_type())
        .set_dim(shape.get_dim())
        .set_stride(shape.get_stride());
  };
  switch (p.operation) {
    case Operation::kForward: {
      auto computed =
          graph->conv_fprop(graph->tensor(x(kFirst, p.type)), graph->tensor(w(kSecond, p.type)),
                            window<fe::graph::Conv_fprop_attributes>(g));
      if (p.bias)
        computed =
            graph->pointwise(computed, graph->tensor(tensor(kBias, DType::kF32, 1, 1, 1, g.o)),
                             fe::graph::Pointwise_attributes().set_mode(fe::PointwiseMode_t::ADD));
      if (p.relu)
        computed = graph->pointwise(
            computed, fe::graph::Pointwise_attributes().set_mode(fe::PointwiseMode_t::RELU_FWD));
      result(computed, y(kResult, p.result));
      if (p.sums) {
        const auto [sum, squares] = graph->genstats(computed, fe::graph::Genstats_attributes());
        result(sum, tensor(kSum, DType::kF32, 1, 1, 1, g.o));
        result(squares, tensor(kSquares, DType::kF32, 1, 1, 1, g.o));
      }
      break;
    }
    case Operation::kBackwardData:
      result(graph->conv_dgrad(graph->tensor(y(kFirst, p.type)), graph->tensor(w(kSecond, p.type)),
                               window<fe::graph::Conv_dgrad_attributes>(g)),
             x(kResult, p.result));
      break;
    case Operation::kBackwardWeight: {
      auto computed =
          graph->conv_wgrad(graph->tensor(y(kSecond, p.type)), graph->tensor(x(kFirst, p.type)),
                            window<fe::graph::Conv_wgrad_attributes>(g));
      if (p.result != p.type) {
        // No engine writes another type by itself; those with an epilogue do.
        const auto shape = w(kResult, p.result);
        computed->set_dim(shape.get_dim()).set_stride(shape.get_stride());
        computed = graph->pointwise(
            computed, fe::graph::Pointwise_attributes().set_mode(fe::PointwiseMode_t::IDENTITY));
      }
      result(computed, w(kResult, p.result));
      break;
    }
  }
  return graph;
}

/// Puts what must not be chosen out of the list.
void forbid(Graph& graph, DType type) {
  using Note = fe::NumericalNote_t;
  graph.deselect_numeric_notes({Note::NONDETERMINISTIC, Note::REDUCED_PRECISION_REDUCTION});
  // Tensor cores round f32 to TF32, which the library does not count as converting the inputs.
  if (type == DType::kF32)
    graph.deselect_numeric_notes({Note::TENSOR_CORE, Note::DOWN_CONVERT_INPUTS, Note::FFT,
                                  Note::WINOGRAD, Note::WINOGRAD_TILE_4x4, Note::WINOGRAD_TILE_6x6,
                                  Note::WINOGRAD_TILE_13x13});
  graph.deselect_workspace_greater_than(kMaxWorkspace);
}

fe::error_t list_engines(Graph& graph) {
  return graph.create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK});
}

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

std::string engine_name(const Graph& graph, int64_t index) {
  std::string name;
  PASSNORM_CALL(graph.get_plan_name_at_index(index, name));
  return name;
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
std::optional<double> time(CudaStream& stream, cudnnHandle_t handle, const Graph& graph,
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
  const auto entry = [&](std::shared_ptr<Graph> graph, int64_t index, double milliseconds) {
    const int64_t workspace = graph->get_workspace_size_plan_at_index(index);
    return Entry{std::make_unique<ConvPlan>(std::move(graph), index, workspace, milliseconds), {}};
  };
  std::shared_ptr<Graph> graph = describe(problem);
  if (const auto status = graph->validate(); status.is_bad()) return {nullptr, one_line(status)};
  if (const auto status = graph->build_operation_graph(handle_); status.is_bad())
    return {nullptr, one_line(status)};
  if (const auto status = list_engines(*graph); status.is_bad()) return {nullptr, one_line(status)};
  forbid(*graph, problem.type);
  const std::optional<std::string> line = cache_.find(key);
  if (const auto known = line ? parse(*line) : std::nullopt)
    for (int64_t i = 0; i < graph->get_execution_plan_count(); ++i)
      if (engine_name(*graph, i) == known->engine && graph->build_plan_at_index(i).is_good())
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
    if (!seen.insert(engine_name(*graph, i)).second) continue;
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
  const std::string choice = text_of({engine_name(*graph, fastest), milliseconds});
  cache_.store(key, choice);
  return entry(graph, fastest, parse(choice)->milliseconds);  // rounded, as later processes read it
}

const ConvPlan* Cudnn::plan(const ConvProblem& problem, const ConvOperands& operands) {
  auto it = plans_.find(problem.name());
  if (it == plans_.end()) {
    PASSNORM_CHECK(!capturing(stream_), problem.name(), " is used for the first time");
    try {
      it = plans_.emplace(problem.name(), make(problem, operands)).first;
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {  // the frontend's own
      fail(Fault::kMachine, problem.name(), ": ", version_name(), ": ", one_line(error.what()));
    }
  }
  return it->second.plan.get();
}

const ConvPlan& Cudnn::require(const ConvProblem& problem, const ConvOperands& operands) {
  if (const ConvPlan* const found = plan(problem, operands)) return *found;
  fail(Fault::kMachine, problem.name(), ": ", version_name(), " in ", cudnn_library().file(),
       " offers no engine: ", plans_.at(problem.name()).why_none,
       "; another --precision or another version of cuDNN may have one");
}

double Cudnn::milliseconds(const ConvProblem& problem, const ConvOperands& operands) {
  if (!plans_.contains(problem.name()))
    if (const auto line = cache_.find(problem.name()))
      if (const auto known = parse(*line)) return known->milliseconds;
  const ConvPlan* const found = plan(problem, operands);
  return found != nullptr ? found->milliseconds : INFINITY;
}

void Cudnn::run(const ConvPlan& plan, const ConvOperands& operands) {
  const Workspace workspace(stream_, plan.workspace);
  PASSNORM_CALL(static_cast<const Graph*>(plan.graph.get())
                    ->run(handle_, plan.index, operands, workspace.data()));
}

std::string device_properties(int index) {
  cudnn_library();
  fe::DeviceProperties properties;
  PASSNORM_CALL(properties.set_device_id(index).build());
  std::vector<uint8_t> json;
  PASSNORM_CALL(properties.serialize(json));
  return {json.begin(), json.end()};
}

std::vector<PlanReport> check_plans(const std::string& properties,
                                    std::span<const ConvGeometry> geometries, DType type) {
  cudnn_library();
  const auto device = std::make_shared<fe::DeviceProperties>();
  if (const auto status = device->deserialize({properties.begin(), properties.end()});
      status.is_bad())
    fail(Fault::kInput, "device properties: ", version_name(), ": ", one_line(status));
  std::vector<PlanReport> reports;
  const auto report = [&](const ConvProblem& problem, const char* operation) {
    PlanReport r{.operation = operation,
                 .geometry = problem.geometry,
                 .type = problem.type,
                 .result = problem.result};
    const auto graph = describe(problem);
    graph->set_device_properties(device);
    auto status = graph->validate();
    if (status.is_good()) status = graph->build_operation_graph();
    if (status.is_good()) status = list_engines(*graph);
    if (status.is_good()) {
      forbid(*graph, problem.type);
      r.offered = static_cast<int>(graph->get_execution_plan_count());
      for (int64_t i = 0; i < r.offered && r.engine.empty(); ++i) {
        status = graph->build_plan_at_index(i);
        if (status.is_bad()) continue;
        r.workspace = graph->get_workspace_size_plan_at_index(i);
        r.engine = engine_name(*graph, i);
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

}  // namespace kernels
}  // namespace passnorm
