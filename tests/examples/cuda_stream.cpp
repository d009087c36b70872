// The host's CUDA stream and memory in place of ours: what the host does before and after on its
// stream needs no wait.
#include <cuda_runtime_api.h>

#include <iostream>
#include <passnorm/passnorm.hpp>

using namespace passnorm;

namespace {

// CUDA's own pool, in the order of the stream.
class StreamMemory final : public MemorySource {
 public:
  StreamMemory(cudaStream_t stream, int& lent) : stream_(stream), lent_(lent) {}
  void* take(size_t bytes) override {
    void* block = nullptr;
    if (cudaMallocAsync(&block, bytes, stream_) != cudaSuccess) return nullptr;
    ++lent_;
    return block;
  }
  void give(void* block, size_t) override {
    cudaFreeAsync(block, stream_);
    --lent_;
  }
  void fill(void* block, int byte, size_t bytes) override {
    if (cudaMemsetAsync(block, byte, bytes, stream_) != cudaSuccess)
      throw Error(Fault::kMachine, "the GPU cannot fill its memory");
  }
  size_t free_bytes() const override {
    size_t free = 0, total = 0;
    return cudaMemGetInfo(&free, &total) == cudaSuccess ? free : 0;
  }

 private:
  cudaStream_t stream_;
  int& lent_;
};

// Logits of four images that the host puts on the device.
std::vector<float> infer(const std::shared_ptr<Stream>& stream, cudaStream_t host_stream) {
  const auto model = models::make("tiny", {.plan = PassportPlan::of("pan")}, stream);
  const Tensor x = Tensor::empty(*stream, {4, 32, 32, 3});
  cudaMemsetAsync(x.span().data(), 0, x.span().size_bytes(), host_stream);  // the host's work

  Tape tape(*stream, Tape::Mode::kForwardOnly);
  Pass pass{.tape = tape, .mode = Mode::kEvaluate};
  const Var logits = model->forward(pass, {x, Lanes::only(Branch::kPublic), nullptr});

  std::vector<float> out(static_cast<size_t>(logits.value.size()));
  cudaMemcpyAsync(out.data(), logits.value.span().data(), out.size() * sizeof(float),
                  cudaMemcpyDeviceToHost, host_stream);
  cudaStreamSynchronize(host_stream);
  return out;
}

}  // namespace

int main() try {
  cudaStream_t host_stream = nullptr;
  if (cudaStreamCreateWithFlags(&host_stream, cudaStreamNonBlocking) != cudaSuccess) {
    std::cerr << "no GPU: " << gpu_report().why_not(0) << '\n';
    return 4;
  }
  int lent = 0;
  std::vector<float> logits;
  {
    const std::shared_ptr<Stream> stream = make_stream(
        Device::cuda(),
        {.memory = std::make_unique<StreamMemory>(host_stream, lent), .cuda_stream = host_stream});
    logits = infer(stream, host_stream);
    std::cout << logits.size() << " logits; " << lent << " blocks are with the stream\n";
  }
  std::cout << lent << " blocks after it\n";
  cudaStreamDestroy(host_stream);  // the host's: we leave it
  return logits.size() == 40 && lent == 0 ? 0 : 1;
} catch (const Error& error) {
  std::cerr << error.what() << '\n';
  return static_cast<int>(error.fault());
}
