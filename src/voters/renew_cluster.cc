#include "voters/renew_cluster.h"

#include "pki/authority.h"
#include "pki/cluster_folder.h"
#include "pki/files.h"

namespace hansa::voters {
namespace {

constexpr std::size_t secret_bytes = 32;

}  // namespace

Result<void> write_new_cluster(io::Disk& disk, io::Clock& clock, io::Random& random, const ClusterPlace& place,
                               const EtcdSettings& settings, const std::string& nonce) {
  const io::WallTime now = clock.wall();
  HANSA_TRY(const auto authority, pki::create_authority(now));
  HANSA_TRY(const auto key, pki::make_key());
  HANSA_TRY(const auto public_key, pki::public_key_of(key));
  pki::CertificateSubject subject{.node = place.node, .hosts = place.hosts};
  subject.hosts.push_back(settings.host);
  HANSA_TRY(const auto certificate, pki::issue_certificate(authority, subject, public_key, now));
  const auto paths = pki::cluster_paths(place.root);
  HANSA_CHECK(disk.make_directories(paths.folder));
  HANSA_CHECK(pki::replace_file(disk, paths.ca, authority.certificate, io::OpenMode::create));
  HANSA_CHECK(pki::replace_file(disk, paths.ca_key, authority.key, io::OpenMode::create_private));
  HANSA_CHECK(pki::replace_file(disk, paths.key, key, io::OpenMode::create_private));
  HANSA_CHECK(pki::replace_file(disk, paths.certificate, certificate, io::OpenMode::create));
  return pki::write_cluster_folder(disk, place.root,
                                   {.cluster = nonce,
                                    .secret = random.hex(secret_bytes),
                                    .managed = true,
                                    .endpoints = {client_url(settings)},
                                    .peers = {}});
}

}  // namespace hansa::voters
