#include "kernels/runtime/graph.hpp"

#include "kernels/runtime/check.hpp"

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

std::string describe(const ConstView& v) {
  return v ? concat(name_of(v.dtype), " [", v.size, "] at ", v.data) : "nothing";
}

}  // namespace

void CapturedWork::check_unchanged(const CapturedMemory& memory) const {
  const auto refuse = [](const auto&... parts) {
    fail(Fault::kBug,
         "recorded work is replayed with other memory than it was recorded with: ", parts...);
  };
  if (memory.plan != plan_ ||
      (plan_ != nullptr && (plan_version_ == 0 || plan_->version() != plan_version_)))
    refuse("its plan is not the one of the record");
  if (memory.permanent.size() != permanent_.size())
    refuse(memory.permanent.size(), " tensors, not ", permanent_.size());
  for (size_t i = 0; i < permanent_.size(); ++i) {
    const ConstView &now = memory.permanent[i], &then = permanent_[i];
    if (now.data != then.data || now.dtype != then.dtype || now.size != then.size)
      refuse("tensor ", i, " was ", describe(then), ", is ", describe(now));
  }
}

void CapturedWork::run(Stream& stream, const std::function<void()>& work,
                       const CapturedMemory& memory) {
  if (stream.device().kind == Device::Kind::kCpu) return work();
  auto& cuda = static_cast<CudaStream&>(stream);
  if (stream_ == nullptr) stream_ = &stream;
  PASSNORM_CHECK(stream_ == &stream, "recorded work is run on another stream");
  const MemoryPool& pool = *stream.memory();
  if (slab_moves_ != pool.slab_moves()) graph_ = nullptr, settled_ = false;
  if (graph_) {
    check_unchanged(memory);
  } else if (settled_) {
    graph_ = record(cuda, work);
    plan_ = memory.plan;
    plan_version_ = plan_ != nullptr ? plan_->version() : 0;
    permanent_ = memory.permanent;
  }
  if (graph_) return cuda.replay(graph_);
  const size_t system_calls = pool.system_calls();
  work();
  settled_ = pool.system_calls() == system_calls;
  slab_moves_ = pool.slab_moves();
}

size_t CapturedWork::nodes() const { return graph_ ? CudaStream::nodes(graph_) : 0; }

#else

void CapturedWork::run(Stream&, const std::function<void()>& work, const CapturedMemory&) {
  work();
}
size_t CapturedWork::nodes() const { return 0; }

#endif

}  // namespace passnorm
