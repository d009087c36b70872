#include <cmath>
#include <optional>

#include "engine/io/safetensors.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace passnorm::fuzz {
namespace {

bool is_floating(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kF64;
}

void check_values(const TensorInfo& t) {
  const int64_t bad = count_nonfinite(t);
  if (!is_floating(t.dtype)) return require(bad == 0, "integers are finite");
  const std::vector<float> values = to_f32(t);
  require(std::ssize(values) == t.size(), "every element is converted");
  const auto counted =
      std::ranges::count_if(values, [](float value) { return !std::isfinite(value); });
  // A large f64 is infinite as f32.
  require(t.dtype == DType::kF64 ? counted >= bad : counted == bad, "count of what is not finite");
}

bool same(const TensorInfo& a, const TensorInfo& b) {
  return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape &&
         std::ranges::equal(a.data, b.data);
}

}  // namespace

void run(std::span<const std::byte> input) {
  std::optional<SafeTensors> file;
  if (!accepts({Fault::kInput}, [&] { file = SafeTensors::parse("f", safetensors_of(input)); }))
    return;
  std::vector<std::vector<std::byte>> aligned;
  std::vector<TensorEntry> entries;
  for (const TensorInfo& t : file->tensors()) {
    check_values(t);
    require(file->find(t.name) == &t, "a tensor is found by its name");
    aligned.emplace_back(t.data.begin(), t.data.end());
    entries.push_back({t.name, t.shape, ConstView(aligned.back().data(), t.dtype, t.size())});
  }
  const SafeTensors again = SafeTensors::parse("f", safetensors_bytes(entries, file->metadata()));
  require(again.metadata() == file->metadata(), "metadata is read as it was written");
  require(std::ranges::equal(again.tensors(), file->tensors(), same),
          "tensors are read as they were written");
}

}  // namespace passnorm::fuzz
