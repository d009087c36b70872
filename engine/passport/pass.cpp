#include "engine/passport/pass.hpp"

#include "kernels/passport.hpp"
#include "kernels/transform.hpp"

namespace passnorm {

namespace {

std::string description(const Site& site) {
  const kernels::ConvGeometry& g = site.geometry;
  if (site.kind == Site::Kind::kLinear)
    return concat(site.name, " (linear, keys ", g.c, ", ", g.o, " channels)");
  return concat(site.name, " (keys ", g.c, "x", g.h, "x", g.w, ", ", g.o, " channels, kernel ",
                g.kh, "x", g.kw, ", stride ", g.stride, ", padding ", g.pad, ")");
}

}  // namespace

OpenPassport::OpenPassport(Stream& stream, const Passport& passport, std::span<const Site> sites)
    : sites_(sites.begin(), sites.end()) {
  if (passport.sites().size() != sites.size())
    fail(Fault::kInput, "the passport is for ", passport.sites().size(), " sites, the network has ",
         sites.size());
  size_t key_elements = 0;
  for (const Site& site : sites) key_elements += 2 * static_cast<size_t>(site.key_size());
  SecretStaging staging(stream,
                        key_elements * sizeof(float) + static_cast<size_t>(passport.bit_count()));
  SecretVector<int8_t> bits;
  for (size_t i = 0; i < sites.size(); ++i) {
    const SitePassport& p = passport.sites()[i];
    const kernels::ConvGeometry& g = sites[i].geometry;
    if (!(p.site == sites[i]))
      fail(Fault::kInput, "the passport's site ", i + 1, " is ", description(p.site),
           "; the network's is ", description(sites[i]));
    const Tensor digest = Tensor::secret(stream, {2, g.window()});
    for (const auto* key : {&p.scale_key, &p.shift_key}) {
      const Tensor file = Tensor::secret(stream, {g.c, g.h, g.w});
      file.copy_from<float>(staging, *key);
      const Tensor image = Tensor::secret(stream, {g.h, g.w, g.c});
      const Tensor row = digest.slice(key == &p.scale_key ? 0 : g.window(), {g.window()});
      dispatch(stream, [&](auto& s) {
        kernels::to_channels_last(
            s, {.b = 1, .c = g.c, .s = g.h * g.w, .x = file.span(), .y = image.span()});
        kernels::passport_digest(s, {.geometry = g, .key = image.span(), .digest = row.span()});
      });
    }
    digests_.push_back({digest, Lanes::only(Branch::kPassport), nullptr});
    bits.insert(bits.end(), p.bits.begin(), p.bits.end());
  }
  bits_ = Tensor::secret(stream, {static_cast<int64_t>(bits.size())}, DType::kI8);
  bits_.copy_from<int8_t>(staging, bits);
}

OpenPassport::OpenPassport(std::vector<Site> sites, std::vector<Var> digests, Tensor bits)
    : sites_(std::move(sites)), digests_(std::move(digests)), bits_(std::move(bits)) {
  PASSNORM_CHECK(digests_.size() == sites_.size(), digests_.size(), " digests for ", sites_.size(),
                 " sites");
}

}  // namespace passnorm
