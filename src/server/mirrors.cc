#include "server/mirrors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "oci/digest.h"

namespace hansa::server {
namespace {

constexpr std::size_t max_name = 255;  // characters

std::string host_of(const std::string& address) {
  const auto scheme = address.find("://");
  return scheme == std::string::npos ? address : address.substr(scheme + 3);
}

bool is_plain(const std::string& address) {
  return !address.starts_with("https://");
}

// What may stand in a host name with a port and a path, and in a TOML string as it is.
bool is_name(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || std::string_view("-._:/[]").contains(c);
  };
  return !name.empty() && name.size() <= max_name && std::ranges::all_of(name, fits) && !name.contains("//");
}

std::string containerd_file(const std::vector<std::string>& addresses, const std::string& name) {
  std::string out = "# /etc/containerd/certs.d/" + name +
                    "/hosts.toml; containerd's registry.config_path must be /etc/containerd/certs.d\n"
                    "server = \"" +
                    addresses.front() + "\"\n";
  for (const auto& address : addresses) {
    out += "\n[host.\"" + address + "\"]\n  capabilities = [\"pull\", \"resolve\", \"push\"]\n";
  }
  return out;
}

std::string podman_entry(const std::string& address) {
  return "location = \"" + host_of(address) + "\"\n" + (is_plain(address) ? "insecure = true\n" : "");
}

// The mirrors are asked first, in order, then the location: it stands last, so that each is asked once.
std::string podman_file(const std::vector<std::string>& addresses, const std::string& name) {
  std::string out = "# /etc/containers/registries.conf.d/" + name.substr(0, name.find_first_of("/:")) +
                    ".conf\n[[registry]]\nprefix = \"" + name + "\"\n" + podman_entry(addresses.back());
  for (std::size_t i = 0; i + 1 < addresses.size(); ++i) out += "\n[[registry.mirror]]\n" + podman_entry(addresses[i]);
  return out;
}

}  // namespace

Result<MirrorFormat> parse_mirror_format(std::string_view text) {
  if (text == "containerd") return MirrorFormat::containerd;
  if (text == "podman") return MirrorFormat::podman;
  return make_error(ErrorCode::invalid, "\"" + std::string(text) + "\" is no format; name containerd or podman");
}

Result<std::vector<std::string>> mirror_addresses(const std::string& status, const std::string& client) {
  const auto json = nlohmann::json::parse(status, nullptr, false);
  if (!json.is_object() || !json.contains("members") || !json["members"].is_array()) {
    return make_error(ErrorCode::corrupt, "the server's list of members cannot be understood");
  }
  std::vector<std::tuple<bool, std::string, std::string>> ranked;  // away, order, address
  for (const auto& member : json["members"]) {
    if (!member.is_object() || member.value("state", "") != "active") continue;
    const std::string url = member.value("url", "");
    if (url.empty()) continue;
    const std::string id = member.value("id", "");
    const std::string drawn =
        client.empty() ? id : oci::Digest::compute(oci::Algorithm::sha256, as_bytes(client + "\n" + id)).hex();
    ranked.emplace_back(!member.value("alive", false), drawn, url);
  }
  std::ranges::sort(ranked);
  if (ranked.empty()) {
    return make_error(
        ErrorCode::unavailable,
        "no active member has an address for clients; set cluster.node.url (a single node needs no mirrors)");
  }
  std::vector<std::string> out;
  for (auto& [away, drawn, url] : ranked) out.push_back(std::move(url));
  return out;
}

Result<std::string> mirror_file(MirrorFormat format, const std::vector<std::string>& addresses, std::string name) {
  if (addresses.empty()) return make_error(ErrorCode::unavailable, "there is no member");
  if (name.empty()) name = host_of(addresses.front());
  for (const auto& text : {name, host_of(addresses.front())}) {
    if (!is_name(text)) {
      return make_error(ErrorCode::invalid, "\"" + text + "\" is no name of a registry; it must be host[:port][/path]");
    }
  }
  return format == MirrorFormat::containerd ? containerd_file(addresses, name) : podman_file(addresses, name);
}

}  // namespace hansa::server
