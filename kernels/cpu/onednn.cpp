#include "kernels/cpu/onednn.hpp"

#include <algorithm>
#include <cstddef>

#include "kernels/runtime/scratch.hpp"

namespace passnorm::kernels {
namespace {

constexpr size_t kAlignment = 64;  // of every buffer in the workspace

}  // namespace

Plan::Plan(const dnnl::engine& engine, dnnl::primitive primitive,
           const dnnl::memory::desc& scratchpad, const std::vector<Operand>& operands)
    : primitive_(std::move(primitive)) {
  auto reserve = [&](const dnnl::memory::desc& desc) {
    const size_t offset = workspace_;
    workspace_ += (desc.get_size() + kAlignment - 1) / kAlignment * kAlignment;
    return offset;
  };
  auto without_buffer = [&](const dnnl::memory::desc& desc) {
    return dnnl::memory(desc, engine, DNNL_MEMORY_NONE);
  };
  for (const Operand& operand : operands) {
    const bool is_input = operand.role == Operand::Role::kInput;
    Port port{operand.argument, without_buffer(operand.given), {}, {}, is_input, 0};
    if (operand.given != operand.wanted || operand.role == Operand::Role::kAccumulate) {
      port.offset = reserve(operand.wanted);
      port.wanted = without_buffer(operand.wanted);
      dnnl::primitive_attr attributes;
      if (operand.role == Operand::Role::kAccumulate) {
        dnnl::post_ops sum;
        sum.append_sum();
        attributes.set_post_ops(sum);
      }
      const auto& [from, to] = is_input ? std::tie(operand.given, operand.wanted)
                                        : std::tie(operand.wanted, operand.given);
      port.reorder =
          dnnl::reorder(dnnl::reorder::primitive_desc(engine, from, engine, to, attributes));
    }
    ports_.push_back(std::move(port));
  }
  scratchpad_offset_ = reserve(scratchpad);
  scratchpad_ = without_buffer(scratchpad);
}

void Plan::run(CpuStream& stream, std::initializer_list<Data> data) {
  dnnl::stream& queue = stream.vendor().stream;
  const Scratch<std::byte> workspace(stream, static_cast<int64_t>(workspace_));
  std::unordered_map<int, dnnl::memory> arguments;
  for (Port& port : ports_) {
    const auto* given = std::find_if(data.begin(), data.end(),
                                     [&](const Data& d) { return d.argument == port.argument; });
    PASSNORM_CHECK(given != data.end() && given->data != nullptr, "no buffer for argument ",
                   port.argument);
    port.given.set_data_handle(given->data, queue);
    if (port.wanted) {
      port.wanted.set_data_handle(workspace.data() + port.offset, queue);
      if (port.is_input) port.reorder.execute(queue, port.given, port.wanted);
    }
    arguments.emplace(port.argument, port.wanted ? port.wanted : port.given);
  }
  if (scratchpad_.get_desc().get_size() > 0) {
    scratchpad_.set_data_handle(workspace.data() + scratchpad_offset_, queue);
    arguments.emplace(DNNL_ARG_SCRATCHPAD, scratchpad_);
  }
  primitive_.execute(queue, arguments);
  for (Port& port : ports_)
    if (port.wanted && !port.is_input) port.reorder.execute(queue, port.wanted, port.given);
  queue.wait();
}

dnnl::memory::data_type dnnl_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return dnnl::memory::data_type::f32;
    case DType::kBF16:
      return dnnl::memory::data_type::bf16;
    default:
      fail(Fault::kMachine, "convolution on the CPU computes in f32 or bf16, not in ",
           name_of(dtype));
  }
}

bool is_reference(const std::string& implementation) {
  return implementation.find("ref") != std::string::npos;
}

}  // namespace passnorm::kernels
