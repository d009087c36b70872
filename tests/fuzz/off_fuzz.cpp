#include <cmath>

#include "engine/io/file.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "train/data/mesh.hpp"

void passnorm::fuzz::run(std::span<const std::byte> input) {
  train::Mesh mesh;
  if (!accepts({Fault::kInput}, [&] { mesh = train::parse_off("f", text_of(input)); })) return;
  for (const auto& t : mesh.triangles)
    for (const uint32_t v : t) require(v < mesh.vertices.size(), "a corner is a vertex");
  std::vector<float> cloud;
  if (!accepts({Fault::kInput},
               [&] { cloud = train::sample_surface("f", mesh, 8, Random(1, Purpose::kTest)); }))
    return;
  require(cloud.size() == 24, "as many points as wanted");
  for (size_t i = 0; i < cloud.size(); i += 3)
    require(std::hypot(cloud[i], cloud[i + 1], cloud[i + 2]) < 1.001f, "in the unit sphere");
}
