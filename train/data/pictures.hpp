// Pictures in a folder per class: Caltech-101 (Fei-Fei et al. 2004) and Caltech-256 (Griffin et al.
// 2007, both at https://data.caltech.edu), to which both references transfer networks, and sets in
// their form.
#pragma once

#include <string>

#include "train/data/dataset.hpp"

namespace passnorm::train {

/// The JPEG and PNG pictures in `folder` (files .jpg, .jpeg, .png; what they hold tells the
/// format), 32 x 32: resize_shorter_side and center_crop, as the references. It has one of
///   CLASS/FILE        of the n pictures of each class, in order of the bytes of their names, the
///                     first floor(0.8 n) are for training, the others for tests
///   train/CLASS/FILE  and test/ or val/, as they are; a class may lack in one of them
/// Classes, too, are in order of the bytes of their names; BACKGROUND_Google is none, as in PAN's
/// code. The order: the first picture of every class, then the second of every class, and so on,
/// so that a limit keeps the classes. Normalisation: CIFAR-10's, as in PAN's code. Error(kInput)
/// names the file or folder: there are no pictures, more than kMaxClasses classes (folders.hpp), a
/// class of fewer than two pictures that is to be split, or a picture that cannot be decoded (only
/// those that are returned are).
Dataset pictures(const std::string& folder, Split split = Split::kTrain, int64_t limit = 0);

}  // namespace passnorm::train
