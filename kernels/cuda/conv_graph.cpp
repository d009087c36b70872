#include "kernels/cuda/conv_graph.hpp"

#include <algorithm>

#include "kernels/cuda/check.hpp"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}

namespace passnorm {

void check_call(const fe::error_t& status, const char* call, const char* file, int line) {
  if (status.is_bad()) [[unlikely]]
    fail(Fault::kMachine, file, ":", line, ": ", call, ": ", kernels::cudnn_version(), ": ",
         kernels::one_line(status));
}

void check_call(cudnnStatus_t status, const char* call, const char* file, int line) {
  if (status == CUDNN_STATUS_SUCCESS) [[likely]]
    return;
  const Fault fault = status == CUDNN_STATUS_BAD_PARAM ? Fault::kBug : Fault::kMachine;
  fail(fault, file, ":", line, ": ", call, ": ", kernels::cudnn_version(), ": ",
       fe::detail::get_error_string(status), ", ",
       kernels::one_line(fe::detail::get_last_error_string_()));
}

namespace kernels {

const Library& cudnn_library() {
  static const Library library = [] {
    Library opened(Library::kCudnn);
    opened.check_version(opened.function<decltype(cudnnGetVersion)>("cudnnGetVersion")());
    fe::cudnn_dlhandle = opened.handle();
    return opened;
  }();
  return library;
}

std::string cudnn_version() {
  const size_t v = fe::detail::get_backend_version();
  return concat("cuDNN ", v / 10000, ".", v / 100 % 100, ".", v % 100);
}

std::string one_line(std::string text) {
  while (!text.empty() && text.back() <= ' ') text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::string one_line(fe::error_t status) { return one_line(status.get_message()); }

namespace {

using Operation = ConvProblem::Operation;

/// More than any good engine of the networks here asks for.
constexpr int64_t kMaxWorkspace = int64_t{1} << 30;

enum Uid : int64_t { kFirst = 1, kSecond, kBias, kResult, kSum, kSquares };

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

}  // namespace

std::unique_ptr<ConvGraph> conv_graph(const ConvProblem& p) {
  const ConvGeometry& g = p.geometry;
  const auto x = [&](Uid uid, DType type) { return tensor(uid, type, g.n, g.h, g.w, g.c); };
  const auto w = [&](Uid uid, DType type) { return tensor(uid, type, g.o, g.kh, g.kw, g.c); };
  const auto y = [&](Uid uid, DType type) { return tensor(uid, type, g.n, g.oh(), g.ow(), g.o); };
  auto graph = std::make_unique<ConvGraph>();
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

fe::error_t ConvGraph::list_engines(DType type) {
  const auto status = create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK});
  if (status.is_bad()) return status;
  using Note = fe::NumericalNote_t;
  deselect_numeric_notes({Note::NONDETERMINISTIC, Note::REDUCED_PRECISION_REDUCTION});
  // Tensor cores round f32 to TF32, which the library does not count as converting the inputs.
  if (type == DType::kF32)
    deselect_numeric_notes({Note::TENSOR_CORE, Note::DOWN_CONVERT_INPUTS, Note::FFT, Note::WINOGRAD,
                            Note::WINOGRAD_TILE_4x4, Note::WINOGRAD_TILE_6x6,
                            Note::WINOGRAD_TILE_13x13});
  deselect_workspace_greater_than(kMaxWorkspace);
  return status;
}

std::string ConvGraph::engine_name(int64_t index) const {
  std::string name;
  PASSNORM_CALL(get_plan_name_at_index(index, name));
  return name;
}

bool ConvGraph::notes(int64_t index, fe::NumericalNote_t note) const {
  const auto& all = plans.numeric_notes.at(static_cast<size_t>(index));
  return std::find(all.begin(), all.end(), note) != all.end();
}

fe::error_t ConvGraph::run(cudnnHandle_t handle, int64_t index, const ConvOperands& o,
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

void ConvGraph::keep_only(int64_t index) {
  for (size_t i = 0; i < plans.execution_plans.size(); ++i)
    if (i != static_cast<size_t>(index)) plans.execution_plans[i] = nullptr;
}

}  // namespace kernels
}  // namespace passnorm
