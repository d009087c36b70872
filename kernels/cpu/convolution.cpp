// Convolution: our own Winograd F(4x4, 3x3) where it pays, else oneDNN's direct convolution, both
// on channels-last memory.
#include "kernels/convolution.hpp"

#include "kernels/cpu/onednn.hpp"
#include "kernels/cpu/winograd.hpp"

namespace passnorm::kernels {
namespace {

using dnnl::algorithm;
using dnnl::prop_kind;
using Desc = dnnl::memory::desc;
using Dims = dnnl::memory::dims;
using Tag = dnnl::memory::format_tag;
using Role = Operand::Role;

enum class Direction { kForward, kBackwardData, kBackwardWeight };

/// A convolution as oneDNN is told of it. Dimensions have oneDNN's order (N C H W, O I H W); the
/// tags say how they lie.
struct Problem {
  Direction direction;
  ConvGeometry g;
  DType x, w, y;  // types of the caller's memory
  bool has_bias;
  DType bias;
  bool accumulate;
  bool relu;

  std::vector<int64_t> key() const {
    return {static_cast<int64_t>(direction),
            g.n,
            g.h,
            g.w,
            g.c,
            g.o,
            g.kh,
            g.kw,
            g.stride,
            g.pad,
            static_cast<int64_t>(x),
            static_cast<int64_t>(w),
            static_cast<int64_t>(y),
            has_bias,
            static_cast<int64_t>(bias),
            accumulate,
            relu};
  }
  std::string name() const {
    static constexpr const char* kNames[] = {"forward", "backward-data", "backward-weight"};
    return concat(kNames[static_cast<int>(direction)], " convolution x [", g.n, ",", g.h, ",", g.w,
                  ",", g.c, "] ", name_of(x), ", w [", g.o, ",", g.kh, ",", g.kw, ",", g.c, "] ",
                  name_of(w), ", stride ", g.stride, ", pad ", g.pad);
  }

  Desc x_desc(Tag tag) const { return {{g.n, g.c, g.h, g.w}, dnnl_type(x), tag}; }
  Desc y_desc(Tag tag) const { return {{g.n, g.o, g.oh(), g.ow()}, dnnl_type(y), tag}; }
  Desc w_desc(DType type, Tag tag) const { return {{g.o, g.c, g.kh, g.kw}, dnnl_type(type), tag}; }
  Desc bias_desc() const { return has_bias ? Desc({g.o}, dnnl_type(bias), Tag::a) : Desc(); }
  Dims strides() const { return {g.stride, g.stride}; }
  Dims pad_before() const { return {g.pad, g.pad}; }
  Dims pad_after() const {
    return {(g.oh() - 1) * g.stride + g.kh - g.h - g.pad,
            (g.ow() - 1) * g.stride + g.kw - g.w - g.pad};
  }
};

/// The first optimised implementation.
template <class Primitive>
Primitive optimised(const Problem& p, Primitive desc) {
  std::string seen = "none";
  while (desc) {
    seen = desc.impl_info_str();
    if (!is_reference(seen)) return desc;
    if (!desc.next_impl()) break;
  }
  fail(Fault::kMachine, p.name(),
       ": oneDNN has no optimised implementation on this CPU (found: ", seen, ")",
       p.x == DType::kF32 ? "" : "; use f32");
}

dnnl::primitive_attr attributes(bool relu = false) {
  dnnl::primitive_attr a;
  a.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (relu) {
    dnnl::post_ops after;
    after.append_eltwise(/*scale=*/1, algorithm::eltwise_relu, /*alpha=*/0, /*beta=*/0);
    a.set_post_ops(after);
  }
  return a;
}

dnnl::convolution_forward::primitive_desc forward_desc(const Problem& p,
                                                       const dnnl::engine& engine) {
  using F = dnnl::convolution_forward;
  return optimised(
      p, F::primitive_desc(F::desc(prop_kind::forward_training, algorithm::convolution_direct,
                                   p.x_desc(Tag::nhwc), p.w_desc(p.x, Tag::any), p.bias_desc(),
                                   p.y_desc(Tag::nhwc), p.strides(), p.pad_before(), p.pad_after()),
                           attributes(p.relu), engine, /*allow_empty=*/true));
}

std::unique_ptr<Plan> make_forward(const Problem& p, const dnnl::engine& engine) {
  const auto chosen = forward_desc(p, engine);
  std::vector<Operand> operands = {
      {DNNL_ARG_SRC, Role::kInput, p.x_desc(Tag::nhwc), chosen.src_desc()},
      {DNNL_ARG_WEIGHTS, Role::kInput, p.w_desc(p.w, Tag::ohwi), chosen.weights_desc()},
      {DNNL_ARG_DST, Role::kOutput, p.y_desc(Tag::nhwc), chosen.dst_desc()}};
  if (p.has_bias)
    operands.push_back({DNNL_ARG_BIAS, Role::kInput, p.bias_desc(), chosen.bias_desc()});
  return std::make_unique<Plan>(engine, dnnl::convolution_forward(chosen), chosen.scratchpad_desc(),
                                operands);
}

std::unique_ptr<Plan> make_backward_data(const Problem& p, const dnnl::engine& engine) {
  using B = dnnl::convolution_backward_data;
  const auto chosen = optimised(
      p, B::primitive_desc(
             B::desc(algorithm::convolution_direct, p.x_desc(Tag::nhwc), p.w_desc(p.y, Tag::any),
                     p.y_desc(Tag::nhwc), p.strides(), p.pad_before(), p.pad_after()),
             attributes(), engine, forward_desc(p, engine), /*allow_empty=*/true));
  return std::make_unique<Plan>(
      engine, B(chosen), chosen.scratchpad_desc(),
      std::vector<Operand>{
          {DNNL_ARG_DIFF_DST, Role::kInput, p.y_desc(Tag::nhwc), chosen.diff_dst_desc()},
          {DNNL_ARG_WEIGHTS, Role::kInput, p.w_desc(p.w, Tag::ohwi), chosen.weights_desc()},
          {DNNL_ARG_DIFF_SRC, Role::kOutput, p.x_desc(Tag::nhwc), chosen.diff_src_desc()}});
}

std::unique_ptr<Plan> make_backward_weight(const Problem& p, const dnnl::engine& engine) {
  using B = dnnl::convolution_backward_weights;
  const auto chosen = optimised(
      p, B::primitive_desc(B::desc(algorithm::convolution_direct, p.x_desc(Tag::nhwc),
                                   p.w_desc(p.w, Tag::any), p.bias_desc(), p.y_desc(Tag::nhwc),
                                   p.strides(), p.pad_before(), p.pad_after()),
                           attributes(), engine, forward_desc(p, engine), /*allow_empty=*/true));
  const Role result = p.accumulate ? Role::kAccumulate : Role::kOutput;
  std::vector<Operand> operands = {
      {DNNL_ARG_SRC, Role::kInput, p.x_desc(Tag::nhwc), chosen.src_desc()},
      {DNNL_ARG_DIFF_DST, Role::kInput, p.y_desc(Tag::nhwc), chosen.diff_dst_desc()},
      {DNNL_ARG_DIFF_WEIGHTS, result, p.w_desc(p.w, Tag::ohwi), chosen.diff_weights_desc()}};
  if (p.has_bias)
    operands.push_back({DNNL_ARG_DIFF_BIAS, result, p.bias_desc(), chosen.diff_bias_desc()});
  return std::make_unique<Plan>(engine, B(chosen), chosen.scratchpad_desc(), operands);
}

/// Runs the problem's plan, which is made at the first call.
void run(CpuStream& stream, const Problem& p, std::initializer_list<Plan::Data> data) {
  const ThreadScope threads(stream);
  try {
    std::unique_ptr<Plan>& plan = stream.vendor().plans[p.key()];
    if (plan == nullptr) {
      const dnnl::engine& engine = stream.vendor().engine;
      switch (p.direction) {
        case Direction::kForward:
          plan = make_forward(p, engine);
          break;
        case Direction::kBackwardData:
          plan = make_backward_data(p, engine);
          break;
        case Direction::kBackwardWeight:
          plan = make_backward_weight(p, engine);
          break;
      }
    }
    plan->run(stream, data);
  } catch (const dnnl::error& error) {
    fail(Fault::kMachine, p.name(), ": oneDNN: ", error.what());
  }
}

/// Activations of one type; weights are read and their gradients written in f32. On bf16
/// activations it still beats the bf16 convolution of the hardware (in all but two of twelve layers
/// of ResNet-18, by 1.2 in the geometric mean).
bool by_winograd(const ConvGeometry& g, DType x, DType w, DType y) {
  return x == y && (x == DType::kF32 || x == DType::kBF16) && w == DType::kF32 && winograd_pays(g);
}

/// oneDNN takes the buffers of inputs as writable pointers, too.
void* pointer(const ConstView& view) { return const_cast<void*>(view.data); }

}  // namespace

bool convolves(CpuStream&, DType dtype) {
  if (dtype != DType::kBF16) return dtype == DType::kF32;
  // Instruction sets are bit masks that contain each other; AVX-512 without bf16 only imitates it.
  const auto set = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto bf16 = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_bf16);
  return (set & bf16) == bf16;
}

bool conv_may_sum(CpuStream&, DType) { return false; }

bool conv_forward(CpuStream& stream, const ConvForward& a) {
  check_convolution(a);
  if (by_winograd(a.geometry, a.x.dtype, a.w.dtype, a.y.dtype) &&
      (!a.bias || a.bias.dtype == DType::kF32))
    winograd_forward(stream, a);
  else
    run(stream,
        {Direction::kForward, a.geometry, a.x.dtype, a.w.dtype, a.y.dtype,
         static_cast<bool>(a.bias), a.bias.dtype, false, a.relu},
        {{DNNL_ARG_SRC, pointer(a.x)},
         {DNNL_ARG_WEIGHTS, pointer(a.w)},
         {DNNL_ARG_BIAS, pointer(a.bias)},
         {DNNL_ARG_DST, a.y.data}});
  return false;
}

void conv_backward_data(CpuStream& stream, const ConvBackwardData& a) {
  check_convolution(a.geometry, a.dx, a.w, {}, a.dy);
  if (by_winograd(a.geometry, a.dx.dtype, a.w.dtype, a.dy.dtype))
    return winograd_backward_data(stream, a);
  run(stream,
      {Direction::kBackwardData, a.geometry, a.dx.dtype, a.w.dtype, a.dy.dtype, false, DType::kF32,
       false, false},
      {{DNNL_ARG_DIFF_DST, pointer(a.dy)},
       {DNNL_ARG_WEIGHTS, pointer(a.w)},
       {DNNL_ARG_DIFF_SRC, a.dx.data}});
}

void conv_backward_weight(CpuStream& stream, const ConvBackwardWeight& a) {
  check_convolution(a.geometry, a.x, a.dw, a.dbias, a.dy);
  if (by_winograd(a.geometry, a.x.dtype, a.dw.dtype, a.dy.dtype) && !a.dbias)
    return winograd_backward_weight(stream, a);
  run(stream,
      {Direction::kBackwardWeight, a.geometry, a.x.dtype, a.dw.dtype, a.dy.dtype,
       static_cast<bool>(a.dbias), a.dbias.dtype, a.accumulate, false},
      {{DNNL_ARG_SRC, pointer(a.x)},
       {DNNL_ARG_DIFF_DST, pointer(a.dy)},
       {DNNL_ARG_DIFF_WEIGHTS, a.dw.data},
       {DNNL_ARG_DIFF_BIAS, a.dbias.data}});
}

}  // namespace passnorm::kernels
