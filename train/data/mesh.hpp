// Triangle meshes of OFF files (http://segeval.cs.princeton.edu/public/off_format.html), and points
// on their surface.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/runtime/random.hpp"

namespace passnorm::train {

struct Mesh {
  std::vector<std::array<double, 3>> vertices;
  std::vector<std::array<uint32_t, 3>> triangles;  ///< indices of vertices
};

/// "OFF", the numbers of vertices, faces and edges, a line per vertex (x y z) and per face (the
/// number of its corners, their indices, perhaps a colour); # begins a comment. A polygon becomes a
/// fan of triangles. The counts may follow OFF without a space (OFF490 518 0), as in some files of
/// ModelNet. Error(kInput), one line that starts with name:line: anything else, counts that the
/// text is too short for, a coordinate that is not finite or beyond 1e9, an index out of range.
Mesh parse_off(std::string_view name, std::string_view text);

/// `points` points [points, 3], uniform by area, then centred and scaled by to_unit_sphere. Point i
/// uses random number block i. Error(kInput) that starts with `name` when no triangle has an area.
std::vector<float> sample_surface(std::string_view name, const Mesh& mesh, int64_t points,
                                  const Random& random);

/// Moves the mean of the points of a cloud [points, 3] to 0 and scales the farthest to distance 1.
/// Points that are all one stay at 0.
void to_unit_sphere(std::span<float> cloud);

}  // namespace passnorm::train
