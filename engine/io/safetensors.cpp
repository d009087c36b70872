#include "engine/io/safetensors.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "engine/io/file.hpp"
#include "engine/io/json.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm {
namespace {

static_assert(std::endian::native == std::endian::little,
              "elements are stored as they lie in memory");

constexpr uint64_t kMaxFileBytes = uint64_t{64} << 30;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr const char* kMetadataKey = "__metadata__";

struct DTypeName {
  const char* name;
  DType dtype;
};
constexpr DTypeName kDTypeNames[] = {
    {"F32", DType::kF32}, {"F16", DType::kF16}, {"BF16", DType::kBF16}, {"F64", DType::kF64},
    {"U8", DType::kU8},   {"I8", DType::kI8},   {"I32", DType::kI32},   {"I64", DType::kI64}};

const char* stored_name(DType dtype) {
  const auto* row = std::ranges::find(kDTypeNames, dtype, &DTypeName::dtype);
  PASSNORM_CHECK(row != std::end(kDTypeNames), "dtype ", name_of(dtype));
  return row->name;
}

/// Element count, or nothing for a negative size or beyond 2^63 - 1.
std::optional<int64_t> product(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (const int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(count, size, &count)) return std::nullopt;
  return count;
}

/// Reads the header's entry of one tensor.
class EntryReader {
 public:
  EntryReader(std::string_view file, const std::string& tensor, std::span<const std::byte> data)
      : file_(file), tensor_(tensor), data_(data) {}

  TensorInfo read(const Json& entry) const {
    if (tensor_.empty()) refuse("the name is empty");
    if (!entry.is_object()) refuse("expected an object, found ", entry.type_name());
    for (const auto& [key, value] : entry.items())
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        refuse("unknown field ", quote(key));
    TensorInfo info{tensor_, dtype(field(entry, "dtype")), shape(field(entry, "shape")), {}};
    info.data = data(field(entry, "data_offsets"));

    const std::optional<int64_t> elements = product(info.shape);
    int64_t bytes = 0;
    if (!elements ||
        __builtin_mul_overflow(*elements, static_cast<int64_t>(size_of(info.dtype)), &bytes))
      refuse("the shape has more than 2^63 bytes");
    if (static_cast<uint64_t>(bytes) != info.data.size())
      refuse("shape and dtype need ", bytes, " bytes, data_offsets span ", info.data.size());
    return info;
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... reason) const {
    fail(Fault::kInput, file_, ": tensor ", quote(tensor_), ": ", reason...);
  }

  const Json& field(const Json& entry, const char* key) const {
    const auto found = entry.find(key);
    if (found == entry.end()) refuse(key, " is missing");
    return *found;
  }

  DType dtype(const Json& value) const {
    if (!value.is_string()) refuse("dtype: expected a string, found ", value.type_name());
    const auto& text = value.get_ref<const std::string&>();
    for (const DTypeName& row : kDTypeNames)
      if (text == row.name) return row.dtype;
    refuse("unknown dtype ", quote(text), "; known are F32 F16 BF16 F64 U8 I8 I32 I64");
  }

  int64_t integer(const Json& value, const char* key) const {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > std::numeric_limits<int64_t>::max())
      refuse(key, ": expected integers from 0 to 2^63 - 1, found ",
             value.is_primitive() ? printable(value.dump()) : value.type_name());
    return value.get<int64_t>();
  }

  std::vector<int64_t> shape(const Json& value) const {
    if (!value.is_array()) refuse("shape: expected a list, found ", value.type_name());
    std::vector<int64_t> sizes;
    sizes.reserve(value.size());
    for (const Json& size : value) sizes.push_back(integer(size, "shape"));
    return sizes;
  }

  std::span<const std::byte> data(const Json& value) const {
    if (!value.is_array() || value.size() != 2) refuse("data_offsets: expected [begin, end]");
    const auto begin = static_cast<uint64_t>(integer(value[0], "data_offsets"));
    const auto end = static_cast<uint64_t>(integer(value[1], "data_offsets"));
    if (begin > end) refuse("data_offsets: begin ", begin, " is after end ", end);
    if (end > data_.size())
      refuse("data_offsets: end ", end, " is beyond the ", data_.size(), " bytes of data");
    return data_.subspan(begin, end - begin);
  }

  std::string_view file_;
  const std::string& tensor_;
  std::span<const std::byte> data_;
};

Metadata read_metadata(const std::string& file, const Json& value) {
  if (!value.is_object())
    fail(Fault::kInput, file, ": ", kMetadataKey, ": expected an object, found ",
         value.type_name());
  Metadata metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string())
      fail(Fault::kInput, file, ": ", kMetadataKey, ": key ", quote(key),
           ": expected a string, found ", text.type_name());
    metadata.emplace(key, text.get_ref<const std::string&>());
  }
  return metadata;
}

/// Every byte of the data belongs to exactly one tensor.
void check_cover(const std::string& file, std::span<const TensorInfo> tensors,
                 std::span<const std::byte> data) {
  const auto begin_of = [&](const TensorInfo& t) {
    return static_cast<uint64_t>(t.data.data() - data.data());
  };
  std::vector<const TensorInfo*> order(tensors.size());
  std::ranges::transform(tensors, order.begin(), [](const TensorInfo& t) { return &t; });
  std::ranges::sort(order, {},
                    [&](const TensorInfo* t) { return std::pair(begin_of(*t), t->data.size()); });
  uint64_t covered = 0;
  for (const TensorInfo* t : order) {
    const uint64_t begin = begin_of(*t);
    if (begin != covered)
      fail(Fault::kInput, file, ": tensor ", quote(t->name), ": begins at byte ", begin,
           " of the data, ",
           begin < covered ? "inside the tensor before it, which ends at " : "after a gap from ",
           covered);
    covered += t->data.size();
  }
  if (covered != data.size())
    fail(Fault::kInput, file, ": ", data.size() - covered,
         " bytes after the last tensor belong to none");
}

/// Elements as their bit patterns, one copy each: the data may be unaligned.
template <class Bits, class F>
void for_each_bits(const TensorInfo& tensor, F&& f) {
  for (size_t at = 0; at < tensor.data.size(); at += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, tensor.data.data() + at, sizeof bits);
    f(bits);
  }
}

/// exponent: the mask of the exponent's bits, all set in NaN and infinity.
template <class Bits>
int64_t count_exponent(const TensorInfo& tensor, Bits exponent) {
  int64_t count = 0;
  for_each_bits<Bits>(tensor, [&](Bits bits) { count += (bits & exponent) == exponent; });
  return count;
}

template <class Bits, class T>
void convert(const TensorInfo& tensor, float* out) {
  for_each_bits<Bits>(tensor,
                      [&](Bits bits) { *out++ = static_cast<float>(std::bit_cast<T>(bits)); });
}

template <class Bytes>
std::shared_ptr<const Bytes> keep(Bytes bytes) {
  return std::make_shared<const Bytes>(std::move(bytes));
}

}  // namespace

int64_t count_nonfinite(const TensorInfo& tensor) {
  switch (tensor.dtype) {
    case DType::kF32:
      return count_exponent<uint32_t>(tensor, 0x7f800000u);
    case DType::kBF16:
      return count_exponent<uint16_t>(tensor, 0x7f80u);
    case DType::kF16:
      return count_exponent<uint16_t>(tensor, 0x7c00u);
    case DType::kF64:
      return count_exponent<uint64_t>(tensor, 0x7ff0000000000000u);
    default:
      return 0;
  }
}

std::vector<float> to_f32(const TensorInfo& tensor) {
  std::vector<float> out(static_cast<size_t>(tensor.size()));
  to_f32(tensor, out);
  return out;
}

void to_f32(const TensorInfo& tensor, std::span<float> out) {
  PASSNORM_CHECK(static_cast<int64_t>(out.size()) == tensor.size(), out.size(), " elements for ",
                 tensor.size());
  switch (tensor.dtype) {
    case DType::kF32:
      return convert<uint32_t, float>(tensor, out.data());
    case DType::kBF16:
      return convert<uint16_t, bfloat16>(tensor, out.data());
    case DType::kF16:
      return convert<uint16_t, float16>(tensor, out.data());
    case DType::kF64:
      return convert<uint64_t, double>(tensor, out.data());
    default:
      fail(Fault::kBug, "tensor ", quote(tensor.name), " of ", name_of(tensor.dtype),
           " was read as f32");
  }
}

SafeTensors SafeTensors::open(const std::string& path) {
  return parse(path, read_file(path, kMaxFileBytes));
}

SafeTensors SafeTensors::parse(std::string name, std::vector<std::byte> bytes) {
  const auto kept = keep(std::move(bytes));
  return SafeTensors(std::move(name), kept, *kept);
}

SafeTensors SafeTensors::parse(std::string name, SecretBytes bytes) {
  const auto kept = keep(std::move(bytes));
  return SafeTensors(std::move(name), kept, *kept);
}

SafeTensors::SafeTensors(std::string name, std::shared_ptr<const void> owner,
                         std::span<const std::byte> all)
    : name_(std::move(name)), bytes_(std::move(owner)) {
  uint64_t header_bytes = 0;
  if (all.size() < sizeof header_bytes)
    fail(Fault::kInput, name_, ": not a safetensors file: ", all.size(),
         " bytes, expected at least 8");
  std::memcpy(&header_bytes, all.data(), sizeof header_bytes);
  if (header_bytes == 0 || header_bytes > kMaxHeaderBytes)
    fail(Fault::kInput, name_, ": not a safetensors file: a header of ", header_bytes,
         " bytes, expected 1 to ", kMaxHeaderBytes);
  if (header_bytes > all.size() - sizeof header_bytes)
    fail(Fault::kInput, name_, ": cut off, or not a safetensors file: a header of ", header_bytes,
         " bytes in a file of ", all.size());
  const auto header_text = text_of(all.subspan(sizeof header_bytes, header_bytes));
  const auto data = all.subspan(sizeof header_bytes + header_bytes);
  if (header_text.front() != '{') fail(Fault::kInput, name_, ": the header does not begin with {");

  try {
    const Json header = parse_json(name_, header_text);
    for (const auto& [key, entry] : header.items()) {
      if (key == kMetadataKey) {
        metadata_ = read_metadata(name_, entry);
      } else {
        tensors_.push_back(EntryReader(name_, key, data).read(entry));
      }
    }
    check_cover(name_, tensors_, data);
    for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
  } catch (const std::bad_alloc&) {
    fail(Fault::kMemory, name_, ": out of memory reading a header of ", header_bytes, " bytes");
  }
}

const TensorInfo* SafeTensors::find(std::string_view tensor) const {
  const auto found = index_.find(tensor);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

namespace {

template <class Bytes>
Bytes file_bytes(std::span<const TensorEntry> tensors, const Metadata& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  std::set<std::string_view> names;
  uint64_t end = 0;
  for (const TensorEntry& t : tensors) {
    PASSNORM_CHECK(!t.name.empty() && t.name != kMetadataKey && names.insert(t.name).second,
                   "tensor name ", quote(t.name));
    PASSNORM_CHECK(product(t.shape) == t.data.size, "tensor ", quote(t.name), " has ", t.data.size,
                   " elements, its shape another number");
    const uint64_t begin = end;
    end += static_cast<uint64_t>(t.data.size) * size_of(t.data.dtype);
    Json entry = {
        {"dtype", stored_name(t.data.dtype)}, {"shape", t.shape}, {"data_offsets", {begin, end}}};
    header.get_ref<Json::object_t&>().emplace_back(t.name, std::move(entry));
  }
  std::string text = dump_json("safetensors header", header);
  text.resize((text.size() + 7) / 8 * 8, ' ');

  const uint64_t header_bytes = text.size();
  Bytes bytes;
  bytes.reserve(sizeof header_bytes + header_bytes + end);
  const auto append = [&](const void* from, size_t count) {
    const auto* first = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), first, first + count);
  };
  append(&header_bytes, sizeof header_bytes);
  append(text.data(), text.size());
  for (const TensorEntry& t : tensors)
    append(t.data.data, static_cast<size_t>(t.data.size) * size_of(t.data.dtype));
  return bytes;
}

}  // namespace

std::vector<std::byte> safetensors_bytes(std::span<const TensorEntry> tensors,
                                         const Metadata& metadata) {
  return file_bytes<std::vector<std::byte>>(tensors, metadata);
}

SecretBytes safetensors_secret_bytes(std::span<const TensorEntry> tensors,
                                     const Metadata& metadata) {
  return file_bytes<SecretBytes>(tensors, metadata);
}

void write_safetensors(const std::string& path, std::span<const TensorEntry> tensors,
                       const Metadata& metadata) {
  write_file_atomic(path, safetensors_bytes(tensors, metadata));
}

}  // namespace passnorm
