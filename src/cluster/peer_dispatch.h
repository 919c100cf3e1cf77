// PeerDispatch: which part of a node answers which verb of the peer protocol. Rooms register their verbs while the node
// is put together; after that it is immutable and safe from any thread. An unknown verb is `unsupported`, so that an
// older member can say what it lacks.
//
// Verbs (arguments and results are compact JSON; {..}: fields):
//   ping            {}                                            -> {node, boot}
//   blob.get        {digest, offset, background, distance}        -> {size, distance} + body from offset to the end
//                   background: too_many rather than a wait; distance: one that still grows will do, so far from whole
//   blob.put        {digest, size} + body                         -> {node, disk, tick}   a receipt (H1)
//   blob.receipt    {digest}                                      -> {node, disk, tick}   not_found: it lacks the blob
//   relay.append    {id, algorithm, term, keep, offset} + body    -> {size}   bytes of an upload, not named yet
//                   conflict: another member has taken the upload up since
//   relay.finish    {id, digest, size}                            -> {node, disk, tick}
//   relay.drop      {id}                                          -> {size}
//   manifest.find   {repository, reference}                       -> {digest, mediaType, size}, after its own barrier
//   upload.status | upload.append | upload.finish | upload.cancel
//                   {user, repository, session, first?, last?, digest?} + body -> {received}, or {elsewhere}: a member
//   upload.find     {user, repository, session}                   -> {term, open, received}   what is here of it
//   view.copy       {}                                            -> {revision} + a SQLite file
//   view.sums       {}                                            -> see meta::etcd::ViewSums
// A peer's blob.get never fetches onward (trap T9), and receiving from a peer waits for nothing remote (T8).
#pragma once

#include <map>
#include <string>

#include "io/peer_network.h"

namespace hansa::cluster {

class PeerDispatch {
 public:
  void on(std::string verb, io::PeerNetwork::Handler handler) { handlers_[std::move(verb)] = std::move(handler); }

  io::Task<Result<io::PeerResponse>> handle(io::NodeId from, io::PeerRequest request) const {
    const auto known = handlers_.find(request.verb);
    if (known == handlers_.end()) {
      co_return make_error(ErrorCode::unsupported, "this member does not know the peer verb " + request.verb);
    }
    co_return co_await known->second(std::move(from), std::move(request));
  }

 private:
  std::map<std::string, io::PeerNetwork::Handler> handlers_;
};

}  // namespace hansa::cluster
