#include "train/checkpoint.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "engine/io/crypto.hpp"
#include "engine/io/file.hpp"
#include "engine/io/text.hpp"
#include "kernels/runtime/check.hpp"

namespace passnorm::train {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFormat = "passnorm.checkpoint/2";
/// Its numbers ended before the loss scale, which was 1, and the steps since it changed.
constexpr std::string_view kFormat1 = "passnorm.checkpoint/1";
constexpr uint64_t kMaxBytes = uint64_t{64} << 30;
constexpr std::string_view kRun = "run.";  // in front of the names of Checkpoint::run

std::string file_name(const Position& p) {
  char name[80];
  if (p.step == 0)
    std::snprintf(name, sizeof name, "epoch-%04lld.safetensors", static_cast<long long>(p.epoch));
  else
    std::snprintf(name, sizeof name, "epoch-%04lld-step-%06lld.safetensors",
                  static_cast<long long>(p.epoch), static_cast<long long>(p.step));
  return name;
}

std::optional<Position> position_of(const std::string& name) {
  long long epoch = 0, step = 0;
  if (std::sscanf(name.c_str(), "epoch-%18lld-step-%18lld", &epoch, &step) < 1) return std::nullopt;
  const Position p{epoch, step};
  return file_name(p) == name ? std::optional(p) : std::nullopt;
}

/// Of a folder, newest first.
std::vector<Position> positions(const std::string& folder) {
  std::vector<Position> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (const auto p = position_of(it->path().filename().string())) found.push_back(*p);
  if (error && error != std::errc::no_such_file_or_directory)
    fail(Fault::kInput, folder, ": cannot list: ", error.message());
  std::ranges::sort(found, std::greater());
  return found;
}

int64_t count_of(const SafeTensors& file, const char* key) {
  const auto found = file.metadata().find(key);
  long long value = -1;
  if (found == file.metadata().end() || std::sscanf(found->second.c_str(), "%18lld", &value) != 1 ||
      value < 0)
    fail(Fault::kInput, file.name(), ": metadata ", key, " is missing or no count");
  return value;
}

template <class T>
std::vector<T> elements(const SafeTensors& file, const TensorInfo& tensor) {
  if (tensor.dtype != dtype_of<T>())
    fail(Fault::kInput, file.name(), ": tensor ", quote(tensor.name), " is ",
         passnorm::name_of(tensor.dtype), ", not ", passnorm::name_of(dtype_of<T>()));
  std::vector<T> out(static_cast<size_t>(tensor.size()));
  if (!out.empty()) std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
  return out;
}

void require_same(const std::string& path, const Metadata& was, const Metadata& is) {
  const auto text = [](const Metadata& m, const std::string& key) {
    const auto found = m.find(key);
    return found == m.end() || found->second.empty() ? "none" : printable(found->second);
  };
  for (const Metadata* either : {&was, &is})
    for (const auto& [key, value] : *either)
      if (text(was, key) != text(is, key))
        fail(Fault::kUsage, path, " belongs to a run of other settings: ", printable(key), " was ",
             text(was, key), ", now ", text(is, key));
}

}  // namespace

std::vector<std::byte> checkpoint_bytes(const Checkpoint& c) {
  Metadata metadata{{"format", std::string(kFormat)},
                    {"epoch", std::to_string(c.position.epoch)},
                    {"step", std::to_string(c.position.step)}};
  for (const auto& [key, value] : c.run) metadata[concat(kRun, key)] = value;
  const auto entry = [](const std::string& name, const auto& values) {
    const auto n = static_cast<int64_t>(values.size());
    using T = std::remove_cvref_t<decltype(values[0])>;
    return TensorEntry{name, {n}, {values.data(), dtype_of<T>(), n}};
  };
  std::vector<TensorEntry> tensors;
  for (const auto& [name, values] : c.arenas) tensors.push_back(entry(name, values));
  tensors.push_back(entry("numbers", c.numbers));
  Hash256 checksum{};
  tensors.push_back(entry("checksum", checksum));  // the last bytes of the file
  std::vector<std::byte> bytes = safetensors_bytes(tensors, metadata);
  checksum = blake2b256(std::span(bytes).first(bytes.size() - checksum.size()));
  std::memcpy(bytes.data() + bytes.size() - checksum.size(), checksum.data(), checksum.size());
  return bytes;
}

Checkpoint parse_checkpoint(const std::string& name, std::vector<std::byte> bytes) {
  Hash256 checksum{};
  const bool whole = [&] {
    if (bytes.size() < checksum.size()) return false;
    const auto content = std::span(bytes).first(bytes.size() - checksum.size());
    std::memcpy(checksum.data(), bytes.data() + content.size(), checksum.size());
    return blake2b256(content) == checksum;
  }();
  if (!whole) fail(Fault::kInput, name, ": damaged: the checksum does not match the content");
  const SafeTensors file = SafeTensors::parse(name, std::move(bytes));
  const auto format = file.metadata().find("format");
  const bool first_format = format != file.metadata().end() && format->second == kFormat1;
  if (format == file.metadata().end() || (format->second != kFormat && !first_format))
    fail(Fault::kInput, name, ": no checkpoint: its format is not ", kFormat);

  Checkpoint c;
  c.position = {count_of(file, "epoch"), count_of(file, "step")};
  for (const auto& [key, value] : file.metadata())
    if (key.starts_with(kRun)) c.run[key.substr(kRun.size())] = value;
  for (const TensorInfo& tensor : file.tensors()) {
    if (tensor.name == "checksum") continue;
    if (tensor.name == "numbers")
      c.numbers = elements<double>(file, tensor);
    else
      c.arenas[tensor.name] = elements<float>(file, tensor);
  }
  if (first_format) c.numbers.insert(c.numbers.end(), {1, 0});
  return c;
}

std::string CheckpointFolder::path(const Position& position) const {
  return (fs::path(options_.folder) / file_name(position)).string();
}

void CheckpointFolder::start() const {
  if (options_.keep < 1) fail(Fault::kUsage, "at least one checkpoint has to be kept");
  if (!positions(options_.folder).empty())
    fail(Fault::kUsage, options_.folder,
         " already holds checkpoints: resume that run, or choose another folder");
  std::error_code error;
  fs::create_directories(options_.folder, error);
  if (error) fail(Fault::kInput, options_.folder, ": cannot make the folder: ", error.message());
}

void CheckpointFolder::save(const Checkpoint& checkpoint) {
  write_file_atomic(path(checkpoint.position), checkpoint_bytes(checkpoint), {.mode = 0600});
  int64_t kept = 0;
  for (const Position& p : positions(options_.folder)) {
    const bool damaged = p != checkpoint.position && std::ranges::count(damaged_, p) > 0;
    if (!damaged && p <= checkpoint.position && ++kept <= options_.keep) continue;
    std::error_code ignored;  // one too many does no harm
    fs::remove(path(p), ignored);
  }
}

Checkpoint CheckpointFolder::resume(const Metadata& run,
                                    const std::function<void(const std::string&)>& note) {
  const std::vector<Position> all = positions(options_.folder);
  if (all.empty()) fail(Fault::kInput, options_.folder, ": there is no checkpoint to resume from");
  for (const Position& p : all) {
    const std::string file = path(p);
    std::optional<Checkpoint> found;
    try {
      found = parse_checkpoint(file, read_file(file, kMaxBytes));
      if (found->position != p) fail(Fault::kInput, file, ": is that of another position");
    } catch (const Error& error) {
      if (error.fault() != Fault::kInput) throw;
      if (note) note(concat(error.what(), "; it is left out"));
      damaged_.push_back(p);
      continue;
    }
    require_same(file, found->run, run);
    if (note) note(concat("resumed from ", file));
    return *std::move(found);
  }
  fail(Fault::kInput, options_.folder, ": none of its ", all.size(),
       " checkpoints is whole: start again");
}

void remove_checkpoints(const std::string& folder) {
  for (const Position& p : positions(folder)) {
    std::error_code ignored;
    fs::remove(fs::path(folder) / file_name(p), ignored);
  }
}

}  // namespace passnorm::train
