// The handlers behind distribution::routes(), one per method and pattern.
#pragma once

#include "api/route.h"

namespace hansa::api::distribution {

using Answer = io::Task<Result<http::Response>>;

Answer ping(Call& call);
Answer discover_extensions(Call& call);

// lists.cc
Answer list_repositories(Call& call);
Answer list_tags(Call& call);
Answer list_referrers(Call& call);

// manifests.cc
Answer get_manifest(Call& call);
Answer head_manifest(Call& call);
Answer put_manifest(Call& call);
Answer delete_manifest(Call& call);

// blobs.cc
Answer get_blob(Call& call);
Answer head_blob(Call& call);
Answer delete_blob(Call& call);

// uploads.cc
Answer begin_upload(Call& call);
Answer upload_status(Call& call);
Answer append_upload(Call& call);
Answer finish_upload(Call& call);
Answer cancel_upload(Call& call);

}  // namespace hansa::api::distribution
