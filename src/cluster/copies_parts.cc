#include "cluster/copies_parts.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "cluster/json_fields.h"

namespace hansa::cluster {
namespace wire {
namespace {

Error malformed(std::string_view what) {
  return make_error(ErrorCode::invalid, Subject::request, "a member sent a malformed " + std::string(what));
}

// An object, or a discarded value.
nlohmann::json object_of(std::string_view text) {
  auto json = nlohmann::json::parse(text, nullptr, false);
  return json.is_object() ? json : nlohmann::json(nlohmann::json::value_t::discarded);
}

}  // namespace

std::string digest_arguments(const oci::Digest& digest) {
  return nlohmann::json{{"digest", digest.text()}}.dump();
}

std::string get_arguments(const oci::Digest& digest, std::uint64_t offset, const GetTerms& terms) {
  return nlohmann::json{
      {"digest", digest.text()}, {"offset", offset}, {"background", terms.background}, {"distance", terms.distance}}
      .dump();
}

std::string put_arguments(const oci::Digest& digest, std::uint64_t size) {
  return nlohmann::json{{"digest", digest.text()}, {"size", size}}.dump();
}

std::string receipt_text(const blob::Receipt& receipt) {
  return nlohmann::json{{"node", receipt.node}, {"disk", receipt.disk}, {"tick", receipt.tick}}.dump();
}

std::string size_text(std::uint64_t size, std::uint64_t distance) {
  return nlohmann::json{{"size", size}, {"distance", distance}}.dump();
}

Result<BlobArguments> read_arguments(std::string_view text) {
  const auto json = object_of(text);
  const auto digest = json.is_discarded() ? std::nullopt : text_in(json, "digest");
  if (!digest) return malformed("request for a blob");
  BlobArguments arguments;
  HANSA_TRY(arguments.digest, oci::Digest::parse(*digest));
  arguments.offset = number_in(json, "offset").value_or(0);
  arguments.size = number_in(json, "size").value_or(0);
  arguments.terms.distance = number_in(json, "distance").value_or(0);
  arguments.terms.background = flag_in(json, "background");
  return arguments;
}

Result<catalog::Receipt> read_receipt(std::string_view text) {
  const auto json = object_of(text);
  if (json.is_discarded()) return malformed("receipt");
  auto node = text_in(json, "node");
  auto disk = text_in(json, "disk");
  const auto tick = number_in(json, "tick");
  if (!node || !disk || !tick) return malformed("receipt");
  return catalog::Receipt{.node = *std::move(node), .disk = *std::move(disk), .tick = *tick};
}

Result<std::uint64_t> read_size(std::string_view text) {
  const auto json = object_of(text);
  const auto size = json.is_discarded() ? std::nullopt : number_in(json, "size");
  if (!size) return malformed("answer with a blob");
  return *size;
}

std::uint64_t read_distance(std::string_view text) {
  const auto json = object_of(text);
  return json.is_discarded() ? 0 : number_in(json, "distance").value_or(0);
}

}  // namespace wire

bool is_local(ErrorCode code) {
  return code == ErrorCode::cancelled || code == ErrorCode::out_of_space || code == ErrorCode::io;
}

Error of_peer(const Error& error) {
  if (error.code == ErrorCode::cancelled || !is_local(error.code)) return error;
  return make_error(ErrorCode::unavailable, "the member's disk fails: " + error.message);
}

io::Task<Result<std::size_t>> BlobSource::read(Bytes out) {
  if (ended()) co_return std::size_t{0};
  // The first bytes leave soon: who asked may have a client that waits.
  if (!std::exchange(begun_, true)) out = out.first(std::min(out.size(), blob::chunk_size));
  HANSA_CO_TRY(const std::size_t got, co_await reader_->read(at_, out));
  if (got == 0) co_return make_error(ErrorCode::corrupt, Subject::blob, "a stored blob ends before its size");
  at_ += got;
  co_return got;
}

io::Task<Result<void>> append_all(std::shared_ptr<io::ByteSource> body, std::shared_ptr<blob::StagedBlob> staged,
                                  std::uint64_t size, io::Duration stall,
                                  const std::function<void(std::uint64_t)>& grew) {
  std::vector<std::byte> buffer(body == nullptr ? 0 : transfer_buffer);
  std::size_t most = std::min(first_piece, buffer.size());
  while (body != nullptr) {
    const auto got = co_await io::with_deadline(stall, body->read(Bytes(buffer).first(most)));
    most = buffer.size();
    if (!got) co_return of_peer(got.error());
    if (*got == 0) break;
    if (staged->size() + *got > size) {
      co_return make_error(ErrorCode::invalid, Subject::digest, "more bytes came than the blob has");
    }
    HANSA_CO_CHECK(co_await staged->append(Bytes(buffer).first(*got)));
    if (grew) grew(staged->size());
  }
  if (staged->size() < size) co_return make_error(ErrorCode::disconnected, "the bytes of the blob broke off");
  co_return Result<void>{};
}

io::Task<Result<void>> append_stream(std::shared_ptr<io::ByteSource> body, std::shared_ptr<blob::StagedBlob> staged,
                                     io::Duration stall) {
  std::vector<std::byte> buffer(transfer_buffer);
  while (true) {
    HANSA_CO_TRY(const std::size_t got, co_await io::with_deadline(stall, body->read(buffer)));
    if (got == 0) co_return Result<void>{};
    HANSA_CO_CHECK(co_await staged->append(Bytes(buffer).first(got)));
  }
}

Staging::Staging(std::mutex& mutex, std::set<std::string>& ids, std::string id)
    : mutex_(mutex), ids_(ids), id_(std::move(id)) {
  const std::lock_guard guard(mutex_);
  ids_.insert(id_);
}

Staging::~Staging() {
  const std::lock_guard guard(mutex_);
  ids_.erase(id_);
}

}  // namespace hansa::cluster
