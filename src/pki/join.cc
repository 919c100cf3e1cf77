#include "pki/join.h"

#include <nlohmann/json.hpp>

#include "pki/files.h"
#include "pki/join_token.h"

namespace hansa::pki {
namespace {

using Json = nlohmann::json;

constexpr std::size_t max_node_id = 64;

// Takes the fields of one message; the first that is wrong is remembered.
class Fields {
 public:
  Fields(std::string_view text, std::string_view what) : what_(what) {
    if (text.size() <= max_join_message) json_ = Json::parse(text, nullptr, false);
    if (!json_.is_object()) wrong_ = "it is no JSON object of bounded size";
  }
  Fields& take(const char* name, std::string& out) {
    if (const Json* field = find(name, &Json::is_string)) out = field->get<std::string>();
    return *this;
  }
  Fields& take(const char* name, bool& out) {
    if (const Json* field = find(name, &Json::is_boolean)) out = field->get<bool>();
    return *this;
  }
  template <std::unsigned_integral Number>
  Fields& take(const char* name, Number& out) {
    const Json* field = find(name, &Json::is_number_unsigned);
    if (field == nullptr) return *this;
    const auto value = field->get<std::uint64_t>();
    if (value > std::numeric_limits<Number>::max()) wrong_ = std::string(name) + " is too large";
    out = static_cast<Number>(value);
    return *this;
  }
  Fields& take(const char* name, std::vector<std::string>& out) {
    const Json* field = find(name, &Json::is_array);
    if (field == nullptr) return *this;
    for (const Json& one : *field) {
      if (!one.is_string()) wrong_ = std::string(name) + " holds something that is no text";
      if (wrong_.empty()) out.push_back(one.get<std::string>());
    }
    return *this;
  }
  Result<void> outcome() const {
    if (wrong_.empty()) return {};
    return make_error(
        ErrorCode::invalid, Subject::request,
        "the " + what_ + " cannot be understood (" + wrong_ + "); do both machines run the same version?");
  }

 private:
  const Json* find(const char* name, bool (Json::*is)() const noexcept) {
    if (!wrong_.empty()) return nullptr;
    const auto field = json_.find(name);
    if (field != json_.end() && ((*field).*is)()) return &*field;
    wrong_ = std::string("no good \"") + name + "\"";
    return nullptr;
  }
  Json json_;
  std::string what_;
  std::string wrong_;
};

bool is_node_id(std::string_view id) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyz0123456789-";
  return !id.empty() && id.size() <= max_node_id && id.find_first_not_of(allowed) == std::string_view::npos;
}

}  // namespace

std::string encode(const JoinRequest& request) {
  return Json({{"token", request.token},
               {"node", request.node},
               {"publicKey", request.public_key},
               {"hosts", request.hosts},
               {"peer", request.peer},
               {"url", request.url},
               {"etcdHost", request.etcd_host},
               {"etcdPeerPort", request.etcd_peer_port}})
      .dump();
}

Result<JoinRequest> decode_join_request(std::string_view text) {
  JoinRequest out;
  Fields fields(text, "join request");
  fields.take("token", out.token).take("node", out.node).take("publicKey", out.public_key).take("hosts", out.hosts);
  fields.take("peer", out.peer).take("url", out.url).take("etcdHost", out.etcd_host);
  fields.take("etcdPeerPort", out.etcd_peer_port);
  HANSA_CHECK(fields.outcome());
  return out;
}

std::string encode(const JoinAnswer& answer) {
  return Json({{"cluster", answer.folder.cluster},
               {"secret", answer.folder.secret},
               {"managed", answer.folder.managed},
               {"endpoints", answer.folder.endpoints},
               {"peers", answer.folder.peers},
               {"ca", answer.authority.certificate},
               {"caKey", answer.authority.key},
               {"certificate", answer.certificate},
               {"etcdQuota", answer.etcd_quota}})
      .dump();
}

Result<JoinAnswer> decode_join_answer(std::string_view text) {
  JoinAnswer out;
  Fields fields(text, "answer to the join");
  fields.take("cluster", out.folder.cluster).take("secret", out.folder.secret).take("managed", out.folder.managed);
  fields.take("endpoints", out.folder.endpoints).take("peers", out.folder.peers);
  fields.take("ca", out.authority.certificate).take("caKey", out.authority.key);
  fields.take("certificate", out.certificate).take("etcdQuota", out.etcd_quota);
  HANSA_CHECK(fields.outcome());
  return out;
}

Result<JoinAnswer> answer_join(const JoinTerms& terms, const JoinRequest& request) {
  HANSA_TRY(const std::string fingerprint, authority_fingerprint(terms.authority.certificate));
  HANSA_CHECK(check_join_token(request.token, terms.folder.secret, fingerprint, terms.generation, terms.now));
  if (!is_node_id(request.node)) {
    return make_error(ErrorCode::invalid, Subject::request,
                      "a node's id has 1 to 64 characters of a-z, 0-9 and '-'; this one has others");
  }
  JoinAnswer out{
      .folder = terms.folder, .authority = terms.authority, .certificate = {}, .etcd_quota = terms.etcd_quota};
  const CertificateSubject subject{.node = request.node, .hosts = request.hosts};
  HANSA_TRY(out.certificate, issue_certificate(terms.authority, subject, request.public_key, terms.now));
  return out;
}

Result<void> keep_join_answer(io::Disk& disk, const std::string& root, const JoinAnswer& answer,
                              const std::string& key) {
  HANSA_TRY(const auto before, read_cluster_folder(disk, root));
  if (before && before->cluster != answer.folder.cluster) {
    return make_error(ErrorCode::conflict, Subject::file,
                      cluster_paths(root).state +
                          " says that this machine is in another cluster; move the folder away to join this one");
  }
  const ClusterPaths paths = cluster_paths(root);
  HANSA_CHECK(disk.make_directories(paths.folder));
  HANSA_CHECK(replace_file(disk, paths.ca, answer.authority.certificate, io::OpenMode::create));
  HANSA_CHECK(replace_file(disk, paths.ca_key, answer.authority.key, io::OpenMode::create_private));
  HANSA_CHECK(replace_file(disk, paths.key, key, io::OpenMode::create_private));
  HANSA_CHECK(replace_file(disk, paths.certificate, answer.certificate, io::OpenMode::create));
  return write_cluster_folder(disk, root, answer.folder);
}

}  // namespace hansa::pki
