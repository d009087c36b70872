// Secrets sealed with a passphrase, by libsodium. The format, all of it:
//
//   byte  0  18 bytes  "passnorm.sealed/1\n"
//        18   8        ops    LE64: passes of Argon2id
//        26   8        mem    LE64: its memory in bytes
//        34  16        salt
//        50  24        header of the secret stream
//        74  ...       chunks
//
//   key = Argon2id(version 0x13, passphrase, salt, t = ops, m = floor(mem / 1024) KiB, 1 lane,
//         32 bytes of output) (RFC 9106), which is crypto_pwhash with ALG_ARGON2ID13. The
//         passphrase is taken byte for byte.
//   Chunks are messages of one crypto_secretstream_xchacha20poly1305 under that key and header:
//   the plain bytes in pieces of 65536, each 17 bytes longer when sealed. Every piece but the last
//   has tag MESSAGE; the last one has 0 to 65536 bytes and tag FINAL; only of nothing it is empty.
//   The additional data of every message are the first 74 bytes.
//
// So no change goes unnoticed: of the parameters, of a byte, of the order, of the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/io/secret_bytes.hpp"

namespace passnorm {

/// What one guess of the passphrase costs. The default is libsodium's MODERATE: a passport is
/// opened a few times a day by its owner, who waits half a second (0.45 s on a core of 2025), but
/// guessed offline by whoever finds the file, for whom 256 MiB a guess is what hurts.
struct SealCost {
  uint64_t ops = 3;             ///< 1 to 16
  uint64_t mem = 256ull << 20;  ///< bytes, 8 KiB to 1 GiB
};
/// The least that the format allows: for tests, not for secrets.
inline constexpr SealCost kLeastSealCost{.ops = 1, .mem = 8192};

/// Error(kUsage) for an empty passphrase, Error(kMemory) when mem cannot be had.
std::vector<std::byte> seal(std::span<const std::byte> plain, const SecretText& passphrase,
                            SealCost cost = {});

/// Whether bytes begin as sealed ones do.
bool is_sealed(std::span<const std::byte> bytes);

/// The plain bytes; `name` stands in messages. Error(kInput) when the header is incomplete or asks
/// for more than the limits above (before memory is taken), Error(kSecret) for a wrong passphrase
/// or a file that was changed in any way, Error(kMemory) when mem cannot be had.
SecretBytes unseal(std::string_view name, std::span<const std::byte> sealed,
                   const SecretText& passphrase);

}  // namespace passnorm
