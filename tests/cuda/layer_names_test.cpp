// Whatever a GPU's libraries cannot do is told with the layer that asked for it.
#if PASSNORM_EMULATED

#include "tests/emulator/vendor.hpp"
#include "tests/train/training.hpp"
#include "train/step.hpp"

namespace passnorm::train {
namespace {

/// The emulated libraries do not offer it while this lives.
class Missing {
 public:
  explicit Missing(const char* operation) : operation_(operation) {
    emulator::not_offered().insert(operation_);
  }
  ~Missing() { emulator::not_offered().erase(operation_); }
  Missing(const Missing&) = delete;
  Missing& operator=(const Missing&) = delete;

 private:
  std::string operation_;
};

TEST(LayerNames, StandInFailures) {
  const struct {
    const char *operation, *message;
  } rows[] = {{"forward", "conv1.conv: forward: "},
              {"product", "linear: product: "},
              {"backward-weight", "conv4.conv: backward-weight: "},
              {"backward-data", "conv4.conv: backward-data: "}};
  for (const DType precision : {DType::kF32, DType::kF16})
    for (const auto& row : rows) {
      SCOPED_TRACE(concat(row.operation, " ", name_of(precision)));
      const auto model = models::make("tiny", {}, make_stream(Device::cuda()));
      const Dataset data = train_set(4);
      const DeviceDataset images(model->stream(), data);
      const std::vector<int64_t> index = {0, 1, 2, 3};
      const Batch batch = images.batch(index, precision);
      const Missing missing(row.operation);
      try {
        forward_backward(*model, nullptr, batch.x, batch.labels, model->training_lanes(), {});
        ADD_FAILURE() << "it was done";
      } catch (const Error& error) {
        EXPECT_EQ(error.fault(), Fault::kMachine);
        EXPECT_TRUE(std::string(error.what()).starts_with(row.message)) << error.what();
      }
    }
}

/// What is done in another way is told once.
TEST(LayerNames, StandInNotesOfARun) {
  const auto stream = [] {
    return make_stream(Device::cuda(), StreamOptions{.epilogue_statistics = true});
  };
  FitOptions options = quick(2, 4);
  options.precision = DType::kF16;
  const Dataset data = train_set(8);
  Training summed("none", kernels::NormKind::kBatch, stream());
  summed.fit({data}, options);
  const auto of_engines = [](std::vector<std::string> notes) {
    std::erase_if(notes, [](const std::string& note) {
      return note.find("offers no engine") == std::string::npos;
    });
    return notes;
  };
  EXPECT_EQ(of_engines(summed.notes), std::vector<std::string>());
  const Missing missing("forward, sums");
  Training run("none", kernels::NormKind::kBatch, stream());
  run.fit({data}, options);
  EXPECT_EQ(of_engines(run.notes),
            (std::vector<std::string>{
                "conv1.conv: forward, sums: the emulated library offers no engine"}));
  EXPECT_NE(run.buffers(), summed.buffers()) << "sums were taken nevertheless";
}

}  // namespace
}  // namespace passnorm::train

#endif
