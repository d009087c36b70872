#include <gtest/gtest.h>

#include "engine/io/text.hpp"

namespace passnorm {
namespace {

TEST(Text, PrintableIsOneLineOfAscii) {
  EXPECT_EQ(printable("conv1.weight"), "conv1.weight");
  EXPECT_EQ(printable("a\nb\x1b[31m\xff\"\\"), "a\\x0ab\\x1b[31m\\xff\\x22\\x5c");
  EXPECT_EQ(printable(std::string_view("\0x", 2)), "\\x00x");
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdefg", 6), "abcdef...");
  EXPECT_EQ(quote("a b"), "\"a b\"");
}

TEST(Text, NearestName) {
  constexpr std::string_view kNames[] = {"cifar10", "cifar100", "synthetic", "deepipr-v1"};
  EXPECT_EQ(nearest("cifr10", kNames), "cifar10");
  EXPECT_EQ(nearest("cifar1000", kNames), "cifar100");
  EXPECT_EQ(nearest("syntetic", kNames), "synthetic");
  EXPECT_EQ(nearest("deepipr_v2", kNames), "deepipr-v1");
  EXPECT_EQ(nearest("icfar10", kNames), "cifar10");
  constexpr std::string_view kCommands[] = {"eval", "train"};
  EXPECT_EQ(nearest("trian", kCommands), "train");
  EXPECT_EQ(nearest("rtian", kCommands), "");  // two swaps of five characters
  EXPECT_EQ(nearest("imagenet", kNames), "");
  EXPECT_EQ(nearest("", kNames), "");
  EXPECT_EQ(nearest("x", {}), "");
}

}  // namespace
}  // namespace passnorm
