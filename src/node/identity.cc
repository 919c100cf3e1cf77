#include "node/identity.h"

#include <nlohmann/json.hpp>

#include "base/bytes.h"

namespace hansa::node {
namespace {

constexpr int identity_format = 1;
constexpr std::size_t max_identity_bytes = 64 * KiB;
constexpr std::size_t nonce_bytes = 16;
constexpr std::size_t node_id_bytes = 8;
constexpr std::size_t secret_bytes = 32;

std::string path_of(const std::string& root) {
  return root + "/disk.json";
}

Error not_understood(const std::string& root, const std::string& why) {
  return make_error(ErrorCode::corrupt, Subject::file,
                    path_of(root) + " cannot be understood (" + why +
                        "); it says whose data this folder holds. Restore the file from a backup, or choose another "
                        "rootDirectory");
}

}  // namespace

Identity make_identity(io::Random& random) {
  Identity identity;
  identity.cluster = random.hex(nonce_bytes);
  identity.node = random.hex(node_id_bytes);
  identity.disk = random.hex(nonce_bytes);
  identity.secret = random.hex(secret_bytes);
  return identity;
}

Result<std::optional<Identity>> read_identity(io::Disk& disk, const std::string& root) {
  auto file = disk.open(path_of(root), io::OpenMode::read);
  if (!file && file.error().code == ErrorCode::not_found) return std::optional<Identity>{};
  if (!file) return file.error();
  HANSA_TRY(const auto size, (*file)->size());
  if (size > max_identity_bytes) return not_understood(root, "it is too large");
  std::string text(size, '\0');
  HANSA_TRY(const auto got, (*file)->read(0, Bytes(reinterpret_cast<std::byte*>(text.data()), text.size())));
  const auto json = nlohmann::json::parse(text.substr(0, got), nullptr, false);
  if (!json.is_object()) return not_understood(root, "it is not a JSON object");
  Identity identity;
  const std::pair<const char*, std::string*> fields[] = {{"cluster", &identity.cluster}, {"node", &identity.node},
                                                         {"disk", &identity.disk},       {"boot", &identity.boot},
                                                         {"next", &identity.next},       {"secret", &identity.secret}};
  if (json.value("format", 0) != identity_format) return not_understood(root, "its format is unknown");
  for (const auto& [name, out] : fields) {
    const auto field = json.find(name);
    if (field == json.end() || !field->is_string()) return not_understood(root, std::string("no ") + name);
    *out = field->get<std::string>();
  }
  // Older versions write none of these.
  for (const auto& [name, out] : {std::pair("at", &identity.at), std::pair("marks", &identity.marks)}) {
    const auto field = json.find(name);
    if (field != json.end() && field->is_number_unsigned()) *out = field->get<std::uint64_t>();
  }
  const auto unchecked = json.find("unchecked");
  if (unchecked != json.end() && unchecked->is_boolean()) identity.unchecked = unchecked->get<bool>();
  const auto measured = json.find("measured_ms");
  if (measured != json.end() && measured->is_number_integer()) identity.measured_ms = measured->get<std::int64_t>();
  return std::optional<Identity>(std::move(identity));
}

Result<void> write_identity(io::Disk& disk, const std::string& root, const Identity& identity) {
  const nlohmann::json json = {{"format", identity_format},
                               {"cluster", identity.cluster},
                               {"node", identity.node},
                               {"disk", identity.disk},
                               {"boot", identity.boot},
                               {"next", identity.next},
                               {"at", identity.at},
                               {"marks", identity.marks},
                               {"unchecked", identity.unchecked},
                               {"secret", identity.secret},
                               {"measured_ms", identity.measured_ms}};
  const std::string text = json.dump(1) + "\n";
  const std::string fresh = path_of(root) + ".new";
  HANSA_TRY(auto file, disk.open(fresh, io::OpenMode::create));
  HANSA_CHECK(file->truncate(0));
  HANSA_CHECK(file->write(0, as_bytes(text)));
  HANSA_CHECK(file->sync());
  HANSA_CHECK(disk.rename(fresh, path_of(root)));
  return disk.sync_directory(root);
}

Result<Identity> prepare_identity(io::Disk& disk, io::Random& random, const std::string& root) {
  HANSA_CHECK(disk.make_directories(root));
  HANSA_TRY(auto known, read_identity(disk, root));
  if (known) return *std::move(known);
  const Identity made = make_identity(random);
  HANSA_CHECK(write_identity(disk, root, made));
  return made;
}

bool is_same_disk(const Identity& identity, const catalog::NodeRecord& record, const catalog::HoldsRecord* mark) {
  const bool later = mark != nullptr && mark->disk == identity.disk && mark->number > identity.marks;
  return !later && record.disk == identity.disk && (record.boot == identity.boot || record.boot == identity.next);
}

}  // namespace hansa::node
