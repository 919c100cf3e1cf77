#include "pki/cluster_folder.h"

#include <nlohmann/json.hpp>

#include "pki/files.h"

namespace hansa::pki {
namespace {

constexpr int folder_format = 1;

Error not_understood(const std::string& path, const std::string& why) {
  return make_error(ErrorCode::corrupt, Subject::file,
                    path + " cannot be understood (" + why +
                        "); it says which cluster this machine belongs to. Restore the file, or move its folder away "
                        "and join the cluster again");
}

bool take_texts(const nlohmann::json& json, const char* name, std::vector<std::string>& out) {
  const auto field = json.find(name);
  if (field == json.end() || !field->is_array()) return false;
  for (const auto& one : *field) {
    if (!one.is_string()) return false;
    out.push_back(one.get<std::string>());
  }
  return true;
}

bool take_text(const nlohmann::json& json, const char* name, std::string& out) {
  const auto field = json.find(name);
  if (field == json.end() || !field->is_string()) return false;
  out = field->get<std::string>();
  return true;
}

}  // namespace

Result<std::string> read_file(io::Disk& disk, const std::string& path) {
  HANSA_TRY(auto file, disk.open(path, io::OpenMode::read));
  HANSA_TRY(const auto size, file->size());
  if (size > max_small_file) return make_error(ErrorCode::too_large, Subject::file, path + " is too large");
  std::string text(size, '\0');
  HANSA_TRY(const auto got, file->read(0, Bytes(reinterpret_cast<std::byte*>(text.data()), text.size())));
  text.resize(got);
  return text;
}

Result<void> replace_file(io::Disk& disk, const std::string& path, std::string_view text, io::OpenMode mode) {
  const std::string fresh = path + ".new";
  HANSA_TRY(auto file, disk.open(fresh, mode));
  HANSA_CHECK(file->truncate(0));
  HANSA_CHECK(file->write(0, as_bytes(text)));
  HANSA_CHECK(file->sync());
  HANSA_CHECK(disk.rename(fresh, path));
  return disk.sync_directory(path.substr(0, path.rfind('/')));
}

ClusterPaths cluster_paths(const std::string& root) {
  const std::string folder = root + "/cluster";
  return {.folder = folder,
          .state = folder + "/cluster.json",
          .ca = folder + "/ca.crt",
          .ca_key = folder + "/ca.key",
          .certificate = folder + "/node.crt",
          .key = folder + "/node.key"};
}

Result<std::optional<ClusterFolder>> read_cluster_folder(io::Disk& disk, const std::string& root) {
  const std::string path = cluster_paths(root).state;
  const auto text = read_file(disk, path);
  if (!text && text.error().code == ErrorCode::not_found) return std::optional<ClusterFolder>{};
  if (!text && text.error().code == ErrorCode::too_large) return not_understood(path, "it is too large");
  if (!text) return text.error();
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object()) return not_understood(path, "it is not a JSON object");
  const auto format = json.find("format");
  if (format == json.end() || *format != folder_format) return not_understood(path, "its format is unknown");
  ClusterFolder out;
  const auto managed = json.find("managed");
  if (managed == json.end() || !managed->is_boolean()) return not_understood(path, "no \"managed\"");
  out.managed = managed->get<bool>();
  if (!take_text(json, "cluster", out.cluster)) return not_understood(path, "no \"cluster\"");
  if (!take_text(json, "secret", out.secret) || out.secret.empty()) return not_understood(path, "no \"secret\"");
  if (!take_texts(json, "endpoints", out.endpoints)) return not_understood(path, "no \"endpoints\"");
  if (!take_texts(json, "peers", out.peers)) return not_understood(path, "no \"peers\"");
  return std::optional<ClusterFolder>(std::move(out));
}

Result<void> write_cluster_folder(io::Disk& disk, const std::string& root, const ClusterFolder& folder) {
  const ClusterPaths paths = cluster_paths(root);
  const nlohmann::json json = {{"format", folder_format},   {"cluster", folder.cluster},     {"secret", folder.secret},
                               {"managed", folder.managed}, {"endpoints", folder.endpoints}, {"peers", folder.peers}};
  HANSA_CHECK(disk.make_directories(paths.folder));
  return replace_file(disk, paths.state, json.dump(1) + "\n", io::OpenMode::create_private);
}

}  // namespace hansa::pki
