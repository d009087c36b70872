#include "engine/tensor/tensor.hpp"

namespace passnorm {

struct Tensor::Storage {
  std::shared_ptr<MemoryPool> pool;
  void* data;
  size_t bytes;
  bool secret = false;

  Storage(std::shared_ptr<MemoryPool> p, size_t n)
      : pool(std::move(p)), data(pool->allocate(n)), bytes(n) {}
  ~Storage() {
    if (secret) pool->wipe(data, bytes);
    pool->release(data, bytes);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
};

Tensor Tensor::empty(Stream& stream, const Shape& shape, DType dtype) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.storage_ = std::make_shared<Storage>(stream.memory(),
                                         static_cast<size_t>(shape.size()) * size_of(dtype));
  return t;
}

Tensor Tensor::secret(Stream& stream, const Shape& shape, DType dtype) {
  Tensor t = empty(stream, shape, dtype);
  t.storage_->secret = true;
  return t;
}

Tensor Tensor::zeros(Stream& stream, const Shape& shape, DType dtype) {
  Tensor t = empty(stream, shape, dtype);
  if (t.size() > 0) stream.fill_bytes(t.data(), 0, static_cast<size_t>(t.size()) * size_of(dtype));
  return t;
}

Tensor Tensor::slice(int64_t offset, const Shape& shape) const {
  PASSNORM_CHECK(offset >= 0 && offset + shape.size() <= size(), "slice of ", shape, " at ", offset,
                 " of ", shape_);
  Tensor t = *this;
  t.offset_ += offset;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::reshape(const Shape& shape) const {
  PASSNORM_CHECK(shape.size() == size(), shape_, " as ", shape);
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::bits_as(DType dtype) const {
  PASSNORM_CHECK(size_of(dtype) == size_of(dtype_), name_of(dtype_), " as ", name_of(dtype));
  Tensor t = *this;
  t.dtype_ = dtype;
  return t;
}

void* Tensor::data() const {
  if (!storage_) return nullptr;
  return static_cast<std::byte*>(storage_->data) + static_cast<size_t>(offset_) * size_of(dtype_);
}

void Tensor::copy_bytes_from(Stream& stream, void* to, const void* from, size_t bytes) {
  if (bytes > 0) stream.copy_to_device(to, from, bytes);  // no elements: no addresses
}

void Tensor::copy_bytes_to(Stream& stream, void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;  // no elements: no addresses
  stream.copy_to_host(to, from, bytes);
  stream.synchronize();
}

}  // namespace passnorm
