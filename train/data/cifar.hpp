// CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in the official binary layout: records of one (CIFAR-10:
// label) or two (CIFAR-100: coarse, fine label) bytes and 3072 bytes of pixels, the planes R, G, B
// of 32 x 32.
#pragma once

#include <array>
#include <string>

#include "train/data/dataset.hpp"

namespace passnorm::train {

/// Of CIFAR-10's images. PAN's code normalises every set of images with them, CIFAR-100 and
/// Caltech's too.
inline constexpr std::array<float, 4> kCifarMean{0.4914f, 0.4822f, 0.4465f},
    kCifarStddev{0.2023f, 0.1994f, 0.2010f, 1};

/// data_batch_1.bin .. data_batch_5.bin or test_batch.bin, in `folder` or its cifar-10-batches-bin.
/// Error(kInput) when a file is missing, empty or not whole records, or a label is out of range.
Dataset cifar10(const std::string& folder, Split split = Split::kTrain, int64_t limit = 0);

/// train.bin or test.bin, in `folder` or its cifar-100-binary; the fine labels.
Dataset cifar100(const std::string& folder, Split split = Split::kTrain, int64_t limit = 0);

}  // namespace passnorm::train
