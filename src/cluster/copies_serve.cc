// What peers ask of Copies.
#include "cluster/copies.h"
#include "cluster/copies_parts.h"

namespace hansa::cluster {

void Copies::serve(PeerDispatch& dispatch) {
  dispatch.on("blob.get", [this](io::NodeId, io::PeerRequest request) { return on_get(std::move(request)); });
  dispatch.on("blob.put", [this](io::NodeId, io::PeerRequest request) { return on_put(std::move(request)); });
  dispatch.on("blob.receipt", [this](io::NodeId, io::PeerRequest request) { return on_receipt(std::move(request)); });
}

io::Task<Result<io::PeerResponse>> Copies::on_receipt(io::PeerRequest request) {
  HANSA_CO_TRY(const auto wanted, wire::read_arguments(request.arguments));
  HANSA_CO_TRY(const auto receipt, co_await ports_.blobs.renew_receipt(wanted.digest));
  co_return io::PeerResponse{.result = wire::receipt_text(receipt), .body = nullptr};
}

// From the own store, or what grows here: a peer that lacks the blob says so, and the asker goes on to the next (T9).
io::Task<Result<io::PeerResponse>> Copies::on_get(io::PeerRequest request) {
  HANSA_CO_TRY(const auto wanted, wire::read_arguments(request.arguments));
  auto opened = co_await ports_.blobs.open(wanted.digest);
  if (!opened && opened.error().code == ErrorCode::not_found) {
    auto growing = co_await serve_growing(wanted.digest, wanted.offset, wanted.terms);
    if (growing || growing.error().code != ErrorCode::not_found) co_return growing;
    opened = co_await ports_.blobs.open(wanted.digest);  // finished meanwhile?
  }
  HANSA_CO_TRY(auto reader, std::move(opened));
  const std::uint64_t size = reader->size();
  if (wanted.offset > size) {
    co_return make_error(
        ErrorCode::range, Subject::blob,
        wanted.digest.text() + " has " + std::to_string(size) + " bytes, not " + std::to_string(wanted.offset));
  }
  HANSA_CO_TRY(auto slot, co_await serving_slot(wanted.terms, size));
  ++served_whole_;
  auto body = std::make_shared<BlobSource>(std::move(reader), wanted.offset, std::move(slot));
  co_return io::PeerResponse{.result = wire::size_text(size), .body = std::move(body)};
}

io::Task<Result<io::PeerResponse>> Copies::on_put(io::PeerRequest request) {
  HANSA_CO_TRY(const auto offered, wire::read_arguments(request.arguments));
  HANSA_CO_TRY(const auto slot, co_await receives_.take(options_.patience));
  const Staging staging(mutex_, staging_, "peer-" + ports_.random.hex(staging_random_bytes));
  HANSA_CO_TRY(auto staged, co_await ports_.blobs.create_staged(staging.id(), offered.digest.algorithm()));
  auto received = co_await append_all(std::move(request.body), staged, offered.size, options_.send_stall_limit);
  if (received) {
    auto finished = co_await ports_.blobs.finish(staged, offered.digest);
    if (finished) co_return io::PeerResponse{.result = wire::receipt_text(*finished), .body = nullptr};
    received = Result<void>(std::move(finished).error());
  }
  co_await drop_staged(std::move(staged), staging.id());
  co_return std::move(received).error();
}

}  // namespace hansa::cluster
