// What the example cuda_stream.cpp uses of the CUDA runtime, on the emulator.
#pragma once

#include <cstddef>
#include <cstring>

#include "kernels/runtime/memory.hpp"
#include "tests/emulator/queue.hpp"

enum cudaError_t { cudaSuccess };
enum cudaMemcpyKind { cudaMemcpyDeviceToHost };
using cudaStream_t = passnorm::emulator::Queue*;
inline constexpr unsigned cudaStreamNonBlocking = 1;

inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new passnorm::emulator::Queue;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  stream->finish();
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  stream->finish();
  return cudaSuccess;
}
inline cudaError_t cudaMallocAsync(void** block, std::size_t bytes, cudaStream_t) {
  *block = ::operator new (bytes, std::align_val_t{256});
  return cudaSuccess;
}
inline cudaError_t cudaFreeAsync(void* block, cudaStream_t stream) {
  stream->add([=] { ::operator delete (block, std::align_val_t{256}); });
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* block, int byte, std::size_t bytes, cudaStream_t stream) {
  stream->add([=] { std::memset(block, byte, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                                   cudaStream_t stream) {
  stream->add([=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = *total = passnorm::host_memory()->free_bytes();
  return cudaSuccess;
}
