#include "kernels/runtime/graph.hpp"

namespace passnorm {

#if PASSNORM_WITH_CUDA

namespace {

std::shared_ptr<void> record(CudaStream& stream, const std::function<void()>& work) {
  stream.begin_capture();
  try {
    work();
    return stream.end_capture();
  } catch (...) {
    stream.abandon_capture();
    throw;
  }
}

}  // namespace

void CapturedWork::run(Stream& stream, const std::function<void()>& work) {
  if (stream.device().kind == Device::Kind::kCpu) return work();
  auto& cuda = static_cast<CudaStream&>(stream);
  const MemoryPool& memory = *stream.memory();
  if (slab_moves_ != memory.slab_moves()) graph_ = nullptr, settled_ = false;
  if (!graph_ && settled_) graph_ = record(cuda, work);
  if (graph_) return cuda.replay(graph_);
  const size_t system_calls = memory.system_calls();
  work();
  settled_ = memory.system_calls() == system_calls;
  slab_moves_ = memory.slab_moves();
}

size_t CapturedWork::nodes() const { return graph_ ? CudaStream::nodes(graph_) : 0; }

#else

void CapturedWork::run(Stream&, const std::function<void()>& work) { work(); }
size_t CapturedWork::nodes() const { return 0; }

#endif

}  // namespace passnorm
