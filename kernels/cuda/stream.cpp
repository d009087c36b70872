#include <cuda_runtime_api.h>

#include <cstring>

#include "kernels/cuda/check.hpp"
#include "kernels/cuda/vendor.hpp"
#include "kernels/runtime/cuda_stream.hpp"

namespace passnorm {
namespace {

cudaStream_t stream_of(void* handle) { return static_cast<cudaStream_t>(handle); }

/// What a record cannot repeat: host memory that is not page-locked would be read when it is
/// replayed.
void refuse_capture(void* handle, const char* what) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  PASSNORM_CALL(cudaStreamIsCapturing(stream_of(handle), &status));
  PASSNORM_CHECK(status == cudaStreamCaptureStatusNone, what, " inside a recorded step");
}

class DeviceMemory final : public MemorySource {
 public:
  DeviceMemory(int device, std::shared_ptr<void> stream)
      : device_(device), stream_(std::move(stream)) {}
  void* take(size_t bytes) override {
    void* block = nullptr;
    if (cudaSetDevice(device_) != cudaSuccess || cudaMalloc(&block, bytes) != cudaSuccess) {
      cudaGetLastError();  // the caller reports it
      return nullptr;
    }
    return block;
  }
  void give(void* block, size_t) override { cudaFree(block); }
  void fill(void* block, int byte, size_t bytes) override {
    PASSNORM_CALL(cudaMemsetAsync(block, byte, bytes, stream_of(stream_.get())));
  }
  size_t free_bytes() const override {
    size_t free = 0, total = 0;
    return cudaSetDevice(device_) == cudaSuccess && cudaMemGetInfo(&free, &total) == cudaSuccess
               ? free
               : 0;
  }

 private:
  int device_;
  std::shared_ptr<void> stream_;
};

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  PASSNORM_CALL(cudaDeviceGetAttribute(&value, which, device));
  return value;
}

/// host: the host's stream, or null.
std::shared_ptr<void> make_handle(int device, void* host) {
  gpu_report().require(device);
  PASSNORM_CALL(cudaSetDevice(device));
  if (host == cudaStreamLegacy)
    fail(Fault::kUsage,
         "the legacy default stream cannot record a step; give a stream of cudaStreamCreate");
  if (host != nullptr) return {host, [](void*) {}};
  cudaStream_t stream = nullptr;
  PASSNORM_CALL(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return {stream, [](void* handle) { cudaStreamDestroy(stream_of(handle)); }};
}

/// What a recorded step became.
struct Record {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;

  explicit Record(cudaGraph_t g) : graph(g) {}
  ~Record() {
    if (executable != nullptr) cudaGraphExecDestroy(executable);
    cudaGraphDestroy(graph);
  }
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;
};

}  // namespace

CudaStream::CudaStream(int index, StreamOptions options)
    : CudaStream(index, std::move(options), make_handle(index, options.cuda_stream)) {}

CudaStream::CudaStream(int index, StreamOptions&& options, std::shared_ptr<void> owner)
    : Stream(Device::cuda(index),
             std::make_shared<MemoryPool>(options.memory
                                              ? std::move(options.memory)
                                              : std::make_unique<DeviceMemory>(index, owner))),
      handle_(owner.get()),
      multiprocessors_(attribute(cudaDevAttrMultiProcessorCount, index)),
      l2_bytes_(static_cast<size_t>(attribute(cudaDevAttrL2CacheSize, index))),
      engines_(options.engines),
      epilogue_statistics_(options.epilogue_statistics),
      owner_(std::move(owner)) {
  if (engines_ < 1) fail(Fault::kUsage, "engines must be 1 or more, not ", engines_);
  constexpr size_t kBytes = kTickets * sizeof(unsigned);
  tickets_ = static_cast<unsigned*>(memory()->allocate(kBytes));
  fill_bytes(tickets_, 0, kBytes);
}

CudaStream::~CudaStream() {
  cudaStreamSynchronize(stream_of(handle_));  // nothing may use memory that goes back now
  memory()->release(tickets_, kTickets * sizeof(unsigned));
}

CudaStream::Vendor& CudaStream::vendor() {
  if (!vendor_) vendor_ = std::make_unique<Vendor>(*this);
  return *vendor_;
}

void CudaStream::copy_to_device(void* to, const void* from, size_t bytes) {
  refuse_capture(handle_, "a copy from the host");
  PASSNORM_CALL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_of(handle_)));
}
void CudaStream::copy_to_host(void* to, const void* from, size_t bytes) {
  refuse_capture(handle_, "a copy to the host");
  PASSNORM_CALL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_of(handle_)));
}
void CudaStream::fill_bytes(void* to, int byte, size_t bytes) {
  PASSNORM_CALL(cudaMemsetAsync(to, byte, bytes, stream_of(handle_)));
}
void CudaStream::copy_on_device(void* to, const void* from, size_t bytes) {
  PASSNORM_CALL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(handle_)));
}
void CudaStream::synchronize() {
  refuse_capture(handle_, "waiting for the device");
  PASSNORM_CALL(cudaStreamSynchronize(stream_of(handle_)));
}

// Other threads of the program may use the device while a step is recorded.
void CudaStream::begin_capture() {
  PASSNORM_CALL(cudaStreamBeginCapture(stream_of(handle_), cudaStreamCaptureModeThreadLocal));
  memory()->keep_to_itself(true);
}
std::shared_ptr<void> CudaStream::end_capture() {
  memory()->keep_to_itself(false);
  cudaGraph_t graph = nullptr;
  PASSNORM_CALL(cudaStreamEndCapture(stream_of(handle_), &graph));
  const auto record = std::make_shared<Record>(graph);
  PASSNORM_CALL(cudaGraphInstantiate(&record->executable, graph, 0));
  PASSNORM_CALL(cudaGraphUpload(record->executable, stream_of(handle_)));
  return record;
}
void CudaStream::abandon_capture() {
  memory()->keep_to_itself(false);
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(stream_of(handle_), &graph) == cudaSuccess && graph != nullptr)
    cudaGraphDestroy(graph);
  cudaGetLastError();  // the error that ended the capture is on its way already
}
void CudaStream::replay(const std::shared_ptr<void>& graph) {
  PASSNORM_CALL(
      cudaGraphLaunch(static_cast<const Record*>(graph.get())->executable, stream_of(handle_)));
}
size_t CudaStream::nodes(const std::shared_ptr<void>& graph) {
  size_t count = 0;
  PASSNORM_CALL(cudaGraphGetNodes(static_cast<const Record*>(graph.get())->graph, nullptr, &count));
  return count;
}

std::byte* CudaStream::allocate_pinned(size_t bytes) {
  void* block = nullptr;
  PASSNORM_CALL(cudaMallocHost(&block, bytes));
  std::memset(block, 0, bytes);
  return static_cast<std::byte*>(block);
}
void CudaStream::free_pinned(std::byte* block) { cudaFreeHost(block); }

void* CudaStream::make_event() {
  cudaEvent_t event = nullptr;
  PASSNORM_CALL(cudaEventCreate(&event));
  return event;
}
void CudaStream::destroy_event(void* event) { cudaEventDestroy(static_cast<cudaEvent_t>(event)); }
void CudaStream::record_event(void* event) {
  refuse_capture(handle_, "an event");
  PASSNORM_CALL(cudaEventRecord(static_cast<cudaEvent_t>(event), stream_of(handle_)));
}
void CudaStream::wait_for_event(void* event) {
  PASSNORM_CALL(cudaEventSynchronize(static_cast<cudaEvent_t>(event)));
}
double CudaStream::milliseconds_between(void* from, void* to) {
  float time = 0;
  wait_for_event(to);
  PASSNORM_CALL(
      cudaEventElapsedTime(&time, static_cast<cudaEvent_t>(from), static_cast<cudaEvent_t>(to)));
  return static_cast<double>(time);
}

GpuReport gpu_report() {
  GpuReport report;
  int runtime = 0, driver = 0;
  cudaRuntimeGetVersion(&runtime);
  cudaDriverGetVersion(&driver);
  const auto version = [](int v) { return concat(v / 1000, ".", v % 1000 / 10); };
  report.runtime = concat("CUDA ", version(runtime));
  if (driver == 0) {
    report.why_none = "no NVIDIA driver is installed";
    return report;
  }
  report.runtime += concat(", driver for ", version(driver));
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
    cudaGetLastError();
    report.why_none = concat("the NVIDIA driver gives no device: ", cudaGetErrorString(status));
    return report;
  }
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp p;
    PASSNORM_CALL(cudaGetDeviceProperties(&p, i));
    report.gpus.push_back({.name = p.name,
                           .compute_major = p.major,
                           .compute_minor = p.minor,
                           .multiprocessors = p.multiProcessorCount,
                           .memory_bytes = p.totalGlobalMem});
  }
  if (count == 0) report.why_none = "the NVIDIA driver gives no device";
  return report;
}

}  // namespace passnorm
