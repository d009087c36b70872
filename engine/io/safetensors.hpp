// The safetensors format: named tensors in one file, without code.
//   u64 LE   h: bytes of the header
//   h bytes  JSON object, may end in spaces:
//              name -> {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}
//              "__metadata__" -> {key: text}, optional
//   data     little-endian row-major elements; offsets count from here, and the tensors cover every
//            byte exactly once
// https://github.com/huggingface/safetensors
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/io/secret_bytes.hpp"
#include "kernels/runtime/view.hpp"

namespace passnorm {

using Metadata = std::map<std::string, std::string>;

/// One tensor of an open file. Foreign files do not align the data to the size of an element: copy,
/// do not cast.
struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;       ///< of any rank; empty for a scalar
  std::span<const std::byte> data;  ///< size() elements

  int64_t size() const { return static_cast<int64_t>(data.size() / size_of(dtype)); }
};

/// How many elements are NaN or infinite; 0 for integers.
int64_t count_nonfinite(const TensorInfo& tensor);

/// The elements of a floating tensor (f32, bf16, f16, f64) as f32; f64 is rounded to nearest. kBug
/// for integers.
std::vector<float> to_f32(const TensorInfo& tensor);
/// Into out, of size() elements.
void to_f32(const TensorInfo& tensor, std::span<float> out);

/// The tensors of a file, read whole and checked before the first is handed out. A file that breaks
/// any rule of the format is refused with Error(kInput): one line with the file, the tensor and the
/// reason.
class SafeTensors {
 public:
  static SafeTensors open(const std::string& path);
  /// The bytes of a file; `name` stands in error messages.
  static SafeTensors parse(std::string name, std::vector<std::byte> bytes);
  /// The same for a secret: its tensors stay in wiped memory. The header does not: a secret is
  /// never a name or metadata.
  static SafeTensors parse(std::string name, SecretBytes bytes);

  SafeTensors(SafeTensors&&) = default;
  SafeTensors& operator=(SafeTensors&&) = default;

  /// The path or name it was opened with.
  const std::string& name() const { return name_; }
  /// In the order of the header; the data lives as long as this object.
  std::span<const TensorInfo> tensors() const { return tensors_; }
  /// Null when there is none of this name.
  const TensorInfo* find(std::string_view tensor) const;
  const Metadata& metadata() const { return metadata_; }

 private:
  SafeTensors(std::string name, std::shared_ptr<const void> owner, std::span<const std::byte> all);

  std::string name_;
  std::shared_ptr<const void> bytes_;  ///< the vector that tensors_ lie in
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string_view, size_t> index_;  ///< keys are the names in tensors_
  Metadata metadata_;
};

/// A tensor to write; the dtype is the view's.
struct TensorEntry {
  std::string name;
  std::vector<int64_t> shape;
  ConstView data;  ///< host memory, product(shape) elements
};

/// The bytes of a file: tensors in the given order without gaps, metadata first and sorted by key,
/// the header padded with spaces to a multiple of 8. The same arguments give the same bytes. Names
/// are not empty, unique and UTF-8.
std::vector<std::byte> safetensors_bytes(std::span<const TensorEntry> tensors,
                                         const Metadata& metadata = {});

/// The same in wiped memory, for a passport.
SecretBytes safetensors_secret_bytes(std::span<const TensorEntry> tensors,
                                     const Metadata& metadata = {});

/// write_file_atomic of safetensors_bytes, mode 0644.
void write_safetensors(const std::string& path, std::span<const TensorEntry> tensors,
                       const Metadata& metadata = {});

}  // namespace passnorm
