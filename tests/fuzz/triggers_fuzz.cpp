#include "engine/io/file.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "train/data/trigger_set.hpp"

void passnorm::fuzz::run(std::span<const std::byte> input) {
  std::vector<train::Trigger> triggers;
  if (!accepts({Fault::kInput},
               [&] { triggers = train::parse_trigger_manifest("f", text_of(input), 10); }))
    return;
  for (const train::Trigger& t : triggers) {
    require(t.label >= 0 && t.label < 10, "labels are in their range");
    require(!t.file.starts_with('/') && ('/' + t.file + '/').find("/../") == std::string::npos,
            "files lie below the folder");
  }
  require(train::parse_trigger_manifest("f", train::trigger_manifest(triggers), 10) == triggers,
          "a manifest is read as it was written");
}
