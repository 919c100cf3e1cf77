// Keys and values of the catalogue's records in the metadata store (docs: the commit table).
//
// Names exclude ':' and '@', so keys need no escaping. Values are compact JSON with a format number ("f"), the id of
// the operation that wrote them ("op"), and fields of newer versions, which are kept when a record is written again
// (`extra`). Times are wall times in milliseconds, for people only: safety never reads them (P10).
// Everything here is a value; decode errors are ErrorCode::corrupt and name the key's kind.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "meta/store.h"
#include "oci/digest.h"
#include "oci/manifest.h"
#include "oci/name.h"

namespace hansa::catalog {

using meta::Revision;
using TickNumber = std::uint64_t;

inline constexpr int record_format = 1;                       // what this version writes; newer ones are refused
inline constexpr std::size_t max_record_details = 32 * 1024;  // bytes of references + annotations in a record (H15)

namespace keys {
inline constexpr std::string_view tick = "tick";
inline constexpr std::string_view layout = "layout";
std::string repo(const oci::RepositoryName& name);  // the gate's inner door
std::string in(const oci::RepositoryName& name);    // the gate's outer door
std::string manifest(const oci::RepositoryName& name, const oci::Digest& digest);
std::string tag(const oci::RepositoryName& name, const oci::Tag& tag);
std::string expired(const oci::RepositoryName& name, const oci::Tag& tag);  // what retention removed
std::string link(const oci::RepositoryName& name, const oci::Digest& digest);
std::string grave(const oci::RepositoryName& name, const oci::Digest& digest);
std::string node(std::string_view id);
std::string alive(std::string_view id);
std::string holds(std::string_view id);
std::string pulls(std::string_view id, std::string_view batch);
std::string folded(std::string_view id);
std::string stats(const oci::RepositoryName& name);
std::string task(std::string_view name);
}  // namespace keys

enum class KeyKind : std::uint8_t {
  other,
  head,
  tick,
  layout,
  repo,
  in,
  manifest,
  tag,
  link,
  grave,
  node,
  alive,
  holds
};
// A key taken apart; views into the key. `rest` is the tag, the digest's text or the node id.
struct KeyParts {
  KeyKind kind = KeyKind::other;
  std::string_view repository;
  std::string_view rest;
};
KeyParts split_key(std::string_view key);

// What every record carries.
struct RecordBase {
  std::string operation;  // id of the commit that wrote it
  std::string extra;      // JSON object of unknown fields; empty: none
};

struct RepositoryRecord : RecordBase {
  std::int64_t created_ms = 0;
  std::string settings;  // JSON object, opaque here; empty: none
};

enum class ReferenceKind : std::uint8_t { config, layer, child, foreign };  // foreign ones need not be held
struct ReferenceItem {
  ReferenceKind kind = ReferenceKind::layer;
  oci::Descriptor descriptor;
};
// What `manifest` refers to, each digest and kind once.
std::vector<ReferenceItem> references_of(const oci::Manifest& manifest);

struct ManifestRecord : RecordBase {
  oci::ManifestKind kind = oci::ManifestKind::image;
  std::string media_type;
  std::uint64_t size = 0;  // of the body, bytes
  std::string artifact_type;
  std::optional<oci::Digest> subject;
  bool details_in_body = false;  // references and annotations were too large: they stand in the body only
  oci::Annotations annotations;
  std::vector<ReferenceItem> references;
  std::int64_t pushed_ms = 0;
  std::string pushed_by;
  Revision pushed_mod = 0;  // of a record that was put again without a push: its mod as it was pushed
  Revision pushed_at(Revision mod) const { return pushed_mod != 0 ? pushed_mod : mod; }
};
ManifestRecord make_manifest_record(const oci::Manifest& manifest);

struct GraveRecord : RecordBase {
  ManifestRecord was;  // as it stood, with the operation that had put it (H8)
  bool swept = false;  // collection removed it, no request did: it may be put back (catalog/plan_retention.h)
};

struct TagRecord : RecordBase {
  oci::Digest digest;
  std::string media_type;
  std::int64_t pushed_ms = 0;
  std::string pushed_by;
  Revision pushed_mod = 0;  // of a tag that retention removed, or that was put back since: its mod as it was pushed
  Revision pushed_at(Revision mod) const { return pushed_mod != 0 ? pushed_mod : mod; }
};

struct Receipt {  // "the digest lies fsynced on this node's disk, seen when its view stood at that tick" (H1)
  std::string node;
  std::string disk;
  TickNumber tick = 0;
};

struct LinkRecord : RecordBase {
  std::uint64_t size = 0;       // bytes
  bool gone = false;            // deleted by a request; outranks older graves, swept later (H8, H14)
  std::vector<std::string> on;  // "node#disk" of the receipts: hints for reading, never for dropping
};

struct TickMark {
  TickNumber number = 0;
  Revision mod = 0;  // revision at which that tick began
  std::int64_t wall_ms = 0;
  std::int64_t measured_ms = 0;  // of the slow clock when it began
};
// The slow clock. The current tick's own mark is the record's mod.
struct TickRecord : RecordBase {
  TickNumber number = 0;
  std::int64_t wall_ms = 0;
  std::int64_t length_ms = 0;  // one tick: the smallest grace time / 8
  // The slow clock when this tick began: the lengths of all ticks before. It stands still while nobody runs, so it is
  // never ahead of the time that passed (P10).
  std::int64_t measured_ms = 0;
  std::vector<TickMark> past;  // ascending; the last 16 and ever fewer of those before
};
// Ticks begun after `mod`, given the record and its own mod; never more than the truth where marks were thinned out.
std::uint64_t age_of(const TickRecord& tick, Revision tick_mod, Revision mod);
// The same in milliseconds of the slow clock. Ticks of a version that did not measure count nothing.
std::int64_t measured_since(const TickRecord& tick, Revision tick_mod, Revision mod);

struct LayoutRecord : RecordBase {
  std::uint64_t number = 0;
  std::vector<std::string> members;   // node ids
  std::vector<std::string> previous;  // of the layout before
  std::uint64_t replicas = 0;         // 0: all
  std::uint64_t write_copies = 1;     // W: receipts that a push needs
};

struct NodeAddresses {  // hints: a member with new addresses is the same member
  std::string client;   // URL at which clients reach it; empty: not known
  std::string peer;     // host:port of the peer listener; empty: none
  bool operator==(const NodeAddresses&) const = default;
};
struct NodeRecord : RecordBase {
  std::string disk;  // nonce of its disk (H4)
  std::string boot;  // nonce of this start
  NodeAddresses addresses;
  std::string role = "store";
  std::string state = "active";  // active, draining, gone
  std::string version;
  // Hashes of the rules that must agree on all members, by name ("accessControl", "retention", ...): shows drift.
  std::map<std::string, std::string> settings;
};

std::string encode(const RepositoryRecord& record);
std::string encode(const ManifestRecord& record);
std::string encode(const GraveRecord& record);
std::string encode(const TagRecord& record);
std::string encode(const LinkRecord& record);
std::string encode(const TickRecord& record);
std::string encode(const LayoutRecord& record);
std::string encode(const NodeRecord& record);
Result<RepositoryRecord> decode_repository(std::string_view value);
Result<ManifestRecord> decode_manifest(std::string_view value);
Result<GraveRecord> decode_grave(std::string_view value);
Result<TagRecord> decode_tag(std::string_view value);
Result<LinkRecord> decode_link(std::string_view value);
Result<TickRecord> decode_tick(std::string_view value);
Result<LayoutRecord> decode_layout(std::string_view value);
Result<NodeRecord> decode_node(std::string_view value);

// A value that says only who wrote it (in/<name>, task/<name>).
std::string encode_mark(std::string_view operation);
// Whether `value` (of any record, of `head`, or of a grave through what it was) was written by `operation`.
bool written_by(std::string_view value, std::string_view operation);

}  // namespace hansa::catalog
