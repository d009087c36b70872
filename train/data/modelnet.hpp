// Point clouds in files: ModelNet (Wu et al. 2015, https://modelnet.cs.princeton.edu) and sets in
// its forms.
#pragma once

#include <string>

#include "train/data/dataset.hpp"

namespace passnorm::train {

inline constexpr int64_t kDefaultPoints = 1024;

/// The first `points` points of every cloud in `folder`, which has one of
///   <split>_points_f16.bin, <split>_labels_u8.bin, shape_names.txt
///                             x, y, z of all points of all clouds, a label per cloud, a name a
///                             line
///   <split>/<id>_<label>.npy  a cloud per file (npy.hpp), as PAN's code names them; classes to the
///                             largest label of both splits, or those of shape_names.txt if it is
///                             there
///   <class>/<split>/*.off     meshes as Princeton has them (mesh.hpp): points sampled uniformly on
///                             the surface, the same for the same file name, and scaled to the unit
///                             sphere
/// with <split> train or test. Clouds of the first two are taken as they are. The order: the first
/// cloud of every class, then the second of every class, and so on, so that a limit keeps the
/// classes. Error(kInput) names the file and what is wrong with it.
Dataset modelnet(const std::string& folder, Split split, int64_t points = kDefaultPoints,
                 int64_t limit = 0);

}  // namespace passnorm::train
