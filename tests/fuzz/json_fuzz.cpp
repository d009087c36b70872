#include "engine/io/file.hpp"
#include "engine/io/json.hpp"
#include "tests/fuzz/fuzz.hpp"

void passnorm::fuzz::run(std::span<const std::byte> input) {
  Json json;
  if (!accepts({Fault::kInput}, [&] { json = parse_json("f", text_of(input)); })) return;
  require(parse_json("f", dump_json("f", json)) == json, "written JSON is read as the same value");
}
