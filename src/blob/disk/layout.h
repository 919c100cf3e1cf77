// Where things lie under the store's root. Paths are made of digests and checked ids only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "oci/digest.h"

namespace hansa::blob::disk {

inline constexpr std::array all_algorithms = {oci::Algorithm::sha256, oci::Algorithm::sha384, oci::Algorithm::sha512};

class Layout {
 public:
  explicit Layout(std::string root) : root_(std::move(root)) {}
  std::string blobs() const { return root_ + "/blobs"; }
  std::string staging() const { return root_ + "/staging"; }
  std::string trash() const { return root_ + "/trash"; }
  std::string quarantine() const { return root_ + "/quarantine"; }

  std::string algorithm_folder(oci::Algorithm algorithm) const;
  std::string folder(const oci::Digest& digest) const;  // blobs/<algorithm>/<first two hex digits>
  std::string file(const oci::Digest& digest) const;
  std::string sidecar(const oci::Digest& digest) const { return file(digest) + ".crc"; }
  std::string staged(std::string_view id) const { return staging() + "/" + std::string(id); }
  // Sums of a staged file until it has a name.
  std::string staged_sidecar(std::string_view id) const { return staged(id) + ".crc"; }
  // trash/<tick>-<algorithm>-<hex>
  std::string trashed(const oci::Digest& digest, std::uint64_t tick) const;
  std::string quarantined(const oci::Digest& digest, std::string_view nonce) const;

 private:
  std::string root_;
};

// The tick in a trash name; empty for names that are not ours.
std::optional<std::uint64_t> tick_of_trash(std::string_view name);
// The digest in it, likewise.
std::optional<oci::Digest> digest_of_trash(std::string_view name);
// Session ids are file names: 1 to 128 of a-z, A-Z, 0-9, '-', '_'.
bool is_staging_id(std::string_view id);

}  // namespace hansa::blob::disk
