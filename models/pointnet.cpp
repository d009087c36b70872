// PointNet (Qi et al., CVPR 2017) as the 3-D reference has it: shared layers on every point between
// two learned transforms, the largest feature over the points, three linear layers. 0.44 G
// multiply-adds a cloud of 1024 points.
#include <array>
#include <optional>

#include "engine/ops/ops.hpp"
#include "models/builder.hpp"
#include "models/networks.hpp"

namespace passnorm::models {
namespace {

using kernels::NormActivation;

class PointNet final : public Model {
 public:
  PointNet(const Architecture& row, std::shared_ptr<Stream> stream, const ModelOptions& options)
      : Model(row, std::move(stream), options) {
    if (options.norm == kernels::NormKind::kInstance)
      fail(Fault::kUsage,
           "pointnet: instance norm leaves nothing of its linear layers, which have one position; "
           "use batch, group or layer norm");
    if (options.folded)
      fail(Fault::kUsage,
           "pointnet cannot be folded: its linear layers' biases are part of their raw scales");
    Builder builder(*this);
    const Builder::Extent points = builder.input();
    points_.emplace(builder, parameters(), "stn", points);
    const auto first = builder.add("convp1", points, point_layer(64));
    features_.emplace(builder, parameters(), "fstn", first.out);
    const auto second = builder.add("convp2", first.out, point_layer(128));
    const auto third = builder.add("convp3", second.out, point_layer(1024));
    convolutions_ = {first.layer, second.layer, third.layer};

    const auto p1 = builder.add("p1", {1, 1, third.out.c}, linear_layer(512));
    Builder::Form form = linear_layer(256);
    form.dropout = options.dropout;
    const auto p2 = builder.add("p2", p1.out, form);
    form = linear_layer(options.classes);
    form.normalise = false;
    linear_ = {p1.layer, p2.layer, builder.add("p3", p2.out, form).layer};
    builder.finish();
  }

 private:
  /// The references draw the layers that can carry a passport otherwise in passport networks.
  WeightInit init() const {
    return options().plan.scheme->passport ? WeightInit::kFanOut : WeightInit::kFanIn;
  }
  Builder::Form point_layer(int64_t outputs) const {
    return {.outputs = outputs,
            .form = ConvolutionForm::kPoints,
            .bias = Builder::Form::Bias::kInPlainNetworks,
            .init = init()};
  }
  Builder::Form linear_layer(int64_t outputs) const {
    return {.outputs = outputs,
            .form = ConvolutionForm::kVector,
            .bias = Builder::Form::Bias::kAlways,
            .init = init()};
  }

  /// A small PointNet that gives a J x J matrix for a cloud of points with J coordinates.
  struct Transform {
    Transform(Builder& builder, ParameterSet& set, const std::string& name,
              const Builder::Extent& in) {
      Builder::Extent at = in;
      const auto add = [&](const char* layer, int64_t outputs, ConvolutionForm form) {
        const auto built = builder.add(name + layer, at,
                                       {.outputs = outputs,
                                        .form = form,
                                        .bias = Builder::Form::Bias::kAlways,
                                        .init = WeightInit::kFanIn,
                                        .transform = true});
        at = built.out;
        return built.layer;
      };
      convolutions = {add(".conv1", 64, ConvolutionForm::kPoints),
                      add(".conv2", 128, ConvolutionForm::kPoints),
                      add(".conv3", 1024, ConvolutionForm::kPoints)};
      at = {1, 1, at.c};  // the largest of all points
      linear = {add(".fc1", 512, ConvolutionForm::kVector),
                add(".fc2", 256, ConvolutionForm::kVector)};
      last.emplace(set, name + ".fc3", at.c, in.c * in.c);
    }

    std::array<const Layer*, 3> convolutions;
    std::array<const Layer*, 2> linear;
    std::optional<Linear> last;
  };

  /// [N, 1, L, C] -> [N, 1, 1, C]
  static Var largest(Tape& tape, const Var& x) {
    const Var y = ops::global_max_pool(tape, x);
    return y.reshape({y.shape()[0], 1, 1, y.shape()[1]});
  }

  /// x [N, 1, L, J] -> [N, J J] in f32
  Var matrix(Pass& pass, const Transform& net, const Var& x) const {
    Var y = x;
    for (const Layer* layer : net.convolutions) y = run_layer(pass, *layer, y);
    y = largest(pass.tape, y);
    for (const Layer* layer : net.linear) y = run_layer(pass, *layer, y);
    return ops::add_identity(pass.tape,
                             net.last->forward(pass.tape, y.reshape({y.shape()[0], y.shape()[3]})));
  }

  /// [N, 1, L, 3] -> logits [N, classes]
  Var run(Pass& pass, const Var& input) override {
    Tape& tape = pass.tape;
    Var x = ops::batched_matmul(tape, input, matrix(pass, *points_, input));
    x = run_layer(pass, *convolutions_[0], x);
    const Var transform = matrix(pass, *features_, x);
    if (pass.regularise)
      pass.losses.push_back(
          ops::orthogonality_loss(tape, transform, {.form = options().orthogonality}));
    x = ops::batched_matmul(tape, x, transform);
    x = run_layer(pass, *convolutions_[1], x);
    x = run_layer(pass, *convolutions_[2], x, {.activation = NormActivation::kIdentity});
    x = largest(tape, x);
    x = run_layer(pass, *linear_[0], x);
    x = run_layer(pass, *linear_[1], x);
    x = run_layer(pass, *linear_[2], ops::cast(tape, x, DType::kF32),  // logits are f32
                  {.activation = NormActivation::kIdentity});
    return x.reshape({x.shape()[0], x.shape()[3]});
  }

  std::optional<Transform> points_, features_;
  std::array<const Layer*, 3> convolutions_, linear_;
};

}  // namespace

std::unique_ptr<Model> make_pointnet(const Architecture& row, std::shared_ptr<Stream> stream,
                                     const ModelOptions& options) {
  return std::make_unique<PointNet>(row, std::move(stream), options);
}

}  // namespace passnorm::models
