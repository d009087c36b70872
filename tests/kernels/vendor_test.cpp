// What can be known of NVIDIA's libraries without a GPU.
#if PASSNORM_WITH_CUDA && !PASSNORM_EMULATED && !PASSNORM_TEST_CUDA

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "bench/cases/convolution.hpp"
#include "kernels/convolution_plans.hpp"
#include "kernels/cuda/check.hpp"
#include "kernels/cuda/conv_problem.hpp"
#include "kernels/cuda/library.hpp"
#include "kernels/cuda/pad.hpp"
#include "kernels/cuda/plan_cache.hpp"
#include "kernels/runtime/check.hpp"
#include "tests/support/files.hpp"

namespace passnorm::test {
namespace {

using kernels::ConvGeometry;
using kernels::ConvProblem;
using kernels::PlanCache;
using kernels::PlanReport;

/// The variable has this value while it lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* const before = std::getenv(name)) before_ = before;
    setenv(name, value.c_str(), 1);
  }
  ~Environment() { before_ ? setenv(name_, before_->c_str(), 1) : unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

/// A driver that cannot run our kernels is no bug of ours.
TEST(CudaCall, TellsTheMachinesFaultsFromOurs) {
  const struct {
    cudaError_t status;
    Fault fault;
  } rows[] = {{cudaErrorUnsupportedPtxVersion, Fault::kMachine},  // a driver older than the toolkit
              {cudaErrorInvalidPtx, Fault::kMachine},
              {cudaErrorJitCompilerNotFound, Fault::kMachine},
              {cudaErrorNoKernelImageForDevice, Fault::kMachine},
              {cudaErrorSystemNotReady, Fault::kMachine},
              {cudaErrorMemoryAllocation, Fault::kMemory},
              {cudaErrorInvalidValue, Fault::kBug}};
  for (const auto& row : rows) try {
      PASSNORM_CALL(row.status);
      ADD_FAILURE() << cudaGetErrorName(row.status) << " was taken for success";
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), row.fault) << error.what();
      EXPECT_NE(std::string(error.what()).find(cudaGetErrorName(row.status)), std::string::npos);
    }
}

std::string message_of(const Library::Source& source) {
  try {
    const Library library(source);
    return "opened " + library.file();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::kMachine);
    return error.what();
  }
}

TEST(Library, SaysWhatIsMissingAndHowToGetIt) {
  const TemporaryFolder empty;
  struct Case {
    const Library::Source& source;
    std::vector<const char*> words;
  };
  for (const Case& c :
       {Case{Library::kCudnn, {"cuDNN 9", "PASSNORM_CUDNN", "libcudnn.so.9", "nvidia-cudnn"}},
        Case{Library::kCublasLt,
             {"cuBLASLt", "PASSNORM_CUBLAS", "libcublasLt.so.13", "libcublasLt.so.12"}}}) {
    const Environment set(c.source.variable, empty.path());
    const std::string message = message_of(c.source);
    for (const char* word : c.words) EXPECT_NE(message.find(word), std::string::npos) << message;
    EXPECT_NE(message.find("pip install "), std::string::npos) << message;
    EXPECT_NE(message.find(empty.path()), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(Library, WithoutTheVariableTheLoaderLooks) {
  const Library::Source nothing{"Nothing 1", {"libpassnorm_nothing.so.1"}, "PASSNORM_NOTHING", "x"};
  const std::string message = message_of(nothing);
  EXPECT_NE(message.find("LD_LIBRARY_PATH"), std::string::npos) << message;
  EXPECT_NE(message.find("PASSNORM_NOTHING"), std::string::npos) << message;
}

/// The variable may name the file itself, or its folder.
TEST(Library, IsOpenedWhereTheVariableSays) {
  const Library::Source source{"C", {"libc.so.6"}, "PASSNORM_NOTHING", "x"};
  EXPECT_EQ(message_of(source), "opened libc.so.6");
  const Library c(source);
  EXPECT_EQ(c.function<decltype(::atoi)>("atoi")("42"), 42);
  EXPECT_THROW(c.function<decltype(::atoi)>("passnorm_nothing"), Error);
  const TemporaryFolder folder;
  const std::filesystem::path link = folder.path("libc.so.6");
  const std::filesystem::path file = std::ifstream("/lib/x86_64-linux-gnu/libc.so.6")
                                         ? "/lib/x86_64-linux-gnu/libc.so.6"
                                         : "/lib64/libc.so.6";
  std::filesystem::create_symlink(file, link);
  for (const std::string& place : {folder.path(), link.string()}) {
    const Environment set("PASSNORM_NOTHING", place);
    EXPECT_EQ(message_of(source), "opened " + link.string());
  }
}

TEST(Library, ThatIsTooOldSaysWhichIsNeeded) {
  const Library::Source source{"C", {"libc.so.6"}, "PASSNORM_NOTHING", "x", 90200};
  const Library c(source);
  c.check_version(90200);
  try {
    c.check_version(90199);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.fault(), Fault::kMachine);
    EXPECT_STREQ(e.what(), "libc.so.6 has version 9.1; 9.2 or later is needed: pip install x");
  }
}

class PlanCacheFile : public testing::Test {
 protected:
  TemporaryFolder folder;
  std::filesystem::path file = folder.path("deep/plans.txt");
  std::string text() const {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  void write(const std::string& contents) const {
    std::ofstream(file, std::ios::binary) << contents;
  }
};

TEST_F(PlanCacheFile, KeepsWhatWasStored) {
  PlanCache cache(file, "here");
  EXPECT_EQ(cache.find("a"), std::nullopt);
  cache.store("a", "engine 1");
  cache.store("b b", "");
  EXPECT_EQ(cache.find("a"), "engine 1");
  const PlanCache again(file, "here");
  EXPECT_EQ(again.find("a"), "engine 1");
  EXPECT_EQ(again.find("b b"), "");
  EXPECT_EQ(again.find("c"), std::nullopt);
  // Nothing unfinished is left beside it.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(file.parent_path()), {}), 1);
}

TEST_F(PlanCacheFile, OfAnotherDeviceIsEmpty) {
  PlanCache(file, "here").store("a", "1");
  EXPECT_EQ(PlanCache(file, "there").find("a"), std::nullopt);
}

/// Two processes: both choices are kept, and of two for one problem the first.
TEST_F(PlanCacheFile, IsShared) {
  PlanCache one(file, "here"), two(file, "here");
  one.store("a", "1");
  two.store("b", "2");
  two.store("a", "3");
  const PlanCache later(file, "here");
  EXPECT_EQ(later.find("a"), "1");
  EXPECT_EQ(later.find("b"), "2");
}

/// Streams of one process at the same time: the file is whole whenever one of them reads it.
TEST_F(PlanCacheFile, StaysWholeUnderThreads) {
  PlanCache(file, "here").store("first", "engine");
  std::atomic<int> lost = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        PlanCache cache(file, "here");
        lost += !cache.find("first");
        cache.store(concat(t, " ", i), "engine");
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(file.parent_path()), {}), 1);
}

/// Cut anywhere, or changed in any byte, it is empty, and can be written again.
TEST_F(PlanCacheFile, DamagedIsEmpty) {
  PlanCache(file, "here").store("a", "engine 1");
  const std::string whole = text();
  ASSERT_EQ(PlanCache(file, "here").find("a"), "engine 1");
  for (size_t i = 0; i < whole.size(); ++i) {
    write(whole.substr(0, i));
    EXPECT_EQ(PlanCache(file, "here").find("a"), std::nullopt) << "cut to " << i;
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    write(changed);
    EXPECT_EQ(PlanCache(file, "here").find("a"), std::nullopt) << "byte " << i;
  }
  PlanCache(file, "here").store("a", "2");
  EXPECT_EQ(PlanCache(file, "here").find("a"), "2");
}

TEST_F(PlanCacheFile, WithoutAPlaceLastsForTheProcess) {
  for (const std::filesystem::path& nowhere :
       {std::filesystem::path(), std::filesystem::path("/proc/passnorm/plans.txt")}) {
    PlanCache cache(nowhere, "here");
    cache.store("a", "1");
    EXPECT_EQ(cache.find("a"), "1");
  }
}

TEST(PlanCacheFolder, IsTheUsers) {
  const Environment home("HOME", "/home/someone");
  {
    const Environment cache("XDG_CACHE_HOME", "/tmp/cache");
    EXPECT_EQ(PlanCache::folder(), "/tmp/cache/passnorm");
  }
  const Environment relative("XDG_CACHE_HOME", "not/absolute");  // is to be ignored
  EXPECT_EQ(PlanCache::folder(), "/home/someone/.cache/passnorm");
}

/// A plan is found by this name: whatever changes the problem changes it.
TEST(ConvProblem, NamesDiffer) {
  const ConvProblem problem{.geometry = {1, 2, 3, 4, 5, 6, 7, 8, 9}};
  std::set<std::string> names{problem.name()};
  size_t count = 1;
  const auto expect_new = [&](const ConvProblem& other) {
    names.insert(other.name());
    EXPECT_EQ(names.size(), ++count) << other.name();
  };
  for (int64_t ConvGeometry::*field :
       {&ConvGeometry::n, &ConvGeometry::h, &ConvGeometry::w, &ConvGeometry::c, &ConvGeometry::o,
        &ConvGeometry::kh, &ConvGeometry::kw, &ConvGeometry::stride, &ConvGeometry::pad}) {
    ConvProblem other = problem;
    other.geometry.*field = 10;
    expect_new(other);
  }
  for (const auto operation :
       {ConvProblem::Operation::kBackwardData, ConvProblem::Operation::kBackwardWeight}) {
    ConvProblem other = problem;
    other.operation = operation;
    expect_new(other);
  }
  ConvProblem other = problem;
  other.type = DType::kBF16;
  expect_new(other);
  other.result = DType::kBF16;
  expect_new(other);
  (other = problem).bias = true;
  expect_new(other);
  (other = problem).relu = true;
  expect_new(other);
  (other = problem).sums = true;
  expect_new(other);
}

TEST(ConvProblem, PaddedRowsAreWholeVectors) {
  const ConvGeometry g{.c = 3, .o = 9};
  EXPECT_EQ(kernels::padded(g, DType::kF32), (ConvGeometry{.c = 4, .o = 12}));
  EXPECT_EQ(kernels::padded(g, DType::kBF16), (ConvGeometry{.c = 8, .o = 16}));
  const ConvGeometry whole{.c = 64, .o = 128};
  EXPECT_EQ(kernels::padded(whole, DType::kF16), whole);
}

class NeedsCudnn : public testing::Test {
 protected:
  void SetUp() override {
    try {
      const Library library(Library::kCudnn);
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }
};

/// The engines that cuDNN has on an H100, asked without one. devices/h100.json holds the attributes
/// that CUDA documents of an H100 SXM5.
class OnH100 : public NeedsCudnn {
 protected:
  void SetUp() override {
    NeedsCudnn::SetUp();
    std::ifstream in(std::filesystem::path(__FILE__).parent_path() / "devices" / "h100.json");
    properties.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    if (properties.empty()) GTEST_SKIP() << "tests/kernels/devices/h100.json is not here";
  }
  static std::vector<ConvGeometry> geometries_of(const std::vector<cases::ConvCase>& cases) {
    std::vector<ConvGeometry> geometries;
    for (const cases::ConvCase& c : cases) {
      const ConvGeometry g{c.n, c.h, c.w, c.c, c.o, c.kh, c.kw, c.stride, c.pad};
      if (std::ranges::find(geometries, g) == geometries.end()) geometries.push_back(g);
    }
    return geometries;
  }
  std::string properties;
};

class Plans : public OnH100, public testing::WithParamInterface<DType> {
 protected:
  /// Forward, backward-data and at least one backward-weight of each.
  void expect_engines(const std::vector<cases::ConvCase>& cases) const {
    const std::vector<ConvGeometry> geometries = geometries_of(cases);
    std::map<std::string, std::string> why;  // by the case and the operation; empty: it has one
    for (const PlanReport& r : kernels::check_plans(properties, geometries, GetParam())) {
      if (r.operation.starts_with("forward, ")) continue;  // kernels of ours do it otherwise
      const std::string name = ConvProblem{.geometry = r.geometry}.name() + " " + r.operation;
      const auto [it, first] = why.emplace(name, r.why_none);
      if (!first && r.why_none.empty()) it->second.clear();
      EXPECT_LE(r.workspace, int64_t{1} << 30) << name;
      // They would round the operands to 10 bits.
      EXPECT_FALSE(r.tensor_cores && GetParam() == DType::kF32) << name << ": " << r.engine;
    }
    EXPECT_EQ(why.size(), 3 * geometries.size());
    for (const auto& [name, reason] : why) EXPECT_EQ(reason, "") << name;
  }
};
const auto kTypes = testing::Values(DType::kF32, DType::kBF16, DType::kF16);
const auto kTypeNames = [](const auto& p) { return name_of(p.param); };

TEST_P(Plans, OfTwoLayers) {
  expect_engines({{"resnet_stem", 512, 32, 32, 3, 64, 3, 3, 1, 1},
                  {"resnet_layer1", 512, 32, 32, 64, 64, 3, 3, 1, 1}});
}
INSTANTIATE_TEST_SUITE_P(H100, Plans, kTypes, kTypeNames);

using PlansFull = Plans;
TEST_P(PlansFull, OfTheNetworks) { expect_engines(cases::layer_convolutions(512)); }
/// Every case of the tests that is no product of matrices.
TEST_P(PlansFull, OfOddSizes) {
  std::vector<cases::ConvCase> convolutions;
  for (const cases::ConvCase& c : cases::odd_convolutions())
    if (c.h * c.w * c.kh * c.kw > 1) convolutions.push_back(c);
  expect_engines(convolutions);
}
INSTANTIATE_TEST_SUITE_P(H100, PlansFull, kTypes, kTypeNames);

/// StreamOptions::epilogue_statistics: cuDNN documents it for f16 alone.
class PlansWithSums : public OnH100 {
 protected:
  void expect_engines(const std::vector<cases::ConvCase>& cases) const {
    const std::vector<ConvGeometry> geometries = geometries_of(cases);
    size_t count = 0;
    for (const PlanReport& r : kernels::check_plans(properties, geometries, DType::kF16)) {
      if (r.operation != "forward, sums") continue;
      ++count;
      EXPECT_EQ(r.why_none, "") << ConvProblem{.geometry = r.geometry}.name();
    }
    EXPECT_EQ(count, geometries.size());
  }
};
TEST_F(PlansWithSums, OfTwoLayers) {
  expect_engines({{"resnet_stem", 512, 32, 32, 3, 64, 3, 3, 1, 1},
                  {"resnet_layer2_shortcut", 64, 32, 32, 64, 128, 1, 1, 2, 0}});
}
using PlansWithSumsFull = PlansWithSums;
TEST_F(PlansWithSumsFull, OfTheNetworks) { expect_engines(cases::layer_convolutions(512)); }

TEST_F(NeedsCudnn, ToBeGivenADevice) {
  try {
    kernels::check_plans("{}", {}, DType::kF32);
    ADD_FAILURE() << "took {}";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::kInput) << error.what();
  }
}

}  // namespace
}  // namespace passnorm::test

#endif
