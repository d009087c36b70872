#include "kernels/gemm.hpp"

#include "kernels/cpu/onednn.hpp"

namespace passnorm::kernels {
namespace {

using Desc = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;

/// Tag of the plan's key, which it shares with the convolutions: those begin with 0, 1 or 2.
constexpr int64_t kGemmKey = 3;

std::string name(const Gemm& a) {
  return concat("matrix product [", a.m, ",", a.k, "]", a.transpose_a ? "'" : "", " [", a.k, ",",
                a.n, "]", a.transpose_b ? "'" : "");
}

std::unique_ptr<Plan> make_plan(const Gemm& a, const dnnl::engine& engine) {
  const auto f32 = dnnl::memory::data_type::f32;
  const Desc left({a.m, a.k}, f32, a.transpose_a ? Tag::ba : Tag::ab);
  const Desc right({a.k, a.n}, f32, a.transpose_b ? Tag::ba : Tag::ab);
  const Desc result({a.m, a.n}, f32, Tag::ab);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const dnnl::matmul::primitive_desc chosen({left, right, result}, attributes, engine);
  if (is_reference(chosen.impl_info_str()))
    fail(Fault::kMachine, name(a), ": oneDNN has only ", chosen.impl_info_str(), " on this CPU");
  const auto role = a.accumulate ? Operand::Role::kAccumulate : Operand::Role::kOutput;
  return std::make_unique<Plan>(
      engine, dnnl::matmul(chosen), chosen.scratchpad_desc(),
      std::vector<Operand>{{DNNL_ARG_SRC, Operand::Role::kInput, left, chosen.src_desc()},
                           {DNNL_ARG_WEIGHTS, Operand::Role::kInput, right, chosen.weights_desc()},
                           {DNNL_ARG_DST, role, result, chosen.dst_desc()}});
}

}  // namespace

void gemm(CpuStream& stream, const Gemm& a) {
  check_gemm(a);
  const float* left = a.a.as<float>();
  const float* right = a.b.as<float>();
  float* y = a.y.as<float>();
  const ThreadScope threads(stream);
  try {
    // dnnl_sgemm needs no plan and is up to four times as fast for a few rows; with b transposed,
    // which is the forward product of a linear layer, matmul is 1.2 to 3 times as fast from full
    // tiles of rows on.
    if (a.transpose_b && a.m >= 16) {
      std::unique_ptr<Plan>& plan =
          stream.vendor().plans[{kGemmKey, a.m, a.n, a.k, a.transpose_a, a.accumulate}];
      if (plan == nullptr) plan = make_plan(a, stream.vendor().engine);
      plan->run(stream, {{DNNL_ARG_SRC, const_cast<float*>(left)},
                         {DNNL_ARG_WEIGHTS, const_cast<float*>(right)},
                         {DNNL_ARG_DST, y}});
    } else {
      dnnl::error::wrap_c_api(
          dnnl_sgemm(a.transpose_a ? 'T' : 'N', a.transpose_b ? 'T' : 'N', a.m, a.n, a.k, 1.0f,
                     left, a.transpose_a ? a.m : a.k, right, a.transpose_b ? a.k : a.n,
                     a.accumulate ? 1.0f : 0.0f, y, a.n),
          "sgemm");
    }
  } catch (const dnnl::error& error) {
    fail(Fault::kMachine, name(a), ": oneDNN: ", error.what());
  }
}

}  // namespace passnorm::kernels
