// The constructors that the registry of models/model.cpp lists.
#pragma once

#include "models/model.hpp"

namespace passnorm::models {

std::unique_ptr<Model> make_alexnet(const Architecture& row, std::shared_ptr<Stream> stream,
                                    const ModelOptions& options);
std::unique_ptr<Model> make_resnet9(const Architecture& row, std::shared_ptr<Stream> stream,
                                    const ModelOptions& options);
std::unique_ptr<Model> make_resnet18(const Architecture& row, std::shared_ptr<Stream> stream,
                                     const ModelOptions& options);
std::unique_ptr<Model> make_pointnet(const Architecture& row, std::shared_ptr<Stream> stream,
                                     const ModelOptions& options);
std::unique_ptr<Model> make_tiny(const Architecture& row, std::shared_ptr<Stream> stream,
                                 const ModelOptions& options);

}  // namespace passnorm::models
