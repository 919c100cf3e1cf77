// The routes of the OCI distribution specification (as of its main branch) and of Docker's registry API: /v2/...
//
//   ping        GET, HEAD /v2/
//   catalog     GET /v2/_catalog                                   n, last
//   extensions  GET /v2/_oci/ext/discover
//   tags        GET /v2/{name}/tags/list                           n, last
//   manifests   GET, HEAD, PUT, DELETE /v2/{name}/manifests/{reference}   PUT: tag (repeatable)
//   referrers   GET /v2/{name}/referrers/{digest}                  artifactType (repeatable), n, last
//   blobs       GET, HEAD, DELETE /v2/{name}/blobs/{digest}
//   uploads     POST /v2/{name}/blobs/uploads/                     mount, from, digest, digest-algorithm
//               GET, PATCH, PUT, DELETE /v2/{name}/blobs/uploads/{session}   PUT: digest
//
// Query parameters that are not known are ignored. Location and Link are always relative to the server.
#pragma once

#include <vector>

#include "api/route.h"

namespace hansa::api::distribution {

std::vector<Route> routes();

}  // namespace hansa::api::distribution
