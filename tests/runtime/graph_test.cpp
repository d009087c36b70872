#include "kernels/runtime/graph.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "kernels/elementwise.hpp"
#include "kernels/runtime/machine.hpp"
#include "kernels/runtime/pinned.hpp"
#include "kernels/runtime/random.hpp"
#include "tests/support/memory_scan.hpp"

namespace passnorm::test {
namespace {

/// The CPU, and the GPU or its emulator where there is one.
std::vector<Device> devices() {
  std::vector<Device> all{Device::cpu()};
  if (const auto gpu = gpu_report().first()) all.push_back(Device::cuda(*gpu));
  return all;
}

class OnDevice : public testing::TestWithParam<Device> {
 protected:
  std::unique_ptr<Stream> stream_ = make_stream(GetParam(), 1);

  float* take(size_t n) {
    auto* block = static_cast<float*>(stream_->memory()->allocate(n * sizeof(float)));
    blocks_.push_back({block, n * sizeof(float)});
    return block;
  }
  std::vector<float> read(const float* x, size_t n) {
    std::vector<float> out(n);
    stream_->copy_to_host(out.data(), x, n * sizeof(float));
    stream_->synchronize();
    return out;
  }
  void TearDown() override {
    for (const auto& [block, bytes] : blocks_) stream_->memory()->release(block, bytes);
  }

 private:
  std::vector<std::pair<void*, size_t>> blocks_;
};

/// A step that adds x to y: every replay does it once more, with what x is by then.
TEST_P(OnDevice, RepeatsARecordedStep) {
  constexpr size_t n = 100;
  float *x = take(n), *y = take(n);
  stream_->fill_bytes(y, 0, n * sizeof(float));
  CapturedWork step;
  std::vector<float> value(n);
  float sum = 0;
  for (int i = 1; i <= 6; ++i) {
    std::ranges::fill(value, static_cast<float>(i));
    sum += static_cast<float>(i);
    stream_->copy_to_device(x, value.data(), n * sizeof(float));
    step.run(*stream_, [&] {
      dispatch(*stream_, [&](auto& s) {
        kernels::add_to(s, {.x = {x, DType::kF32, n}, .y = {y, DType::kF32, n}});
      });
    });
    EXPECT_EQ(read(y, n), std::vector<float>(n, sum)) << "run " << i;
  }
  const bool gpu = GetParam().kind == Device::Kind::kCuda;
  EXPECT_EQ(step.captured(), gpu);
  EXPECT_EQ(step.nodes(), gpu ? 1u : 0u);
}

/// Memory planned elsewhere may move the slab that a record refers to.
TEST_P(OnDevice, RecordsAnewWhenTheSlabHasMoved) {
  constexpr size_t n = 1000;
  float* y = take(n);
  stream_->fill_bytes(y, 0, n * sizeof(float));
  MemoryPool& pool = *stream_->memory();
  MemoryPlan plan, other;
  CapturedWork step;
  const auto run = [&] {
    step.run(*stream_, [&] {
      const MemoryPlan::Run planned(pool, plan);
      void* x = pool.allocate(n * sizeof(float));
      dispatch(*stream_, [&](auto& s) {
        kernels::fill(s, {.y = {x, DType::kF32, n}, .value = 1});
        kernels::add_to(s, {.x = {x, DType::kF32, n}, .y = {y, DType::kF32, n}});
      });
      pool.release(x, n * sizeof(float));
    });
  };
  int runs = 0;
  for (; runs < 5; ++runs) run();
  for (int i = 0; i < 2; ++i) {
    const MemoryPlan::Run planned(pool, other);
    void* large = pool.allocate(size_t{8} << 20);
    stream_->fill_bytes(large, 0xFF, size_t{8} << 20);
    pool.release(large, size_t{8} << 20);
  }
  for (; runs < 10; ++runs) run();
  EXPECT_EQ(read(y, n), std::vector<float>(n, static_cast<float>(runs)));
}

/// The record refers to the memory of its day; work with other memory is a mistake of the caller.
TEST_P(OnDevice, RefusesToReplayWithOtherMemory) {
  constexpr int64_t n = 16;
  float *x = take(2 * n), *y = take(n);
  stream_->fill_bytes(y, 0, n * sizeof(float));
  stream_->fill_bytes(x, 0, 2 * n * sizeof(float));
  MemoryPlan plan, other_plan;
  const std::unique_ptr<Stream> other_stream = make_stream(GetParam(), 1);
  CapturedWork step;
  const auto view = [](float* data, int64_t size, DType dtype = DType::kF32) {
    return ConstView(data, dtype, size);
  };
  const auto run = [&](const CapturedMemory& memory, Stream* stream) {
    step.run(
        *stream,
        [&] {
          const MemoryPlan::Run planned(*stream->memory(), plan);
          void* block = stream->memory()->allocate(n * sizeof(float));
          dispatch(*stream, [&](auto& s) {
            kernels::fill(s, {.y = {block, DType::kF32, n}, .value = 1});
            kernels::add_to(s, {.x = {block, DType::kF32, n}, .y = {y, DType::kF32, n}});
          });
          stream->memory()->release(block, n * sizeof(float));
        },
        memory);
  };
  const CapturedMemory same{.plan = &plan, .permanent = {view(x, n), view(y, n)}};
  for (int i = 0; i < 5; ++i) run(same, stream_.get());
  EXPECT_EQ(read(y, n), std::vector<float>(n, 5));
  if (GetParam().kind == Device::Kind::kCpu) return;  // every run is of its own
  ASSERT_TRUE(step.captured());
  const auto refusal = [&](const CapturedMemory& memory, Stream* stream) -> std::string {
    try {
      run(memory, stream);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::kBug);
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      return error.what();
    }
    return "";
  };
  const auto expect = [&](const std::string& part, const CapturedMemory& memory) {
    const std::string text = refusal(memory, stream_.get());
    EXPECT_NE(text.find(part), std::string::npos) << part << ": " << text;
  };
  expect("tensor 0 was f32 [16] at ", {&plan, {view(x + n, n), view(y, n)}});
  expect("tensor 1 was f32 [16] at ", {&plan, {view(x, n), view(y, n / 2)}});
  expect("is i32 [16] at ", {&plan, {view(x, n, DType::kI32), view(y, n)}});
  expect("tensor 1 was f32 [16] at ", {&plan, {view(x, n), {}}});
  expect("1 tensors, not 2", {&plan, {view(x, n)}});
  expect("its plan", {&other_plan, same.permanent});
  expect("its plan", {nullptr, same.permanent});
  EXPECT_NE(refusal(same, other_stream.get()).find("another stream"), std::string::npos);
  run(same, stream_.get());
  EXPECT_EQ(read(y, n), std::vector<float>(n, 6)) << "what was refused did nothing";
  for (int i = 0; i < 2; ++i) {  // a run that leaves the plan, and the next, which makes another
    const MemoryPlan::Run planned(*stream_->memory(), plan);
    stream_->memory()->release(stream_->memory()->allocate(64), 64);
    if (i == 0) stream_->memory()->release(stream_->memory()->allocate(128), 128);
  }
  ASSERT_TRUE(plan.planned());
  expect("its plan", same);
}

TEST_P(OnDevice, RefusesToRecordAWaitOrNewMemory) {
  if (GetParam().kind == Device::Kind::kCpu) GTEST_SKIP() << "nothing is recorded on the CPU";
  for (const auto& offence :
       std::vector<std::function<void()>>{[&] { stream_->synchronize(); },
                                          [&] {
                                            float value = 0;
                                            stream_->copy_to_host(&value, take(1), sizeof value);
                                          }}) {
    CapturedWork step;
    bool offend = false;
    const auto work = [&] {
      if (offend) offence();
    };
    step.run(*stream_, work);
    offend = true;
    EXPECT_THROW(step.run(*stream_, work), Error);
    stream_->synchronize();  // the stream lives on
  }
}

TEST_P(OnDevice, PinnedBytesGoThereAndBack) {
  constexpr size_t n = 1000;
  float* x = take(n);
  PinnedBytes from(*stream_, n * sizeof(float)), to(*stream_, n * sizeof(float));
  const std::span<float> sent(reinterpret_cast<float*>(from.bytes().data()), n);
  for (size_t i = 0; i < n; ++i) sent[i] = static_cast<float>(i);
  Event start(*stream_), end(*stream_);
  end.wait();  // an event that was never recorded is no reason to wait
  start.record();
  stream_->copy_to_device(x, from.bytes().data(), n * sizeof(float));
  stream_->copy_to_host(to.bytes().data(), x, n * sizeof(float));
  end.record();
  end.wait();
  EXPECT_GE(Event::milliseconds(start, end), 0);
  EXPECT_TRUE(std::ranges::equal(from.bytes(), to.bytes()));
}

/// What was staged is found while it is, and nowhere afterwards.
TEST_P(OnDevice, StagedSecretsLeaveNothing) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer's own memory is too large to be searched";
#endif
  constexpr size_t n = 1000, bytes = n * sizeof(uint32_t);
  float* x = take(n);
  // First a rehearsal: functions of libraries that are bound in their first call leave the vector
  // registers on the stack.
  for (const bool rehearsal : {true, false}) {
    const Random random(std::random_device{}(), Purpose::kTest);
    std::vector<uint32_t> secret(n), back(n);
    for (size_t i = 0; i < n; ++i) secret[i] = random.word(5 * i);  // no block of Philox
    MemoryScan scan;
    scan.add("secret", std::as_bytes(std::span(secret)));
    {
      SecretStaging staging(*stream_, 2 * bytes);
      staging.copy_to_device(x, secret.data(), bytes / 2);
      staging.copy_to_device(x + n / 2, secret.data() + n / 2, bytes - bytes / 2);
      staging.copy_to_host(back.data(), x, bytes);
      EXPECT_EQ(back, secret);
      explicit_bzero(secret.data(), bytes);
      explicit_bzero(back.data(), bytes);
      stream_->memory()->wipe(x, bytes);
      stream_->synchronize();
      if (GetParam().kind == Device::Kind::kCuda) {
#if PASSNORM_EMULATED  // elsewhere /proc/self/mem may not show page-locked memory
        EXPECT_GE(scan.found()["secret"], 400) << "both ways";
#endif
        EXPECT_THROW(staging.copy_to_device(x, back.data(), 1), Error) << "there is no more room";
      }
    }
    const std::map<std::string, int64_t> found = scan.found();
    if (!rehearsal) {
      EXPECT_EQ(found, (std::map<std::string, int64_t>()));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, OnDevice, testing::ValuesIn(devices()), [](const auto& p) {
  return std::string(p.param.kind == Device::Kind::kCpu ? "Cpu" : "Cuda");
});

TEST(Devices, WithoutAGpuOneLineSaysWhy) {
  const GpuReport report = gpu_report();
  if (report.first()) GTEST_SKIP() << "there is one: " << report.gpus[0].name;
  EXPECT_FALSE(report.why_not(0).empty());
  EXPECT_EQ(report.why_not(0).find('\n'), std::string::npos);
  EXPECT_EQ(Device::best(), Device::cpu());
  try {
    make_stream(Device::cuda());
    ADD_FAILURE() << "a stream on a GPU that is not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::kMachine);
    EXPECT_NE(std::string(error.what()).find("--device cpu"), std::string::npos) << error.what();
  }
}

/// A GPU without cuDNN could not convolve.
TEST(Devices, AGpuIsBestWhereItsLibrariesAre) {
  GpuReport report{.gpus = {{.name = "a GPU", .compute_major = 9}}, .why_none = "no driver"};
  const GpuLibrary there{.name = "cuBLASLt", .file = "libcublasLt.so.13", .version = "13.1.0"},
      missing{.name = "cuDNN 9", .problem = "cuDNN 9 was not found"};
  EXPECT_EQ(why_cpu(report, {}), "");
  EXPECT_EQ(why_cpu(report, {there, there}), "");
  EXPECT_EQ(why_cpu(report, {there, missing}), "cuDNN 9 was not found");
  report.emulated = true;
  EXPECT_NE(why_cpu(report, {there}), "");
  report.emulated = false;
  report.gpus[0].compute_major = 7;
  EXPECT_NE(why_cpu(report, {there}).find("compute capability 7.0"), std::string::npos);
  report.gpus.clear();
  EXPECT_EQ(why_cpu(report, {there}), "no driver");
  EXPECT_EQ(why_cpu().empty(), Device::best().kind == Device::Kind::kCuda);
}

/// A GPU that our kernels are not made for is neither chosen nor accepted.
TEST(Devices, OldGpusAreNotUsed) {
  const GpuReport::Gpu t4{.name = "Tesla T4", .compute_major = 7, .compute_minor = 5},
      a100{.name = "A100", .compute_major = 8};
  const auto refusal = [](const GpuReport& report, int index) -> std::string {
    try {
      report.require(index);
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::kMachine);
      return error.what();
    }
    return "";
  };
  const GpuReport both{.gpus = {t4, a100}}, old{.gpus = {t4}}, none{.why_none = "no driver"};
  EXPECT_EQ(both.first(), 1);
  EXPECT_EQ(refusal(both, 1), "");
  EXPECT_EQ(refusal(both, 0),
            "cuda:0 was asked for, but Tesla T4 has compute capability 7.5, and 8.0 or later is "
            "needed; use --device cpu");
  EXPECT_EQ(refusal(both, 2),
            "cuda:2 was asked for, but this machine has 2 GPUs; use --device cpu");
  EXPECT_FALSE(refusal(both, -1).empty());
  EXPECT_EQ(old.first(), std::nullopt);
  EXPECT_EQ(refusal(old, 0), refusal(both, 0));
  EXPECT_EQ(none.first(), std::nullopt);
  EXPECT_EQ(refusal(none, 0), "cuda:0 was asked for, but no driver; use --device cpu");
}

}  // namespace
}  // namespace passnorm::test
