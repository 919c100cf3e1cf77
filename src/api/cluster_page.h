// The cluster page: GET /cluster and its files below it (src/api/ui). Static; its script asks GET /v2/_hansa/cluster
// every two seconds and shows what that says. Needs an identity like the data, so that a browser asks for the password
// when it opens the page. The headers allow the page its own files and nothing else: no inline script, no frame, no
// other origin.
#pragma once

#include <vector>

#include "api/route.h"

namespace hansa::api {

std::vector<Route> cluster_page_routes();

}  // namespace hansa::api
