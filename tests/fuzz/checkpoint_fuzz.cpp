#include "engine/io/crypto.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "train/checkpoint.hpp"

namespace passnorm::fuzz {
namespace {

/// With the checksum that it should have; else nothing but that would be tried.
std::vector<std::byte> checked(std::vector<std::byte> file) {
  Hash256 hash{};
  if (file.size() < hash.size()) return file;
  hash = blake2b256(std::span(file).first(file.size() - hash.size()));
  std::memcpy(file.data() + file.size() - hash.size(), hash.data(), hash.size());
  return file;
}

}  // namespace

void run(std::span<const std::byte> input) {
  train::Checkpoint checkpoint;
  if (!accepts({Fault::kInput},
               [&] { checkpoint = train::parse_checkpoint("f", checked(safetensors_of(input))); }))
    return;
  const std::vector<std::byte> written = checkpoint_bytes(checkpoint);
  const train::Checkpoint again = train::parse_checkpoint("f", written);
  require(again.position == checkpoint.position && again.run == checkpoint.run,
          "position and run are read as they were written");
  require(checkpoint_bytes(again) == written, "a checkpoint is read as it was written");
}

}  // namespace passnorm::fuzz
